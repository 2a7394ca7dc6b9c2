"""Rows of sign-in: people, proofs under way, devices, throttles. Sessions: `session_store.py`."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Tx


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


class Device(NamedTuple):
    id: UUID
    label: str
    created_at: datetime
    last_used_at: datetime


PROVEN_FROM = "coalesce(greatest(person.password_changed_at, person.suspended_at), '-infinity')"
"""What a person proved before their last change of password, or suspension and its end, is worth nothing anywhere."""


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


async def password_is_held(tx: Tx, person: Person) -> bool:
    """As `password_stands`, for who is about to change it: of two at once, one finds it."""
    stands = await tx.fetchval(
        "SELECT true FROM person WHERE id = $1 AND password_hash = $2 AND state = 'active' FOR NO KEY UPDATE",
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


async def forget_old_devices(tx: Tx, before: datetime) -> int:
    """Browsers that have not signed in since then: their cookie is gone too."""
    return await tx.execute(
        "DELETE FROM known_device WHERE id IN (SELECT id FROM known_device WHERE last_used_at < $1 LIMIT $2)",
        before,
        BATCH,
    )
