"""Rows of sessions: a signed-in browser each, in one caisse."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Tx
from services.identity.sign_in.store import PROVEN_FROM


class Session(NamedTuple):
    """A signed-in browser; `id` is the `sid` of its tokens."""

    id: UUID
    caisse: str
    person_id: UUID
    auth_time: datetime
    acr: str
    amr: list[str]
    second_factor_at: datetime | None
    created_at: datetime
    last_seen_at: datetime
    user_agent_family: str
    shown_as: str = ""
    """The person's name, or address where none was given; read with the session of a page only."""

    @property
    def level_at(self) -> datetime:
        """`LEVEL_AT`, of a session at hand."""
        return self.auth_time if self.acr == "pwd" else self.second_factor_at or self.auth_time


LEVEL_AT = """CASE WHEN session.acr = 'pwd' THEN session.auth_time
                ELSE coalesce(session.second_factor_at, session.auth_time) END"""
"""When the level of a session was last proven, which clients read as `auth_time` and judge by `max_age`: a password
typed since, to change it, makes no second step fresh.
"""


async def add(tx: Tx, session: Session, token_hash: bytes) -> None:
    await tx.execute(
        """
        INSERT INTO session (id, caisse, token_hash, person_id, auth_time, acr, amr, second_factor_at,
                             created_at, last_seen_at, user_agent_family)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        """,
        session.id,
        session.caisse,
        token_hash,
        session.person_id,
        session.auth_time,
        session.acr,
        session.amr,
        session.second_factor_at,
        session.created_at,
        session.last_seen_at,
        session.user_agent_family,
    )


async def begin_anew(tx: Tx, session: Session, token_hash: bytes) -> bool:
    """Write `session` over the row of its id, under another cookie. False when that one was revoked meanwhile."""
    done = await tx.execute(
        """
        UPDATE session
           SET token_hash = $2, auth_time = $3, acr = $4, amr = $5, second_factor_at = $6,
               created_at = $7, last_seen_at = $8, user_agent_family = $9
         WHERE id = $1 AND person_id = $10 AND revoked_at IS NULL
        """,
        session.id,
        token_hash,
        session.auth_time,
        session.acr,
        session.amr,
        session.second_factor_at,
        session.created_at,
        session.last_seen_at,
        session.user_agent_family,
        session.person_id,
    )
    return done == 1


LIVE = f"""session.token_hash = $1
           AND session.revoked_at IS NULL
           AND session.last_seen_at > $2
           AND session.created_at > $3
           AND session.auth_time >= {PROVEN_FROM}"""
"""The session of a cookie, alive, beside its person: hash, seen after, created after."""


async def find(tx: Tx, token_hash: bytes, seen_after: datetime, created_after: datetime) -> Session | None:
    row = await tx.fetchrow(
        f"""
        SELECT session.id, session.caisse, session.person_id, session.auth_time, session.acr, session.amr,
               session.second_factor_at, session.created_at, session.last_seen_at, session.user_agent_family,
               coalesce(nullif(person.full_name, ''), person.email)
          FROM session
          JOIN person ON person.id = session.person_id AND person.state = 'active'
         WHERE {LIVE}
        """,
        token_hash,
        seen_after,
        created_after,
    )
    return Session(*row) if row else None


async def is_open(tx: Tx, session_id: UUID) -> bool:
    """Whether nobody has ended it; whoever would waits for `tx`."""
    return await tx.fetchval(
        "SELECT true FROM session WHERE id = $1 AND revoked_at IS NULL FOR SHARE", session_id
    ) is not None  # fmt: skip


async def find_by_cookie(tx: Tx, token_hash: bytes) -> UUID | None:
    return await tx.fetchval(
        "SELECT id FROM session WHERE token_hash = $1 AND revoked_at IS NULL", token_hash
    )


async def touch(tx: Tx, session_id: UUID, *, now: datetime) -> None:
    await tx.execute(
        "UPDATE session SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2", session_id, now
    )


async def renew(
    tx: Tx,
    session_id: UUID,
    token_hash: bytes,
    *,
    acr: str,
    amr: list[str],
    second_factor_at: datetime | None,
    auth_time: datetime,
) -> Session | None:
    """Another cookie, a higher level; `None` when the session was revoked meanwhile."""
    row = await tx.fetchrow(
        """
        UPDATE session
           SET token_hash = $2, acr = $3, amr = $4, second_factor_at = coalesce($5, second_factor_at),
               auth_time = $6, last_seen_at = $6
         WHERE id = $1 AND revoked_at IS NULL
        RETURNING id, caisse, person_id, auth_time, acr, amr, second_factor_at,
                  created_at, last_seen_at, user_agent_family
        """,
        session_id,
        token_hash,
        acr,
        amr,
        second_factor_at,
        auth_time,
    )
    return Session(*row) if row else None


async def revoke(tx: Tx, session_id: UUID, *, now: datetime) -> UUID | None:
    """Whose session this call ended; `None` when it was over."""
    return await tx.fetchval(
        "UPDATE session SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING person_id",
        session_id, now,
    )  # fmt: skip


async def end_sessions_everywhere(
    tx: Tx,
    person_id: UUID,
    *,
    kept: UUID | None,
    now: datetime,
    seen_after: datetime,
    created_after: datetime,
    actor: str,
    why: str,
) -> None:
    """End the sessions of one person in every caisse, `kept` apart, with the journal's line of each that was alive.

    `actor` (an `Actor`) and `why` (the details of the lines) are JSON objects.
    """
    await tx.execute(
        "SELECT end_sessions_everywhere($1, $2, $3, $4, $5, $6::text::jsonb, $7::text::jsonb)",
        person_id,
        kept,
        now,
        seen_after,
        created_after,
        actor,
        why,
    )


async def live_sessions(
    tx: Tx, person_id: UUID, *, seen_after: datetime, created_after: datetime
) -> list[Session]:
    rows = await tx.fetch(
        """
        SELECT id, caisse, person_id, auth_time, acr, amr, second_factor_at,
               created_at, last_seen_at, user_agent_family
          FROM session
         WHERE person_id = $1 AND revoked_at IS NULL AND last_seen_at > $2 AND created_at > $3
         ORDER BY last_seen_at DESC
        """,
        person_id,
        seen_after,
        created_after,
    )
    return [Session(*row) for row in rows]


async def forget_old_sessions(tx: Tx, before: datetime) -> int:
    """Sessions begun before then; the journal keeps the trace of each."""
    return await tx.execute(
        """
        DELETE FROM session WHERE id IN (
            SELECT id FROM session
             WHERE created_at < $1
               AND NOT EXISTS (SELECT FROM sign_in WHERE sign_in.session_id = session.id)
             LIMIT $2)
        """,
        before,
        BATCH,
    )
