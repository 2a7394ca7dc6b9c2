"""Flows under way, in SQL; who stands before them is in `visit_store.py`."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.common.database.one_statement import Reader
from libs.common.database.transaction import Tx
from services.identity.openid.authorization_request import AuthorizationRequest
from services.identity.openid.bucket_names import Place, flow_span
from services.identity.openid.buckets import bucket_of
from services.identity.openid.steps import Flow

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


async def asked_of(
    tx: Tx, flow_id: UUID, browser_hash: bytes, now: datetime
) -> tuple[AuthorizationRequest, str] | None:
    """What is asked and by whom, for a page that only shows it: of a flow under way in this very browser.

    The name is empty for a client that asks no consent, the caisse's own portal.
    """
    row = await tx.fetchrow(
        """
        SELECT flow.request::text AS request,
               CASE WHEN coalesce(client.metadata->>'consent', 'explicit') = 'explicit'
                    THEN coalesce(client.metadata->>'client_name', '') ELSE '' END AS client_name
          FROM authorization_flow AS flow
          LEFT JOIN client ON client.client_id = flow.client_id AND client.state = 'active'
         WHERE flow.id = $1 AND flow.bucket BETWEEN $4 AND $5 AND flow.browser_hash = $2
           AND flow.finished_at IS NULL AND flow.expires_at > $3
        """,
        flow_id, browser_hash, now, *flow_span(flow_id),
    )  # fmt: skip
    return None if row is None else (_request.decode(row["request"]), row["client_name"])


async def flow_of_browser(
    read: Reader, flow_id: UUID, browser_hash: bytes, now: datetime
) -> tuple[Flow, AuthorizationRequest] | None:
    """A flow under way in this very browser."""
    row = await read.fetchrow(
        """
        SELECT id, request::text AS request, session_id, account_id, context_chosen, person_confirmed, consented_to,
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
        consented_to=row["consented_to"],
    )
    return flow, _request.decode(row["request"])


class Became(NamedTuple):
    """What is left to say of a request that goes no further. The client is told while it is active."""

    ui_locales: str | None
    finished: bool
    client_name: str
    client_uri: str
    initiate_login_uri: str
    """Where the client begins a sign-in that somebody else asks for (OpenID Connect Core §4)."""


async def what_became_of(read: Reader, flow_id: UUID) -> Became | None:
    """Of a flow, whichever browser it is of: all of it was said to who holds its number."""
    row = await read.fetchrow(
        """
        SELECT flow.request->>'ui_locales' AS ui_locales, flow.finished_at IS NOT NULL AS finished,
               coalesce(client.metadata->>'client_name', '') AS client_name,
               coalesce(client.metadata->>'client_uri', '') AS client_uri,
               coalesce(client.metadata->>'initiate_login_uri', '') AS initiate_login_uri
          FROM authorization_flow AS flow
          LEFT JOIN client ON client.client_id = flow.client_id AND client.state = 'active'
         WHERE flow.id = $1 AND flow.bucket BETWEEN $2 AND $3
        """,
        flow_id, *flow_span(flow_id),
    )  # fmt: skip
    return None if row is None else Became(*row)


async def what_became_of_pushed(read: Reader, client_id: str, pushed_at: Place) -> Became | None:
    """Of what this client pushed."""
    row = await read.fetchrow(
        """
        SELECT pushed.request->>'ui_locales' AS ui_locales, pushed.spent_at IS NOT NULL AS finished,
               coalesce(client.metadata->>'client_name', '') AS client_name,
               coalesce(client.metadata->>'client_uri', '') AS client_uri,
               coalesce(client.metadata->>'initiate_login_uri', '') AS initiate_login_uri
          FROM pushed_request AS pushed
          LEFT JOIN client ON client.client_id = pushed.client_id AND client.state = 'active'
         WHERE pushed.handle_hash = $1 AND pushed.bucket BETWEEN $2 AND $3 AND pushed.client_id = $4
        """,
        pushed_at.digest, *pushed_at.rows, client_id,
    )  # fmt: skip
    return None if row is None else Became(*row)


async def choose_firm(tx: Tx, flow_id: UUID, session_id: UUID, account_id: UUID | None) -> None:
    await tx.execute(
        """
        UPDATE authorization_flow
           SET account_id = $3, context_chosen = true, session_id = $2, consented_at = NULL,
               consented_to = NULL
         WHERE id = $1 AND bucket BETWEEN $4 AND $5 AND finished_at IS NULL
        """,
        flow_id, session_id, account_id, *flow_span(flow_id),
    )  # fmt: skip


async def confirm_person(tx: Tx, flow_id: UUID, session_id: UUID) -> None:
    await tx.execute(
        """
        UPDATE authorization_flow
           SET person_confirmed = true, session_id = $2, consented_at = NULL, consented_to = NULL,
               account_id = CASE WHEN session_id = $2 THEN account_id END,
               context_chosen = context_chosen AND coalesce(session_id = $2, false)
         WHERE id = $1 AND bucket BETWEEN $3 AND $4 AND finished_at IS NULL
        """,
        flow_id, session_id, *flow_span(flow_id),
    )  # fmt: skip


async def consent(tx: Tx, flow_id: UUID, session_id: UUID, shown: str, now: datetime) -> None:
    """`shown` is what the person saw (`steps.digest_of`). The version before reads the moment alone."""
    await tx.execute(
        """
        UPDATE authorization_flow
           SET consented_at = $3, consented_to = $6, session_id = $2,
               account_id = CASE WHEN session_id = $2 THEN account_id END,
               context_chosen = context_chosen AND coalesce(session_id = $2, false)
         WHERE id = $1 AND bucket BETWEEN $4 AND $5 AND finished_at IS NULL
        """,
        flow_id, session_id, now, *flow_span(flow_id), shown,
    )  # fmt: skip


async def ask_to_sign_in_again(tx: Tx, flow_id: UUID, request: AuthorizationRequest, now: datetime) -> None:
    """The person is not the one of the session: the flow begins anew with `prompt=login`."""
    await tx.execute(
        """
        UPDATE authorization_flow
           SET request = $2::text::jsonb, created_at = $3, account_id = NULL, context_chosen = false,
               person_confirmed = true, consented_at = NULL, consented_to = NULL
         WHERE id = $1 AND bucket BETWEEN $4 AND $5 AND finished_at IS NULL
        """,
        flow_id, msgspec.json.encode(request).decode(), now, *flow_span(flow_id),
    )  # fmt: skip
