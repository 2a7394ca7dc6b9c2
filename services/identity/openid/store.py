"""What the kernel reads, in SQL: one statement loads the whole of a request's snapshot.

What its effects write is in `effect_store.py`.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.common.database.one_statement import Reader
from libs.common.database.transaction import Row
from services.identity.cabinets.machine_store import MACHINE, MACHINE_JOINS, Machine, machine_of
from services.identity.delegation.power import MandatePower, joined_power, machine_power_of
from services.identity.delegation.store import POWER
from services.identity.delegation.term import paris_day
from services.identity.openid.bucket_names import Place, grant_bucket
from services.identity.openid.buckets import RINGS
from services.identity.openid.clients import Client, ClientMetadata
from services.identity.openid.presented import Sought
from services.identity.openid.remembered import Remembered
from services.identity.openid.snapshot import Code, Grant, Granted, Refresh, Subject
from services.identity.sign_in.session import ENDS_AT
from services.identity.sign_in.store import PROVEN_FROM

_decoder = msgspec.json.Decoder(ClientMetadata)
_granted = msgspec.json.Decoder(Granted)

CLIENT = """
       client.client_id, client.state AS client_state, client.secret_hash, client.metadata::text AS metadata,
       client.not_before AS client_not_before, now() AS read_at
"""
GRANT = f"""
       g.id AS grant_id, g.client_id AS grant_client_id, g.granted::text AS granted, g.created_at AS grant_created_at,
       g.expires_at AS grant_expires_at, g.revoked_at IS NOT NULL AS grant_revoked, g.session_id, g.account_id,
       person.id AS person_id, person.state AS person_state, person.email, person.full_name, person.locale,
       CASE WHEN session.revoked_at IS NULL AND session.person_id = g.person_id
                 AND session.auth_time >= {PROVEN_FROM} THEN {ENDS_AT} END AS session_ends_at,
       session.last_seen_at AS session_seen_at,
       g.created_at < {PROVEN_FROM} AS grant_is_outdated,
       account.state AS account_state, coalesce(account.is_administrator, false) AS is_administrator, account.rights,
       adherent.id AS adherent_id, adherent.adherent_number, adherent.state AS adherent_state, adherent.siret,
       adherent.legal_name, adherent.address
"""
# One row at most of each, said by LIMIT: PostgreSQL, which guesses one a partition, then looks each next row up by its
# key instead of reading a table to join it.
GRANT_JOINS = """
  LEFT JOIN person ON person.id = g.person_id
  LEFT JOIN session ON session.id = g.session_id
  LEFT JOIN account ON account.id = g.account_id AND account.person_id = g.person_id
  LEFT JOIN adherent ON adherent.id = account.adherent_id
"""
IS_REVOKED = """
       EXISTS (SELECT FROM revoked_token AS revoked WHERE revoked.jti = $3 AND revoked.bucket = $5) AS token_is_revoked
"""

FLOOR = """
       (SELECT max(floor.not_before) FROM revocation_floor AS floor WHERE floor.name = ANY ($6)) AS floor
"""
OF_THE_PERSON = (
    """
  LEFT JOIN LATERAL ("""
    + POWER.format(mandate="$7", person="g.person_id", now="$8", today="$9")
    + """) AS power ON true
"""
)
"""What the person behind the grant holds under the mandate `$7` at `$8`, on the day `$9` in Paris."""


MOST_METADATA = 8 * 1024 * 1024
"""Characters of the registrations that a process keeps decoded: thousands of ordinary ones, some hundred large."""

_decoded: Remembered[str, ClientMetadata] = Remembered(MOST_METADATA)


def _metadata(text: str) -> ClientMetadata:
    """Decoded once for each text that the database gave: a changed registration is another text."""
    known = _decoded.get(text)
    if known is None:
        known = _decoder.decode(text)
        _decoded.put(text, known, len(text))
    return known


class Standing(NamedTuple):
    """What became of an access token, in the names of `Snapshot`: the grant behind it, whether it was revoked by
    itself, and the highest of the floors that it stands under.
    """

    grant: Grant | None
    presented_is_revoked: bool
    floor: datetime | None


def client_of(row: Row) -> Client | None:
    if row["metadata"] is None:
        return None
    return Client(
        client_id=row["client_id"],
        state=row["client_state"],
        secret_hash=row["secret_hash"],
        metadata=_metadata(row["metadata"]),
        not_before=row["client_not_before"],
        read_at=row["read_at"],
    )


def grant_of(row: Row) -> Grant | None:
    if row["grant_id"] is None or row["person_id"] is None:
        return None
    return Grant(
        id=row["grant_id"],
        client_id=row["grant_client_id"],
        granted=_granted.decode(row["granted"]),
        created_at=row["grant_created_at"],
        expires_at=row["grant_expires_at"],
        revoked=row["grant_revoked"],
        outdated=row["grant_is_outdated"],
        subject=_subject_of(row),
    )


def _subject_of(row: Row) -> Subject:
    return Subject(
        person_id=row["person_id"],
        person_state=row["person_state"],
        email=row["email"],
        full_name=row["full_name"],
        locale=row["locale"],
        session_id=row["session_id"],
        session_ends_at=row["session_ends_at"],
        session_seen_at=row["session_seen_at"],
        account_id=row["account_id"],
        account_state=row["account_state"],
        is_administrator=row["is_administrator"],
        rights=frozenset(row["rights"] or ()),
        adherent_id=row["adherent_id"],
        adherent_number=row["adherent_number"],
        adherent_state=row["adherent_state"],
        siret=row["siret"],
        legal_name=row["legal_name"],
        address=tuple(row["address"] or ()),
    )


async def load_client(read: Reader, client_id: str) -> Client | None:
    row = await read.one_row(
        f"SELECT {CLIENT} FROM (VALUES (1)) AS one LEFT JOIN client ON client.client_id = $1", client_id
    )
    return client_of(row)


async def load_for_machine(
    read: Reader, client_id: str, mandate_id: UUID | None, now: datetime
) -> tuple[Client | None, Machine | None, MandatePower | None]:
    """Client, the cabinet's software that it is, and the power that it has under the mandate at `now`."""
    row = await read.one_row(
        f"""
        SELECT {CLIENT}, {MACHINE}, power.*
          FROM (VALUES (1)) AS one
          LEFT JOIN client ON client.client_id = $1
        {MACHINE_JOINS}
        """,
        client_id, mandate_id, now, paris_day(now),
    )  # fmt: skip
    return client_of(row), machine_of(row), machine_power_of(row)


async def load_for_code(read: Reader, client_id: str, place: Place) -> tuple[Client | None, Code | None]:
    """Client, code, grant and subject at once."""
    row = await read.one_row(
        f"""
        SELECT {CLIENT}, {GRANT},
               code.redirect_uri, code.code_challenge, code.dpop_jkt, code.nonce,
               code.expires_at AS code_expires_at, code.consumed_at IS NOT NULL AS consumed
          FROM (VALUES (1)) AS one
          LEFT JOIN client ON client.client_id = $1
          LEFT JOIN LATERAL (SELECT * FROM authorization_code
                              WHERE code_hash = $2 AND bucket BETWEEN $3 AND $4 LIMIT 1) AS code ON true
          LEFT JOIN LATERAL (SELECT * FROM authorization_grant
                              WHERE id = code.grant_id AND bucket BETWEEN $5 AND $6 LIMIT 1) AS g ON true
        {GRANT_JOINS}
        """,
        client_id, place.digest, *place.rows, *place.grants,
    )  # fmt: skip
    grant = grant_of(row)
    if grant is None:
        return client_of(row), None
    return client_of(row), Code(
        place=place,
        grant=grant,
        redirect_uri=row["redirect_uri"],
        code_challenge=row["code_challenge"],
        dpop_jkt=row["dpop_jkt"],
        nonce=row["nonce"],
        expires_at=row["code_expires_at"],
        consumed=row["consumed"],
    )


async def load_for_refresh(
    read: Reader, client_id: str, place: Place
) -> tuple[Client | None, Refresh | None]:
    """Client, refresh token, grant and subject at once."""
    row = await read.one_row(
        f"""
        SELECT {CLIENT}, {GRANT},
               token.dpop_jkt, token.expires_at AS token_expires_at, token.spent_at IS NOT NULL AS spent
          FROM (VALUES (1)) AS one
          LEFT JOIN client ON client.client_id = $1
          LEFT JOIN LATERAL (SELECT * FROM refresh_token
                              WHERE token_hash = $2 AND bucket BETWEEN $3 AND $4 LIMIT 1) AS token ON true
          LEFT JOIN LATERAL (SELECT * FROM authorization_grant
                              WHERE id = token.grant_id AND bucket BETWEEN $5 AND $6 LIMIT 1) AS g ON true
        {GRANT_JOINS}
        """,
        client_id, place.digest, *place.rows, *place.grants,
    )  # fmt: skip
    grant = grant_of(row)
    if grant is None:
        return client_of(row), None
    return client_of(row), Refresh(
        place=place,
        grant=grant,
        dpop_jkt=row["dpop_jkt"],
        expires_at=row["token_expires_at"],
        spent=row["spent"],
    )


async def load_for_token(read: Reader, client_id: str, token: Sought) -> tuple[Client | None, Standing]:
    """Client, and what became of the access token that is presented."""
    row = await read.one_row(
        f"""
        SELECT {CLIENT}, {GRANT}, {IS_REVOKED}, {FLOOR}
          FROM (VALUES (1)) AS one
          LEFT JOIN client ON client.client_id = $1
          LEFT JOIN LATERAL (SELECT * FROM authorization_grant WHERE id = $2 AND bucket = $4 LIMIT 1) AS g ON true
        {GRANT_JOINS}
        """,
        client_id, *_of_token(token),
    )  # fmt: skip
    return client_of(row), _standing_of(row)


async def load_for_exchange(
    read: Reader, client_id: str, token: Sought, mandate_id: UUID | None, now: datetime
) -> tuple[Client | None, Standing, MandatePower | None]:
    """As `load_for_token`, for an actor's: last, the power that the person has under the mandate at `now`."""
    row = await read.one_row(
        f"""
        SELECT {CLIENT}, {GRANT}, {IS_REVOKED}, {FLOOR}, power.*
          FROM (VALUES (1)) AS one
          LEFT JOIN client ON client.client_id = $1
          LEFT JOIN LATERAL (SELECT * FROM authorization_grant WHERE id = $2 AND bucket = $4 LIMIT 1) AS g ON true
        {GRANT_JOINS}
        {OF_THE_PERSON}
        """,
        client_id, *_of_token(token), mandate_id, now, paris_day(now),
    )  # fmt: skip
    return client_of(row), _standing_of(row), joined_power(row)


async def load_presented(
    read: Reader, client_id: str, token: Sought, issued_to: str
) -> tuple[Client | None, Standing, Client | None]:
    """As `load_for_token`, for somebody else's token: last, the client that it was issued to."""
    row = await read.one_row(
        f"""
        SELECT {CLIENT}, {GRANT}, {IS_REVOKED}, {FLOOR},
               issued_to.client_id AS issued_to, issued_to.state AS issued_to_state,
               issued_to.metadata::text AS issued_to_metadata, issued_to.not_before AS issued_to_not_before
          FROM (VALUES (1)) AS one
          LEFT JOIN client ON client.client_id = $1
          LEFT JOIN client AS issued_to ON issued_to.client_id = $7
          LEFT JOIN LATERAL (SELECT * FROM authorization_grant WHERE id = $2 AND bucket = $4 LIMIT 1) AS g ON true
        {GRANT_JOINS}
        """,
        client_id, *_of_token(token), issued_to,
    )  # fmt: skip
    owner = None
    if row["issued_to_metadata"] is not None:
        owner = Client(
            client_id=row["issued_to"],
            state=row["issued_to_state"],
            secret_hash=None,
            metadata=_metadata(row["issued_to_metadata"]),
            not_before=row["issued_to_not_before"],
        )
    return client_of(row), _standing_of(row), owner


def _of_token(token: Sought) -> tuple[object, ...]:
    """`$2` to `$6`."""
    bucket = RINGS["revoked_token"].at_second(token.exp)
    return token.grant_id, token.jti, grant_bucket(token.grant_id), bucket, token.floors


def _standing_of(row: Row) -> Standing:
    return Standing(grant_of(row), row["token_is_revoked"], row["floor"])
