"""The public keys of each caisse's issuer: cached, and fetched again when a token names an unknown one.

Whatever an unverified token says can cost at most one fetch a second per issuer:
strangers wait together for that one, and a key that it did not bring is unknown.
The caisse of an address is a stranger's word too: issuers that never published a
key share one pace, few places, and a memory of their own, so that inventing them
neither floods identity nor has the real ones forgotten.

A revoked key is refused from the moment it is heard of (floor_feed.py), for as long
as the process lives, whatever a JWK Set of before says. While nothing is heard, the
sets are asked for anew (docs/decisions/0140).
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final

import httpx
import msgspec
import structlog
from msgspec import Struct

from libs.common.access.signatures import SIGNING_ALGORITHMS, UnusableKey, VerifyingKey, verifying_key
from libs.common.refusals import Unavailable
from libs.common.values.caisse_slug import CaisseSlug

log = structlog.get_logger()

FRESH: Final = 300.0
"""Seconds after which the keys are fetched again in passing, so that a withdrawn one is noticed."""

APART: Final = 1.0
"""Seconds between two fetches of one issuer."""

BELIEVED: Final = 900.0
"""Seconds that a set may be believed when a revocation may have been missed since: a set is fresh for 300, and no token
of an issuer that has not answered after them lives longer than 600 more. The stream keeps revocations longer than that.
"""

JWKS_LIMIT: Final = 256 * 1024
"""Bytes of one issuer's set, which no rotation makes larger (`MOST_VERIFYING`)."""

MOST_ISSUERS: Final = 4096
MOST_WAITING: Final = 256

UNKNOWN_APART: Final = 0.05
"""Seconds between two fetches of issuers without a known key, all together, once the burst is spent."""

UNKNOWN_AT_FIRST: Final = 1024
"""Such fetches at once after a rest: a service that starts meets every caisse in a moment."""

UNKNOWN_AT_ONCE: Final = 8
MOST_UNKNOWN: Final = 256


class IssuerUnavailable(Unavailable):
    """The issuer's keys were never read, or too long ago, and cannot be now: it does not answer, or too many strangers
    are asked for.
    """


class _Jwks(Struct):
    keys: list[dict[str, object]]


class _Known(Struct):
    keys: dict[str, VerifyingKey]
    fetched_at: float = float("-inf")
    tried_at: float = float("-inf")
    fetching: asyncio.Task[None] | None = None
    waiting: int = 0


_jwks_decoder = msgspec.json.Decoder(_Jwks)


class IssuerKeys:
    """The keys at `{issuer base}/{caisse}/jwks`, for every caisse.

    Whoever hears no revocations gives `believed`, the seconds after which a set is asked for before it is believed.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        issuer_base: str,
        *,
        believed: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._base = issuer_base
        self._believed = believed
        self._apart = min(APART, believed)
        self._clock = clock
        self._edition = 0
        self._doubted_at = float("-inf")
        self._revoked: set[tuple[CaisseSlug, str]] = set()
        self._issuers: OrderedDict[CaisseSlug, _Known] = OrderedDict()
        self._unknown: OrderedDict[CaisseSlug, _Known] = OrderedDict()
        self._unknown_until = float("-inf")
        self._unknown_places = asyncio.Semaphore(UNKNOWN_AT_ONCE)

    def edition(self, caisse: CaisseSlug) -> int:
        """One for all issuers: keys are withdrawn some times a month, and then every token is verified once more."""
        return self._edition

    def revoke(self, caisse: CaisseSlug, kid: str) -> None:
        """That key leaked. Twice, or before it was ever read, makes no difference."""
        self._revoked.add((caisse, kid))
        self._edition += 1

    def doubt(self) -> None:
        """A revocation may have been missed: every set is asked for at its next use, and every token judged by it."""
        self._doubted_at = self._clock()
        self._edition += 1

    async def find(self, caisse: CaisseSlug, kid: str) -> VerifyingKey | None:
        """The key `kid` of this issuer; None when the issuer publishes no such key, or has revoked it.

        Raises `IssuerUnavailable` when nothing is known of the issuer, or nothing recent enough to be believed, and it
        does not answer, or is not asked for now.
        """
        if (caisse, kid) in self._revoked:
            return None
        known = self._of(caisse)
        key = known.keys.get(kid)
        if key is not None and self._is_believed(known):
            if self._is_to_be_renewed(known) and self._may_try(known):
                self._fetch(caisse, known)
            return key
        if known.waiting >= MOST_WAITING:
            return None
        known.waiting += 1
        try:
            if known.fetching is not None:
                # Under way already: it may have left before the key was published.
                await asyncio.shield(known.fetching)
            if kid not in known.keys or not self._is_believed(known):
                await asyncio.shield(known.fetching or self._fetch(caisse, known))
        finally:
            known.waiting -= 1
        if not self._is_believed(known):
            raise IssuerUnavailable(caisse)
        # Heard of since the set was read, perhaps: whoever waited goes on a round of the loop later.
        return None if (caisse, kid) in self._revoked else known.keys.get(kid)

    def _is_believed(self, known: _Known) -> bool:
        """Whether what was read so long ago still counts; what was never read does not."""
        most = min(self._believed, BELIEVED) if known.fetched_at < self._doubted_at else self._believed
        return self._clock() - known.fetched_at <= most and known.fetched_at != float("-inf")

    def _is_to_be_renewed(self, known: _Known) -> bool:
        return known.fetched_at < self._doubted_at or self._clock() - known.fetched_at > FRESH

    def _of(self, caisse: CaisseSlug) -> _Known:
        known = self._issuers.get(caisse)
        if known is not None:
            self._issuers.move_to_end(caisse)
            return known
        known = self._unknown.get(caisse) or _Known({})
        _keep(self._unknown, caisse, known, most=MOST_UNKNOWN)
        return known

    def _may_ask_for_an_unknown(self) -> bool:
        """One pass of the pace that all issuers without a key share (GCRA)."""
        now = self._clock()
        if self._unknown_until - now > UNKNOWN_APART * (UNKNOWN_AT_FIRST - 1):
            return False
        self._unknown_until = max(self._unknown_until, now) + UNKNOWN_APART
        return True

    def _may_try(self, known: _Known) -> bool:
        return known.fetching is None and self._clock() - known.tried_at >= self._apart

    def _fetch(self, caisse: CaisseSlug, known: _Known) -> asyncio.Task[None]:
        """Raises `IssuerUnavailable`."""
        if not known.keys and not self._may_ask_for_an_unknown():
            raise IssuerUnavailable(caisse)
        task = known.fetching = asyncio.create_task(self._read(caisse, known))
        return task

    async def _read(self, caisse: CaisseSlug, known: _Known) -> None:
        try:
            # Throttled rather than refused: a key published a moment ago is found by all who ask for it.
            await asyncio.sleep(max(0.0, known.tried_at + self._apart - self._clock()))
            async with nullcontext() if known.keys else self._unknown_places:
                known.tried_at = self._clock()
                answer = await self._http.get(
                    f"{self._base}/{caisse}/jwks",
                    # What a cache on the way kept may hold a key revoked since.
                    headers={"Cache-Control": "no-cache"},
                    timeout=2.0,
                    follow_redirects=False,
                )
            if answer.status_code == 404:
                found: dict[str, VerifyingKey] = {}
            else:
                answer.raise_for_status()
                if len(answer.content) > JWKS_LIMIT:
                    raise ValueError("too large")
                found = usable_keys(_jwks_decoder.decode(answer.content).keys)
            if not known.keys.keys() <= found.keys():
                self._edition += 1
            # An instance of identity may publish a key for half a second after it was revoked.
            known.keys = {kid: key for kid, key in found.items() if (caisse, kid) not in self._revoked}
            known.fetched_at = self._clock()
            if found and caisse not in self._issuers:
                self._unknown.pop(caisse, None)
                _keep(self._issuers, caisse, known, most=MOST_ISSUERS)
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError, ValueError) as error:
            log.warning("issuer_keys.unavailable", caisse=caisse, reason=type(error).__name__)
        finally:
            known.fetching = None


def _keep(kept: OrderedDict[CaisseSlug, _Known], caisse: CaisseSlug, known: _Known, *, most: int) -> None:
    """As the latest used; the longest unused gives its place."""
    kept[caisse] = known
    kept.move_to_end(caisse)
    if len(kept) > most:
        kept.popitem(last=False)


def usable_keys(jwks: list[dict[str, object]]) -> dict[str, VerifyingKey]:
    """By `kid`, the keys that say which one algorithm they are for; the others are passed over."""
    found: dict[str, VerifyingKey] = {}
    for jwk in jwks:
        kid, alg = jwk.get("kid"), jwk.get("alg")
        if not isinstance(kid, str) or alg not in SIGNING_ALGORITHMS:
            continue
        try:
            found[kid] = verifying_key(jwk, str(alg), kid=kid)
        except UnusableKey as error:
            log.warning("issuer_keys.unusable", kid=kid, reason=str(error))
    return found
