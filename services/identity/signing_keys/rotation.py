"""prepublished → active → verify_only → archived; from each of them, revoked (revocation.py).

The overlap is longer than the longest token: a retired key verifies for an
hour, a new one is published from the moment its predecessor begins to sign.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from libs.common.access.signatures import SIGNING_ALGORITHMS, Algorithm, SigningKey
from libs.common.database import journal
from libs.common.database.journal import THE_SYSTEM, Act, Actor
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.signing_keys import store
from services.identity.signing_keys.sealing import PURPOSE, context
from services.identity.signing_keys.store import StoredKey

SIGNS_FOR = timedelta(days=30)
VERIFIES_FOR = timedelta(hours=1)
"""Longer than the longest life of an ID token or access token (openid.md line 28)."""

MOST_VERIFYING = 100
"""Retired keys of one algorithm that still verify: all of them stand in the JWK Set, which services read up to
`issuer_keys.JWKS_LIMIT`.
"""

HINTS_FOR = timedelta(days=91)
"""How long we recognise an ID token of ours shown as a hint: longer than a session or an offline grant lives.

It is in no JWK Set and opens nothing: nobody else may believe what a retired key signed.
"""

AT_ONCE: tuple[Algorithm, ...] = ("ES256", "EdDSA")
"""Made with the caisse, in milliseconds; RSA keys take a quarter of a second and are made at the first request."""


class RotatedTooOften(DomainError):
    """So many keys of this algorithm retired within the hour that one more would make the set too large to be read."""


async def create_keys(
    tx: Tx, keys: KeyEncryption, now: datetime, algorithms: Iterable[Algorithm] = AT_ONCE
) -> None:
    """The first signer of each algorithm, and its successor already published. Runs twice without effect."""
    for algorithm in algorithms:
        for state in ("active", "prepublished"):
            await publish(tx, keys, SigningKey.generate(algorithm), state, now)


def missing(stored: Iterable[StoredKey]) -> list[Algorithm]:
    """The algorithms that a caisse has no signer for yet."""
    signing = {key.algorithm for key in stored if key.state == "active"}
    return [algorithm for algorithm in SIGNING_ALGORITHMS if algorithm not in signing]


async def complete_keys(
    db: Database, caisse: CaisseSlug, keys: KeyEncryption, algorithms: Iterable[Algorithm], now: datetime
) -> None:
    """Make the keys a caisse still lacks, off the event loop; of two processes at once, one wins."""
    made = [
        (await asyncio.to_thread(SigningKey.generate, algorithm), state)
        for algorithm in algorithms
        for state in ("active", "prepublished")
    ]
    async with db.transaction(caisse) as tx:
        for key, state in made:
            await publish(tx, keys, key, state, now)


async def rotate(
    tx: Tx,
    keys: KeyEncryption,
    algorithm: Algorithm,
    now: datetime,
    *,
    made: SigningKey | None = None,
    actor: Actor = THE_SYSTEM,
) -> str | None:
    """The published successor signs from now on, the former signer verifies; the new signer's kid.

    `made` is the key to publish next, for a caller that drew it off the event loop.
    `None` when another process rotated at this very moment. Raises `RotatedTooOften`.
    """
    if await store.verifying(tx, algorithm) >= MOST_VERIFYING:
        raise RotatedTooOften(algorithm)
    if not await store.retire_active(tx, algorithm, now):
        return None
    kid = await succeed(tx, keys, made or SigningKey.generate(algorithm), now)
    await journal.record(
        tx,
        Act(
            action="signing_key.rotated",
            subject_kind="signing_key",
            subject_id=kid or "-",
            at=now,
            actor=actor,
            details={"algorithm": algorithm},
        ),
    )
    return kid


async def succeed(tx: Tx, keys: KeyEncryption, made: SigningKey, now: datetime) -> str | None:
    """The published key begins to sign, `made` is published in its place; the signer's kid.

    `None` when none was published: `made` signs.
    """
    kid = await store.activate_next(tx, made.alg, now)
    await publish(tx, keys, made, "prepublished" if kid else "active", now)
    return kid


async def sweep_keys(tx: Tx, keys: KeyEncryption, now: datetime) -> list[Algorithm]:
    """Rotate what has signed for a month, archive what nothing can need any more."""
    due = await store.due_for_rotation(tx, activated_before=now - SIGNS_FOR)
    for algorithm in due:
        await rotate(tx, keys, algorithm, now)
    await store.archive(tx, retired_before=now - VERIFIES_FOR, now=now)
    return due


async def publish(tx: Tx, keys: KeyEncryption, key: SigningKey, state: str, now: datetime) -> None:
    """Into its row, sealed; nothing when the caisse has a key of that algorithm in that state."""
    sealed = keys.seal(PURPOSE, key.pem().encode(), context=context(tx.the_caisse, key.kid))
    await store.add(
        tx,
        kid=key.kid,
        algorithm=key.alg,
        state=state,
        public_jwk=key.published_jwk(),
        sealed=sealed,
        now=now,
    )
