"""The public keys of each caisse's issuer: cached, and fetched again when a token names an unknown one.

Whatever an unverified token says can cost at most one fetch a second per issuer:
strangers wait together for that one, and a key that it did not bring is unknown.
The caisse of an address is a stranger's word too: issuers that never published a
key share one pace, few places, and a memory of their own, so that inventing them
neither floods identity nor has the real ones forgotten.
"""

import asyncio
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

JWKS_LIMIT: Final = 64 * 1024
MOST_ISSUERS: Final = 4096
MOST_WAITING: Final = 256

UNKNOWN_APART: Final = 0.05
"""Seconds between two fetches of issuers without a known key, all together, once the burst is spent."""

UNKNOWN_AT_FIRST: Final = 1024
"""Such fetches at once after a rest: a service that starts meets every caisse in a moment."""

UNKNOWN_AT_ONCE: Final = 8
MOST_UNKNOWN: Final = 256


class IssuerUnavailable(Unavailable):
    """The issuer's keys were never read and cannot be now: it does not answer, or too many strangers are asked for."""


class _Jwks(Struct):
    keys: list[dict[str, object]]


class _Known(Struct):
    keys: dict[str, VerifyingKey]
    edition: int = 0
    fetched_at: float = float("-inf")
    tried_at: float = float("-inf")
    fetching: asyncio.Task[None] | None = None
    waiting: int = 0


_jwks_decoder = msgspec.json.Decoder(_Jwks)


class IssuerKeys:
    """The keys at `{issuer base}/{caisse}/jwks`, for every caisse."""

    def __init__(
        self, http: httpx.AsyncClient, issuer_base: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._base = issuer_base
        self._clock = clock
        self._issuers: OrderedDict[CaisseSlug, _Known] = OrderedDict()
        self._unknown: OrderedDict[CaisseSlug, _Known] = OrderedDict()
        self._unknown_until = float("-inf")
        self._unknown_places = asyncio.Semaphore(UNKNOWN_AT_ONCE)

    def edition(self, caisse: CaisseSlug) -> int:
        known = self._issuers.get(caisse)
        return 0 if known is None else known.edition

    async def find(self, caisse: CaisseSlug, kid: str) -> VerifyingKey | None:
        """The key `kid` of this issuer; None when the issuer publishes no such key.

        Raises `IssuerUnavailable` when nothing is known of the issuer and it does not answer, or is not asked for now.
        """
        known = self._of(caisse)
        key = known.keys.get(kid)
        if key is not None:
            if self._clock() - known.fetched_at > FRESH and self._may_try(known):
                self._fetch(caisse, known)
            return key
        if known.waiting >= MOST_WAITING:
            return None
        known.waiting += 1
        try:
            if known.fetching is not None:
                # Under way already: it may have left before the key was published.
                await asyncio.shield(known.fetching)
            if kid not in known.keys:
                await asyncio.shield(known.fetching or self._fetch(caisse, known))
        finally:
            known.waiting -= 1
        if known.fetched_at == float("-inf"):
            raise IssuerUnavailable(caisse)
        return known.keys.get(kid)

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
        return known.fetching is None and self._clock() - known.tried_at >= APART

    def _fetch(self, caisse: CaisseSlug, known: _Known) -> asyncio.Task[None]:
        """Raises `IssuerUnavailable`."""
        if not known.keys and not self._may_ask_for_an_unknown():
            raise IssuerUnavailable(caisse)
        task = known.fetching = asyncio.create_task(self._read(caisse, known))
        return task

    async def _read(self, caisse: CaisseSlug, known: _Known) -> None:
        try:
            # Throttled rather than refused: a key published a moment ago is found by all who ask for it.
            await asyncio.sleep(max(0.0, known.tried_at + APART - self._clock()))
            async with nullcontext() if known.keys else self._unknown_places:
                known.tried_at = self._clock()
                answer = await self._http.get(
                    f"{self._base}/{caisse}/jwks", timeout=2.0, follow_redirects=False
                )
            if answer.status_code == 404:
                found: dict[str, VerifyingKey] = {}
            else:
                answer.raise_for_status()
                if len(answer.content) > JWKS_LIMIT:
                    raise ValueError("too large")
                found = usable_keys(_jwks_decoder.decode(answer.content).keys)
            if not known.keys.keys() <= found.keys():
                known.edition += 1
            known.keys = found
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
