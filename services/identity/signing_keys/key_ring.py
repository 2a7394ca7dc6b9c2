"""The keys of one caisse as a process holds them: what signs, what verifies, what is published.

Twice a second a process asks whether the rings of any caisse changed: one short question, however many caisses it
serves. A key is published long before it signs and after it stopped, so a ring that is half a second old is right; one
that was revoked is told to every process besides. What the caisse opens to clients is read with its keys, for as long.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from libs.common.access.signatures import (
    Malformed,
    SigningKey,
    VerifyingKey,
    sign_compact,
    split_compact,
    verifying_key,
)
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.foreign_json import UnreadableJson, read_json
from services.identity.signing_keys import store
from services.identity.signing_keys.opened import NOTHING_OPENED, Opened
from services.identity.signing_keys.rotation import HINTS_FOR, complete_keys, missing
from services.identity.signing_keys.sealing import open_key

FRESH_FOR = 0.5
"""Seconds the rings are believed before the database is asked whether any of them changed.

Half of what a revoked key may still take while no fact of it arrives: the portal reads the JWK Set from here.
"""

REREAD_AFTER = 60.0
"""Seconds after which a ring is read again though no change was told: a database restored from a copy counts anew."""


_objects = msgspec.json.Decoder(dict[str, Any])


class UnknownSigningKey(Exception):
    """No key of this caisse signs with that algorithm."""


OWN_JWT_LIMIT = 8192
"""Characters of a JWT of ours that comes back; the largest weigh under 3,000."""


MOST_REMEMBERED = 4096
"""Verified JWTs that a process remembers, over all its caisses: some 4 KB each."""


class VerifiedJwts:
    """JWTs of ours that came back and were verified, the latest of them, each under the ring that verified it.

    One for all the rings of a process: a thousand caisses remember no more than one does.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._known: OrderedDict[str, tuple[object, str, dict[str, Any]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def claims(self, compact: str, ring: object, typ: str) -> dict[str, Any] | None:
        """What `ring` found in this JWT of this type; `None` when it has not seen it, or seen another."""
        known = self._known.get(compact)
        if known is None or known[0] is not ring or known[1] != typ:
            return None
        self._known.move_to_end(compact)
        return known[2]

    def remember(self, compact: str, ring: object, typ: str, claims: dict[str, Any]) -> None:
        self._known[compact] = (ring, typ, claims)
        self._known.move_to_end(compact)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


class KeyRing:
    """Immutable; replaced whole when the keys change, or what the caisse opens: the new one verifies anew."""

    def __init__(
        self,
        active: dict[str, SigningKey],
        published: list[dict[str, str]],
        opened: Opened = NOTHING_OPENED,
        verified: VerifiedJwts | None = None,
        archived: Sequence[dict[str, str]] = (),
    ) -> None:
        self._active = active
        self.opened = opened
        self._published = _by_kid(published)
        self._of_hints = _by_kid(archived) | self._published
        self._mark = object()
        self._verified = verified if verified is not None else VerifiedJwts()
        self.jwks = msgspec.json.encode({"keys": published})
        """The bytes of the JWK Set (RFC 7517 §5), ready to send."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no such caisse."""
        return not self._published

    def sign(self, claims: dict[str, Any], *, typ: str, algorithm: str = "ES256") -> str:
        """A JWT of this caisse under its active key. Raises `UnknownSigningKey`."""
        key = self._active.get(algorithm)
        if key is None:
            raise UnknownSigningKey(algorithm)
        return sign_compact(key, {"typ": typ, "kid": key.kid}, claims)

    def read_own_jwt(self, compact: str, *, typ: str) -> dict[str, Any] | None:
        """The claims of a JWT that this caisse signed as `typ`; `None` for anything else.

        Only `kid` chooses a key, and the key names the algorithm: `alg`, `jwk`,
        `jku` and `x5u` of the header choose nothing. Dates are the caller's to judge,
        and the claims are not the caller's to change: they are kept, while this ring
        lasts, for the next time the same JWT comes back.
        """
        claims = self._verified.claims(compact, self._mark, typ)
        if claims is None and (claims := _verify(self._published, compact, typ)) is not None:
            self._verified.remember(compact, self._mark, typ, claims)
        return claims

    def read_own_hint(self, compact: str, *, typ: str) -> dict[str, Any] | None:
        """As `read_own_jwt`, of a JWT that only tells us whom or what somebody means: archived keys count too."""
        return _verify(self._of_hints, compact, typ)

    def knows(self, kid: str) -> bool:
        """Whether a hint signed under this name could be read."""
        return kid in self._of_hints


def _by_kid(jwks: Iterable[dict[str, str]]) -> dict[str, VerifyingKey]:
    return {jwk["kid"]: verifying_key(jwk, jwk["alg"], kid=jwk["kid"]) for jwk in jwks}


def _verify(keys: Mapping[str, VerifyingKey], compact: str, typ: str) -> dict[str, Any] | None:
    try:
        parts = split_compact(compact, limit=OWN_JWT_LIMIT)
        header = read_json(parts.header, _objects)
        key = keys.get(header.get("kid", ""))
        if key is None or header.get("alg") != key.alg or header.get("typ") != typ or "crit" in header:
            return None
        if not key.verifies(parts.signature, parts.signed):
            return None
        return read_json(parts.payload, _objects)
    except (Malformed, TypeError, UnreadableJson):
        return None


class Known(NamedTuple):
    """A ring, what it was made of, and how long it stands (this process's own clock)."""

    version: int
    """Of all the issuers together, before this one was read."""
    until: float
    told: store.Told
    ring: KeyRing


class KeyRings:
    """The rings of a process. One reader a caisse at a time; the others wait for its answer."""

    def __init__(self, db: Database, keys: KeyEncryption) -> None:
        self._db = db
        self._keys = keys
        self._version = 0
        self._version_until = -math.inf
        self._rings: dict[CaisseSlug, Known] = {}
        # A lock lives while somebody holds or awaits it: any slug may be asked for, an outage included,
        # and what does not exist must not fill the memory.
        self._locks: WeakValueDictionary[CaisseSlug, asyncio.Lock] = WeakValueDictionary()
        self._verified = VerifiedJwts()

    def __len__(self) -> int:
        return len(self._rings) + len(self._locks)

    async def of(self, caisse: CaisseSlug) -> KeyRing:
        """The ring of a caisse, empty when there is none. Raises `DatabaseUnavailable`."""
        if ring := self._standing(caisse):
            return ring
        if time.monotonic() >= self._version_until:
            await self._ask_version(caisse)
        lock = self._locks.setdefault(caisse, asyncio.Lock())
        async with lock:
            return self._standing(caisse) or await self._reread(caisse)

    def forget(self, caisse: CaisseSlug) -> None:
        """Reread at the next use: this process has just rotated, or a key was revoked."""
        self._rings.pop(caisse, None)

    def _standing(self, caisse: CaisseSlug) -> KeyRing | None:
        known = self._rings.get(caisse)
        if known is None or known.version != self._version:
            return None
        return known.ring if time.monotonic() < min(self._version_until, known.until) else None

    async def _ask_version(self, caisse: CaisseSlug) -> None:
        """Whoever asks at this moment shares the message; what changes once it is answered is heard by the next."""
        asked_at = time.monotonic()
        self._version = await store.version(self._db.one_statement(caisse))
        self._version_until = asked_at + FRESH_FOR

    async def _reread(self, caisse: CaisseSlug) -> KeyRing:
        """The ring we have, when nothing it is made of has changed; else one made anew.

        What changes between the two reads is told by the next.
        """
        version, known = self._version, self._rings.get(caisse)
        asked_at, now = time.monotonic(), datetime.now(UTC)
        told = await store.told(self._db.one_statement(caisse), caisse, now)
        if known is not None and known.told == told:
            ring = known.ring
        else:
            rows = await self._complete(caisse)
            archived = await store.archived(self._db.one_statement(caisse), retired_after=now - HINTS_FOR)
            ring = await asyncio.to_thread(self._open, caisse, rows, archived, told.opened)
        if not ring.is_empty:
            lasts = (told.until - now).total_seconds() if told.until else REREAD_AFTER
            self._rings[caisse] = Known(version, asked_at + min(lasts, REREAD_AFTER), told, ring)
        return ring

    async def _complete(self, caisse: CaisseSlug) -> list[store.StoredKey]:
        """The published keys, once every algorithm has those it must have."""
        rows = await store.published(self._db.one_statement(caisse))
        if rows and (lacking := missing(rows)):
            await complete_keys(self._db, caisse, self._keys, lacking, datetime.now(UTC))
            rows = await store.published(self._db.one_statement(caisse))
        return rows

    def _open(
        self, caisse: CaisseSlug, rows: list[store.StoredKey], archived: list[dict[str, str]], opened: Opened
    ) -> KeyRing:
        active = {row.algorithm: open_key(self._keys, caisse, row) for row in rows if row.state == "active"}
        return KeyRing(active, [row.public_jwk for row in rows], opened, self._verified, archived)
