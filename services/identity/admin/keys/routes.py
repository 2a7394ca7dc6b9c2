"""The signing keys of a caisse, for its own programs: what `espace keys` does. Right: `key.manage`."""

import asyncio
from typing import Literal

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Struct

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.access.signatures import Algorithm, SigningKey
from libs.common.database.journal import Actor
from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.documented import IdempotencyKey, needs, refusals
from libs.common.keys.key_encryption import KeyEncryption
from services.identity.admin.once import once
from services.identity.caisses.caisse import Caisse
from services.identity.openid.provider import Provider
from services.identity.signing_keys import store
from services.identity.signing_keys.rotation import rotate

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


def _state(stored: str) -> Literal["prepublished", "active", "verify_only"]:
    if stored == "prepublished" or stored == "active":
        return stored
    return "verify_only"


ROUTES = [list_keys, rotate_key]
