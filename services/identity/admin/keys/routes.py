"""The signing keys of a caisse, for its own programs: what `espace keys` does. Right: `key.manage`."""

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.access.receipts import Receipt
from libs.common.access.signatures import Algorithm, SigningKey
from libs.common.database.journal import Actor
from libs.common.database.pool import Database
from libs.common.events.identity import SigningKeyRevoked
from libs.common.http.application import Clock
from libs.common.http.documented import IdempotencyKey, needs, refusals
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import NotFound
from libs.common.values.identifiers import new_id
from services.identity.admin.once import once
from services.identity.caisses.caisse import Caisse
from services.identity.floors.acknowledged import Questions, silent
from services.identity.openid.provider import Provider
from services.identity.signing_keys import store
from services.identity.signing_keys.revocation import algorithm_of, revoke_key
from services.identity.signing_keys.rotation import RotatedTooOften, rotate

PROBLEMS[RotatedTooOften] = Problem(
    409,
    "rotated-too-often",
    "Trop de clés de cet algorithme ont été retirées en une heure. Attendez qu'elles ne servent plus.",
)

SCOPE = "key.manage"
ACCESS = Scopes(SCOPE, delegable=False)


class KeyShown(Struct, frozen=True):
    """A published key; `prepublished` will sign, `verify_only` has signed."""

    kid: str
    algorithm: str
    state: Literal["prepublished", "active", "verify_only"]


class KeysShown(Struct, frozen=True):
    """Newest first."""

    keys: list[KeyShown]


class RotationWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """The algorithm whose signer gives way."""

    algorithm: Algorithm


class Rotated(Struct, frozen=True):
    """The key that signs from now on; none when another process rotated at this very moment."""

    algorithm: Algorithm
    kid: str | None


class RevocationWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """The key that leaked; `reason` stays in the journal."""

    kid: Annotated[str, Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9_-]+$")]
    reason: Annotated[str, Meta(min_length=1, max_length=200)] = "leaked"


class Revoked(Struct, frozen=True):
    """`was` is the state the key had, `revoked` when it had been revoked before; `signer` signs from now on."""

    kid: str
    algorithm: Algorithm
    was: store.State
    revoked_at: datetime
    signer: str | None


class RevocationHeard(Struct, frozen=True):
    """A key that was revoked, and which services have just said that they refuse it.

    `silent` names those that said nothing for two seconds: they run not, or NATS is away. A receipt's `signature` is
    a compact JWS by that service's own key over the other members.
    """

    kid: str
    algorithm: Algorithm
    revoked_at: datetime
    signer: str | None
    acknowledged: list[Receipt]
    silent: list[str]


@get("/admin/keys", access=ACCESS, security=needs(SCOPE), responses=refusals(), tags=["keys"])
async def list_keys(caisse: NamedDependency[Caisse], db: NamedDependency[Database]) -> KeysShown:
    """Every key of the caisse's JWK Set."""
    async with db.transaction(caisse.slug) as tx:
        return KeysShown(
            [KeyShown(key.kid, key.algorithm, _state(key.state)) for key in await store.published(tx)]
        )


@post(
    "/admin/keys/rotations",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(409, body=True),
    status_code=200,
    tags=["keys"],
)
async def rotate_key(
    data: JSONBody[RotationWanted],
    idempotency_key: IdempotencyKey,
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    keys: NamedDependency[KeyEncryption],
    provider: NamedDependency[Provider],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> Rotated:
    """The key already published signs from now on; the former signer verifies for one more hour."""
    now = clock()
    # An RSA key takes a quarter of a second: drawn off the event loop, and outside any transaction.
    made = await asyncio.to_thread(SigningKey.generate, data.algorithm)
    async with db.transaction(caisse.slug) as tx:

        async def act() -> Rotated:
            actor = Actor(token_jti=token.jti)
            return Rotated(
                data.algorithm, await rotate(tx, keys, data.algorithm, now, made=made, actor=actor)
            )

        done = await once(
            tx, keys, token.client_id, idempotency_key, "keys.rotate", data, act, Rotated, now=now
        )
    provider.rings.forget(caisse.slug)
    return done


@post(
    "/admin/keys/revocations",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(409, body=True),
    status_code=200,
    tags=["keys"],
)
async def revoke_one(
    data: JSONBody[RevocationWanted],
    idempotency_key: IdempotencyKey,
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    keys: NamedDependency[KeyEncryption],
    provider: NamedDependency[Provider],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> Revoked:
    """A key leaked: within a second nothing signed with it is believed anywhere, for good. Its successor signs.

    The token that asks dies too, if that key signed it.
    """
    now = clock()
    async with db.transaction(caisse.slug) as tx:
        algorithm = await algorithm_of(tx, data.kid)
    made = await asyncio.to_thread(SigningKey.generate, algorithm)
    async with db.transaction(caisse.slug) as tx:

        async def act() -> Revoked:
            by, actor = token.client_id, Actor(token_jti=token.jti)
            done = await revoke_key(
                tx, keys, data.kid, now, made=made, by=by, reason=data.reason, actor=actor
            )
            return Revoked(done.kid, done.algorithm, done.was, done.revoked_at, done.signer)

        done = await once(
            tx, keys, token.client_id, idempotency_key, "keys.revoke", data, act, Revoked, now=now
        )
    provider.rings.forget(caisse.slug)
    return done


@get(
    "/admin/keys/revocations/{kid:str}",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(),
    tags=["keys"],
)
async def show_revocation(
    kid: FromPath[str],
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    questions: NamedDependency[Questions],
    clock: NamedDependency[Clock],
) -> RevocationHeard:
    """Asks every service now whether it refuses this key, and answers once all have said so, or after two seconds."""
    async with db.transaction(caisse.slug) as tx:
        found = next((key for key in await store.revoked(tx) if key.kid == kid), None)
        if found is None:
            raise NotFound
        signer = await store.signer(tx, found.algorithm)
    again = SigningKeyRevoked(event_id=new_id(), at=clock(), kid=kid)
    heard = await questions.ask(db, caisse.slug, kid, again)
    receipts = [receipt for receipt in heard.values() if receipt is not None]
    return RevocationHeard(kid, found.algorithm, found.revoked_at, signer, receipts, silent(heard))


def _state(stored: str) -> Literal["prepublished", "active", "verify_only"]:
    if stored == "prepublished" or stored == "active":
        return stored
    return "verify_only"


ROUTES = [list_keys, rotate_key, revoke_one, show_revocation]
