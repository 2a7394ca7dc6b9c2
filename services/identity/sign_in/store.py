"""Rows of sign-in: sessions, proofs under way, devices, links, throttles."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Tx


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


class Person(NamedTuple):
    """What sign-in needs to know of somebody."""

    id: UUID
    email: str
    full_name: str
    password_hash: str | None
    state: str
    has_totp: bool
    totp_is_vouched: bool
    """The mailbox was proven too, before the application was enrolled or since."""
    must_have_totp: bool


class Proof(NamedTuple):
    """A password proven, a second step awaited. `session_id` is set when it is a step-up."""

    id: UUID
    person_id: UUID
    session_id: UUID | None
    password_at: datetime
    code_expires_at: datetime | None
    failures: int
    proven: list[str]
    """What was given so far, in the words of `stages.py`."""
    acr: str
    """The level to reach."""


class Reset(NamedTuple):
    """A mailed link that sets a password. `disavowed_from`: it also removes the application added from then on."""

    person_id: UUID
    disavowed_from: datetime | None


class Device(NamedTuple):
    id: UUID
    label: str
    created_at: datetime
    last_used_at: datetime


# Sessions


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


PROVEN_FROM = "coalesce(greatest(person.password_changed_at, person.suspended_at), '-infinity')"
"""What a person proved before their last change of password, or suspension and its end, is worth nothing anywhere."""

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


async def end_sessions_everywhere(tx: Tx, person_id: UUID, *, kept: UUID | None, now: datetime) -> int:
    """End the sessions of one person in every caisse, `kept` apart; how many there were."""
    return await tx.fetchval("SELECT end_sessions_everywhere($1, $2, $3)", person_id, kept, now)


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


# People


async def find_person(
    tx: Tx, *, email_key: str | None = None, person_id: UUID | None = None
) -> Person | None:
    row = await tx.fetchrow(
        """
        SELECT person.id, person.email, person.full_name, person.password_hash, person.state,
               factor.person_id IS NOT NULL, factor.mailbox_proven_at IS NOT NULL,
               EXISTS (SELECT FROM collaborator
                        WHERE collaborator.person_id = person.id AND collaborator.state = 'active')
          FROM person
          LEFT JOIN totp_factor AS factor
            ON factor.person_id = person.id AND factor.confirmed_at IS NOT NULL
         WHERE person.email_key = $1 OR person.id = $2
        """,
        email_key,
        person_id,
    )
    return Person(*row) if row else None


async def password_stands(tx: Tx, person: Person) -> bool:
    """Whether what was verified is still this person's password; a change of it waits for `tx`, and then ends what
    it opened.
    """
    stands = await tx.fetchval(
        "SELECT true FROM person WHERE id = $1 AND password_hash = $2 AND state = 'active' FOR SHARE",
        person.id,
        person.password_hash,
    )
    return stands is not None


async def suspend(tx: Tx, person_id: UUID, *, now: datetime) -> bool:
    """Whether this call did it."""
    done = await tx.execute(
        "UPDATE person SET state = 'suspended', suspended_at = $2 WHERE id = $1 AND state = 'active'",
        person_id,
        now,
    )
    return done == 1


async def restore(tx: Tx, person_id: UUID, *, now: datetime) -> bool:
    """Whether this call did it. What a request decided while the suspension was being written is dead too."""
    done = await tx.execute(
        "UPDATE person SET state = 'active', suspended_at = $2 WHERE id = $1 AND state = 'suspended'",
        person_id,
        now,
    )
    return done == 1


async def set_password(tx: Tx, person_id: UUID, password_hash: str, *, now: datetime) -> None:
    """Sessions of this person proven before `now`, and grants that outlive theirs, end with it in every caisse.

    So do the secrets shown to whoever was about to enrol an application.
    """
    await tx.execute(
        """
        WITH shown AS (DELETE FROM totp_proposal WHERE person_id = $1),
             former AS (DELETE FROM totp_factor WHERE person_id = $1 AND confirmed_at IS NULL)
        UPDATE person SET password_hash = $2, password_changed_at = $3 WHERE id = $1
        """,
        person_id,
        password_hash,
        now,
    )


# A sign-in or a step-up under way


async def open_proof(
    tx: Tx,
    proof_id: UUID,
    token_hash: bytes,
    *,
    person_id: UUID,
    session_id: UUID | None,
    acr: str,
    now: datetime,
    expires_at: datetime,
) -> None:
    await tx.execute(
        """
        INSERT INTO sign_in (id, caisse, token_hash, person_id, session_id, acr, password_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        proof_id,
        tx.the_caisse,
        token_hash,
        person_id,
        session_id,
        acr,
        now,
        expires_at,
    )


async def find_proof(tx: Tx, token_hash: bytes, *, now: datetime, most_failures: int) -> Proof | None:
    """The proof under way behind a cookie. One begun with a former password, or before a suspension, is none."""
    row = await tx.fetchrow(
        f"""
        SELECT sign_in.id, sign_in.person_id, sign_in.session_id, sign_in.password_at, sign_in.code_expires_at,
               sign_in.failures, sign_in.proven, sign_in.acr
          FROM sign_in
          JOIN person ON person.id = sign_in.person_id
         WHERE sign_in.token_hash = $1 AND sign_in.completed_at IS NULL
           AND sign_in.expires_at > $2 AND sign_in.failures < $3
           AND sign_in.password_at >= {PROVEN_FROM}
        """,
        token_hash,
        now,
        most_failures,
    )
    return Proof(*row) if row else None


async def count_failure(tx: Tx, proof_id: UUID, *, now: datetime, most_failures: int) -> bool:
    """Spend one try before it is judged. False when none is left: a hundred at once spend a hundred."""
    spent = await tx.execute(
        """
        UPDATE sign_in SET failures = failures + 1
         WHERE id = $1 AND completed_at IS NULL AND expires_at > $2 AND failures < $3
        """,
        proof_id,
        now,
        most_failures,
    )
    return spent == 1


async def go_on(tx: Tx, proof_id: UUID, *, given: list[str], proven: list[str], expires_at: datetime) -> bool:
    """One more proof was given, another is awaited. False when another request was first."""
    done = await tx.execute(
        """
        UPDATE sign_in SET proven = $3, expires_at = $4, failures = 0, code_hash = NULL, code_expires_at = NULL
         WHERE id = $1 AND proven = $2 AND completed_at IS NULL
        """,
        proof_id,
        given,
        proven,
        expires_at,
    )
    return done == 1


async def complete_proof(tx: Tx, proof_id: UUID, *, now: datetime) -> bool:
    """One proof gives one session. False when another request was first."""
    done = await tx.execute(
        "UPDATE sign_in SET completed_at = $2, code_hash = NULL WHERE id = $1 AND completed_at IS NULL",
        proof_id,
        now,
    )
    return done == 1


async def set_code(tx: Tx, proof_id: UUID, code_hash: bytes, *, expires_at: datetime) -> None:
    """A new mailed code: the former one is worth nothing from here on."""
    await tx.execute(
        "UPDATE sign_in SET code_hash = $2, code_expires_at = $3 WHERE id = $1 AND completed_at IS NULL",
        proof_id,
        code_hash,
        expires_at,
    )


async def spend_code(tx: Tx, proof_id: UUID, code_hash: bytes, *, now: datetime) -> bool:
    """Whether this is the live mailed code; it works once."""
    spent = await tx.execute(
        """
        UPDATE sign_in SET code_hash = NULL
         WHERE id = $1 AND code_hash = $2 AND code_expires_at > $3 AND completed_at IS NULL
        """,
        proof_id,
        code_hash,
        now,
    )
    return spent == 1


# Devices


async def add_device(
    tx: Tx, device_id: UUID, token_hash: bytes, *, person_id: UUID, label: str, now: datetime
) -> None:
    await tx.execute(
        """
        INSERT INTO known_device (id, caisse, person_id, token_hash, label, created_at, last_used_at)
        VALUES ($1, $2, $3, $4, $5, $6, $6)
        """,
        device_id,
        tx.the_caisse,
        person_id,
        token_hash,
        label,
        now,
    )


async def recognise_device(tx: Tx, token_hash: bytes, person_id: UUID) -> UUID | None:
    return await tx.fetchval(
        "SELECT id FROM known_device WHERE token_hash = $1 AND person_id = $2 AND revoked_at IS NULL",
        token_hash,
        person_id,
    )


async def use_device(tx: Tx, device_id: UUID, *, now: datetime) -> None:
    await tx.execute("UPDATE known_device SET last_used_at = $2 WHERE id = $1", device_id, now)


async def devices_of(tx: Tx, person_id: UUID) -> list[Device]:
    rows = await tx.fetch(
        """
        SELECT id, label, created_at, last_used_at FROM known_device
         WHERE person_id = $1 AND revoked_at IS NULL
         ORDER BY last_used_at DESC
        """,
        person_id,
    )
    return [Device(*row) for row in rows]


async def forget_device(tx: Tx, device_id: UUID, person_id: UUID, *, now: datetime) -> bool:
    gone = await tx.execute(
        "UPDATE known_device SET revoked_at = $3 WHERE id = $1 AND person_id = $2 AND revoked_at IS NULL",
        device_id,
        person_id,
        now,
    )
    return gone == 1


# Forgotten password


async def supersede_resets(tx: Tx, person_id: UUID, *, now: datetime, disavowals_too: bool = False) -> None:
    """End the links mailed before. Those that disavow an application outlive what a thief may ask or change."""
    await tx.execute(
        """
        UPDATE password_reset SET ended_at = $2
         WHERE person_id = $1 AND ended_at IS NULL AND ($3 OR disavowed_from IS NULL)
        """,
        person_id,
        now,
        disavowals_too,
    )


async def add_reset(
    tx: Tx,
    reset_id: UUID,
    token_hash: bytes,
    *,
    person_id: UUID,
    now: datetime,
    expires_at: datetime,
    disavowed_from: datetime | None = None,
) -> None:
    await tx.execute(
        """
        INSERT INTO password_reset (id, caisse, person_id, token_hash, created_at, expires_at, disavowed_from)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        reset_id,
        tx.the_caisse,
        person_id,
        token_hash,
        now,
        expires_at,
        disavowed_from,
    )


async def find_reset(tx: Tx, token_hash: bytes, *, now: datetime) -> Reset | None:
    """A live link. Reading changes nothing."""
    row = await tx.fetchrow(
        """
        SELECT person_id, disavowed_from FROM password_reset
         WHERE token_hash = $1 AND ended_at IS NULL AND expires_at > $2
        """,
        token_hash,
        now,
    )
    return Reset(*row) if row else None


async def claim_reset(tx: Tx, token_hash: bytes, *, now: datetime) -> bool:
    """Spend a link. False when it is unknown, spent or expired: two uses at once find one winner."""
    claimed = await tx.execute(
        "UPDATE password_reset SET ended_at = $2 WHERE token_hash = $1 AND ended_at IS NULL AND expires_at > $2",
        token_hash,
        now,
    )
    return claimed == 1


# Throttles


LET_THROUGH = """
INSERT INTO throttle (key, ready_at) VALUES ($1, $2::timestamptz + $3::interval)
ON CONFLICT (key) DO UPDATE
   SET ready_at = greatest(throttle.ready_at, $2) + $3
 WHERE throttle.ready_at <= $2::timestamptz + $4::interval
"""
"""GCRA in one statement: bucket, now, one pass per so much, and as many at once as fit in so much."""


async def let_through(tx: Tx, key: bytes, *, now: datetime, every: timedelta, burst: timedelta) -> bool:
    return await tx.execute(LET_THROUGH, key, now, every, burst) == 1


# Sweeps, across caisses


async def forget_idle_throttles(tx: Tx, now: datetime) -> int:
    """One bounded batch, as for all that follow."""
    return await tx.execute(
        "DELETE FROM throttle WHERE key IN (SELECT key FROM throttle WHERE ready_at < $1 LIMIT $2)",
        now,
        BATCH,
    )


async def forget_old_proofs(tx: Tx, now: datetime) -> int:
    return await tx.execute(
        "DELETE FROM sign_in WHERE id IN (SELECT id FROM sign_in WHERE expires_at < $1 LIMIT $2)", now, BATCH
    )


async def forget_old_proposals(tx: Tx, now: datetime) -> int:
    return await tx.execute(
        """
        DELETE FROM totp_proposal WHERE shown_to IN (
            SELECT shown_to FROM totp_proposal WHERE expires_at < $1 LIMIT $2)
        """,
        now,
        BATCH,
    )


async def forget_old_resets(tx: Tx, now: datetime) -> int:
    return await tx.execute(
        "DELETE FROM password_reset WHERE id IN (SELECT id FROM password_reset WHERE expires_at < $1 LIMIT $2)",
        now,
        BATCH,
    )


async def forget_old_devices(tx: Tx, before: datetime) -> int:
    """Browsers that have not signed in since then: their cookie is gone too."""
    return await tx.execute(
        "DELETE FROM known_device WHERE id IN (SELECT id FROM known_device WHERE last_used_at < $1 LIMIT $2)",
        before,
        BATCH,
    )


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
