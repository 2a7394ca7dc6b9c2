"""Who stands before the authorization endpoint, and for what: all that it reads, in one statement."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from libs.common.database.one_statement import Reader
from libs.common.database.transaction import Row
from services.identity.openid.bucket_names import Place
from services.identity.openid.clients import Client
from services.identity.openid.snapshot import Subject
from services.identity.openid.store import CLIENT, client_of
from services.identity.sign_in.session import ends_at
from services.identity.sign_in.session_store import LEVEL_AT, LIVE


class Firm(Struct, frozen=True, kw_only=True):
    """One active account of the person, with its adhérent. In the names of `Subject`."""

    account_id: UUID
    account_state: str
    is_administrator: bool
    rights: frozenset[str]
    adherent_id: UUID
    adherent_number: str
    adherent_state: str
    siret: str
    legal_name: str
    address: tuple[str, ...] | None


class Consented(Struct, frozen=True, kw_only=True):
    """A consent in force of this person to this client; `account_id` is `None` for the cabinet."""

    account_id: UUID | None
    scopes: frozenset[str]


class Present(Struct, frozen=True, kw_only=True):
    """Who is at the browser: a live session, its person alone, once per active account, and in a cabinet or not."""

    session_id: UUID
    person_id: UUID
    auth_time: datetime
    acr: str
    amr: tuple[str, ...]
    created_at: datetime
    last_seen_at: datetime
    person: Subject
    firms: tuple[Subject, ...]
    """In order of the firm's name."""
    works_in_a_cabinet: bool
    consents: tuple[Consented, ...]


class Pushed(Struct, frozen=True, kw_only=True):
    """A request that a client pushed (RFC 9126)."""

    client_id: str
    request: bytes
    """An `AuthorizationRequest` as it was kept."""
    expires_at: datetime
    spent: bool


_firms = msgspec.json.Decoder(tuple[Firm, ...])
_consents = msgspec.json.Decoder(tuple[Consented, ...])

NO_COOKIE = (None, None, None)
NO_HANDLE = (None, None, None)


async def visited(
    read: Reader,
    client_id: str,
    now: datetime,
    *,
    session: tuple[bytes, datetime, datetime] | None,
    pushed_at: Place | None = None,
) -> tuple[Client | None, Pushed | None, Present | None]:
    """The client, the request that it pushed at `pushed_at`, and the live session `sought` behind a cookie."""
    handle = (pushed_at.digest, *pushed_at.rows) if pushed_at else NO_HANDLE
    row = await read.one_row(
        f"""
        SELECT {CLIENT},
               pushed.client_id AS pushed_by, pushed.request::text AS request, pushed.expires_at AS request_expires_at,
               pushed.spent_at IS NOT NULL AS request_spent,
               seen.*, of_person.*
          FROM (VALUES (1)) AS one
          LEFT JOIN client ON client.client_id = $4
          LEFT JOIN LATERAL (SELECT * FROM pushed_request
                              WHERE handle_hash = $6 AND bucket BETWEEN $7 AND $8 LIMIT 1) AS pushed ON true
          LEFT JOIN LATERAL (
               SELECT session.id AS session_id, {LEVEL_AT} AS auth_time, session.acr, session.amr, session.last_seen_at,
                      session.created_at,
                      person.id AS person_id, person.state AS person_state, person.email, person.full_name,
                      person.locale
                 FROM session
                 JOIN person ON person.id = session.person_id AND person.state = 'active'
                WHERE {LIVE}
                LIMIT 1
               ) AS seen ON true
          LEFT JOIN LATERAL (
               SELECT (SELECT json_agg(json_build_object(
                                  'account_id', account.id, 'account_state', account.state,
                                  'is_administrator', account.is_administrator, 'rights', account.rights,
                                  'adherent_id', adherent.id, 'adherent_number', adherent.adherent_number,
                                  'adherent_state', adherent.state, 'siret', adherent.siret,
                                  'legal_name', adherent.legal_name, 'address', adherent.address
                              ) ORDER BY adherent.legal_name, adherent.id)::text
                         FROM account
                         JOIN adherent ON adherent.id = account.adherent_id AND adherent.state = 'member'
                        WHERE account.person_id = seen.person_id AND account.state = 'active') AS firms,
                      (SELECT json_agg(json_build_object('account_id', account_id, 'scopes', scopes))::text
                         FROM consent
                        WHERE person_id = seen.person_id AND consent.client_id = $4 AND revoked_at IS NULL
                          AND expires_at > $5) AS consents,
                      EXISTS (SELECT FROM collaborator
                               WHERE collaborator.person_id = seen.person_id AND collaborator.state = 'active')
                          AS works_in_a_cabinet
               ) AS of_person ON true
        """,
        *(session or NO_COOKIE), client_id, now, *handle,
    )  # fmt: skip
    return client_of(row), _pushed_of(row), _present_of(row)


async def last_context(read: Reader, session_id: UUID, client_id: str) -> tuple[UUID | None] | None:
    """The account that this session last granted this client, `(None,)` for the cabinet; `None` before any grant."""
    row = await read.fetchrow(
        """
        SELECT account_id FROM authorization_grant
         WHERE session_id = $1 AND client_id = $2
         ORDER BY created_at DESC LIMIT 1
        """,
        session_id, client_id,
    )  # fmt: skip
    return None if row is None else (row["account_id"],)


def _pushed_of(row: Row) -> Pushed | None:
    if row["pushed_by"] is None:
        return None
    return Pushed(
        client_id=row["pushed_by"],
        request=row["request"].encode(),
        expires_at=row["request_expires_at"],
        spent=row["request_spent"],
    )


def _present_of(row: Row) -> Present | None:
    if row["session_id"] is None:
        return None
    person = Subject(
        person_id=row["person_id"],
        person_state=row["person_state"],
        email=row["email"],
        full_name=row["full_name"],
        locale=row["locale"],
        session_id=row["session_id"],
        session_ends_at=ends_at(row["created_at"], row["last_seen_at"]),
        session_seen_at=row["last_seen_at"],
    )
    firms = _firms.decode(row["firms"]) if row["firms"] else ()
    return Present(
        session_id=row["session_id"],
        person_id=row["person_id"],
        auth_time=row["auth_time"],
        acr=row["acr"],
        amr=tuple(row["amr"]),
        created_at=row["created_at"],
        last_seen_at=row["last_seen_at"],
        person=person,
        firms=tuple(_for_firm(person, firm) for firm in firms),
        works_in_a_cabinet=row["works_in_a_cabinet"],
        consents=_consents.decode(row["consents"]) if row["consents"] else (),
    )


def _for_firm(person: Subject, firm: Firm) -> Subject:
    fields = msgspec.structs.asdict(firm)
    return msgspec.structs.replace(person, **fields | {"address": firm.address or ()})
