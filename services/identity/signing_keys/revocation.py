"""A signing key leaked: nothing signed with it is believed any more, here or in any service, whatever its date.

The services hear it over the stream of revocations, and refuse the key though they hold it in a JWK Set or have
believed tokens of it (libs/common/access/issuer_keys.py). docs/decisions/0140.
"""

from datetime import datetime
from uuid import uuid4

from msgspec import Struct

from libs.common.access.signatures import Algorithm, SigningKey
from libs.common.database import journal, outbox
from libs.common.database.journal import THE_SYSTEM, Act, Actor
from libs.common.database.transaction import Tx
from libs.common.events.identity import SigningKeyRevoked
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import NotFound
from services.identity.signing_keys import store
from services.identity.signing_keys.rotation import publish, succeed


class Revocation(Struct, frozen=True):
    """A key that is revoked. `was` is its state before, `revoked` when it had been already."""

    kid: str
    algorithm: Algorithm
    was: store.State
    revoked_at: datetime
    signer: str | None
    """The key that signs."""


async def algorithm_of(tx: Tx, kid: str) -> Algorithm:
    """What its successor is to be drawn for. Raises `NotFound`, alike for another caisse's key."""
    return (await _held(tx, kid)).algorithm


async def revoke_key(
    tx: Tx,
    keys: KeyEncryption,
    kid: str,
    now: datetime,
    *,
    made: SigningKey,
    by: str,
    reason: str,
    actor: Actor = THE_SYSTEM,
) -> Revocation:
    """Its private half is erased, its successor signs, `made` is published to follow; a second time changes nothing.

    `made` is drawn beforehand, off the event loop, for the algorithm of `kid`. Records `SigningKeyRevoked`, also a
    second time: said again, whoever had not heard it does. Raises `NotFound`.
    """
    held = await _held(tx, kid)
    await outbox.record(tx, SigningKeyRevoked(event_id=uuid4(), at=now, kid=kid))
    if await store.revoke(tx, kid, now):
        if held.state == "active":
            await succeed(tx, keys, made, now)
        elif held.state == "prepublished":
            await publish(tx, keys, made, "prepublished", now)
        await journal.record(
            tx,
            Act(
                action="signing_key.revoked",
                subject_kind="signing_key",
                subject_id=kid,
                at=now,
                actor=actor,
                details={"algorithm": held.algorithm, "was": held.state, "by": by, "reason": reason},
            ),
        )
    signer = await store.signer(tx, held.algorithm)
    return Revocation(kid, held.algorithm, held.state, held.revoked_at or now, signer)


async def _held(tx: Tx, kid: str) -> store.HeldKey:
    held = await store.hold(tx, kid)
    if held is None:
        raise NotFound
    return held
