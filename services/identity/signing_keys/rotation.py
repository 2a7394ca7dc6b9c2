"""prepublished → active → verify_only → archived.

The overlap is longer than the longest token: a retired key verifies for an
hour, a new one is published from the moment its predecessor begins to sign.
"""

from datetime import datetime, timedelta

from libs.common.access.signatures import SIGNING_ALGORITHMS, Algorithm, SigningKey
from libs.common.database import journal
from libs.common.database.journal import Act
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from services.identity.signing_keys import store
from services.identity.signing_keys.key_ring import PURPOSE, context

SIGNS_FOR = timedelta(days=30)
VERIFIES_FOR = timedelta(hours=1)
"""Longer than the longest life of an ID token or access token (openid.md line 28)."""


async def create_keys(tx: Tx, keys: KeyEncryption, now: datetime) -> None:
    """The first signer of each algorithm, and its successor already published. Runs twice without effect."""
    for algorithm in SIGNING_ALGORITHMS:
        for state in ("active", "prepublished"):
            await _add(tx, keys, algorithm, state, now)


async def rotate(tx: Tx, keys: KeyEncryption, algorithm: Algorithm, now: datetime) -> str | None:
    """The published successor signs from now on, the former signer verifies; the new signer's kid.

    `None` when another process rotated at this very moment.
    """
    if not await store.retire_active(tx, algorithm, now):
        return None
    kid = await store.activate_next(tx, algorithm, now)
    await _add(tx, keys, algorithm, "prepublished" if kid else "active", now)
    await journal.record(
        tx, Act(action="signing_key.rotated", subject_kind="signing_key", subject_id=kid or "-", at=now,
                details={"algorithm": algorithm})
    )
    return kid


async def sweep_keys(tx: Tx, keys: KeyEncryption, now: datetime) -> list[Algorithm]:
    """Rotate what has signed for a month, archive what nothing can need any more."""
    due = await store.due_for_rotation(tx, activated_before=now - SIGNS_FOR)
    for algorithm in due:
        await rotate(tx, keys, algorithm, now)
    await store.archive(tx, retired_before=now - VERIFIES_FOR, now=now)
    return due


async def _add(tx: Tx, keys: KeyEncryption, algorithm: Algorithm, state: str, now: datetime) -> None:
    key = SigningKey.generate(algorithm)
    sealed = keys.seal(PURPOSE, key.pem().encode(), context=context(tx.the_caisse, key.kid))
    await store.add(
        tx, kid=key.kid, algorithm=algorithm, state=state, public_jwk=key.published_jwk(), sealed=sealed, now=now
    )
