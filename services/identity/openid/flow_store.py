"""Flows, the person's firms and consents, in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from libs.common.database.one_statement import Reader
from libs.common.database.transaction import Row, Tx
from services.identity.openid.authorization_request import AuthorizationRequest
from services.identity.openid.bucket_names import flow_span
from services.identity.openid.buckets import bucket_of
from services.identity.openid.snapshot import Subject
from services.identity.openid.steps import Flow
from services.identity.sign_in.store import LIVE

_request = msgspec.json.Decoder(AuthorizationRequest)


async def open_flow(
    tx: Tx,
    flow_id: UUID,
    browser_hash: bytes,
    request: AuthorizationRequest,
    now: datetime,
    expires_at: datetime,
) -> None:
    await tx.execute(
        """
        INSERT INTO authorization_flow (caisse, id, browser_hash, client_id, request, created_at, expires_at, bucket)
        VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8)
        """,
        tx.the_caisse, flow_id, browser_hash, request.client_id, msgspec.json.encode(request).decode(),
        now, expires_at, bucket_of("authorization_flow", expires_at),
    )  # fmt: skip


async def request_of(tx: Tx, flow_id: UUID) -> AuthorizationRequest | None:
    """What is asked, for a page that only shows it."""
    text = await tx.fetchval(
        """
        SELECT request::text FROM authorization_flow
         WHERE id = $1 AND bucket BETWEEN $2 AND $3 AND finished_at IS NULL
        """,
        flow_id, *flow_span(flow_id),
    )  # fmt: skip
    return None if text is None else _request.decode(text)


async def flow_of_browser(
    read: Reader, flow_id: UUID, browser_hash: bytes, now: datetime
) -> tuple[Flow, AuthorizationRequest] | None:
    """A flow under way in this very browser."""
    row = await read.fetchrow(
        """
        SELECT id, request::text AS request, session_id, account_id, context_chosen, person_confirmed, consented_at,
               created_at
          FROM authorization_flow
         WHERE id = $1 AND bucket BETWEEN $4 AND $5 AND browser_hash = $2 AND finished_at IS NULL AND expires_at > $3
        """,
        flow_id, browser_hash, now, *flow_span(flow_id),
    )  # fmt: skip
    if row is None:
        return None
    flow = Flow(
        id=row["id"],
        started_at=row["created_at"],
        answered_in=row["session_id"],
        account_id=row["account_id"],
        context_chosen=row["context_chosen"],
        person_confirmed=row["person_confirmed"],
        consented_at=row["consented_at"],
    )
    return flow, _request.decode(row["request"])


async def choose_firm(tx: Tx, flow_id: UUID, session_id: UUID, account_id: UUID | None) -> None:
    await tx.execute(
        """
        UPDATE authorization_flow
           SET account_id = $3, context_chosen = true, session_id = $2, consented_at = NULL
         WHERE id = $1 AND bucket BETWEEN $4 AND $5 AND finished_at IS NULL
        """,
        flow_id, session_id, account_id, *flow_span(flow_id),
    )  # fmt: skip


async def confirm_person(tx: Tx, flow_id: UUID, session_id: UUID) -> None:
    await tx.execute(
        """
        UPDATE authorization_flow
           SET person_confirmed = true, session_id = $2, consented_at = NULL,
               account_id = CASE WHEN session_id = $2 THEN account_id END,
               context_chosen = context_chosen AND coalesce(session_id = $2, false)
         WHERE id = $1 AND bucket BETWEEN $3 AND $4 AND finished_at IS NULL
        """,
        flow_id, session_id, *flow_span(flow_id),
    )  # fmt: skip


async def consent(tx: Tx, flow_id: UUID, session_id: UUID, now: datetime) -> None:
    await tx.execute(
        """
        UPDATE authorization_flow
           SET consented_at = $3, session_id = $2,
               account_id = CASE WHEN session_id = $2 THEN account_id END,
               context_chosen = context_chosen AND coalesce(session_id = $2, false)
         WHERE id = $1 AND bucket BETWEEN $4 AND $5 AND finished_at IS NULL
        """,
        flow_id, session_id, now, *flow_span(flow_id),
    )  # fmt: skip


async def ask_to_sign_in_again(tx: Tx, flow_id: UUID, request: AuthorizationRequest, now: datetime) -> None:
    """The person is not the one of the session: the flow begins anew with `prompt=login`."""
    await tx.execute(
        """
        UPDATE authorization_flow
           SET request = $2::text::jsonb, created_at = $3, account_id = NULL, context_chosen = false,
               person_confirmed = true, consented_at = NULL
         WHERE id = $1 AND bucket BETWEEN $4 AND $5 AND finished_at IS NULL
        """,
        flow_id, msgspec.json.encode(request).decode(), now, *flow_span(flow_id),
    )  # fmt: skip


class Present(Struct, frozen=True, kw_only=True):
    """Who is at the browser: a live session, its person alone, once per active account, and in a cabinet or not."""

    session_id: UUID
    person_id: UUID
    auth_time: datetime
    acr: str
    amr: tuple[str, ...]
    last_seen_at: datetime
    person: Subject
    firms: tuple[Subject, ...]
    """In order of the firm's name."""
    works_in_a_cabinet: bool


async def present(
    read: Reader, token_hash: bytes, seen_after: datetime, created_after: datetime
) -> Present | None:
    """The live session of a cookie and all that its person may be, at once."""
    rows = await read.fetch(
        f"""
        SELECT session.id AS session_id, session.auth_time, session.acr, session.amr, session.last_seen_at,
               person.id AS person_id, person.state AS person_state, person.email, person.full_name, person.locale,
               account.id AS account_id, account.state AS account_state, account.is_administrator, account.rights,
               adherent.id AS adherent_id, adherent.adherent_number, adherent.state AS adherent_state,
               adherent.siret, adherent.legal_name, adherent.address,
               EXISTS (SELECT FROM collaborator
                        WHERE collaborator.person_id = person.id AND collaborator.state = 'active')
                   AS works_in_a_cabinet
          FROM session
          JOIN person ON person.id = session.person_id AND person.state = 'active'
          LEFT JOIN account ON account.person_id = person.id AND account.state = 'active'
          LEFT JOIN adherent ON adherent.id = account.adherent_id AND adherent.state = 'member'
         WHERE {LIVE}
         ORDER BY adherent.legal_name, adherent.id
        """,
        token_hash, seen_after, created_after,
    )  # fmt: skip
    if not rows:
        return None
    first = rows[0]
    return Present(
        session_id=first["session_id"],
        person_id=first["person_id"],
        auth_time=first["auth_time"],
        acr=first["acr"],
        amr=tuple(first["amr"]),
        last_seen_at=first["last_seen_at"],
        person=_subject(first, with_firm=False),
        firms=tuple(_subject(row, with_firm=True) for row in rows if row["adherent_id"] is not None),
        works_in_a_cabinet=first["works_in_a_cabinet"],
    )


def _subject(row: Row, *, with_firm: bool) -> Subject:
    firm: dict[str, Any] = {}
    if with_firm:
        firm = {
            "account_id": row["account_id"],
            "account_state": row["account_state"],
            "is_administrator": row["is_administrator"],
            "rights": frozenset(row["rights"] or ()),
            "adherent_id": row["adherent_id"],
            "adherent_number": row["adherent_number"],
            "adherent_state": row["adherent_state"],
            "siret": row["siret"],
            "legal_name": row["legal_name"],
            "address": tuple(row["address"] or ()),
        }
    return Subject(
        person_id=row["person_id"],
        person_state=row["person_state"],
        email=row["email"],
        full_name=row["full_name"],
        locale=row["locale"],
        session_id=row["session_id"],
        session_is_live=True,
        **firm,
    )


async def consents_of(
    read: Reader, person_id: UUID, client_id: str, now: datetime
) -> Sequence[tuple[UUID | None, frozenset[str]]]:
    rows = await read.fetch(
        """
        SELECT account_id, scopes FROM consent
         WHERE person_id = $1 AND client_id = $2 AND revoked_at IS NULL AND expires_at > $3
        """,
        person_id, client_id, now,
    )  # fmt: skip
    return tuple((row["account_id"], frozenset(row["scopes"])) for row in rows)
