"""The only way identity reads an address that a client gave (openid.md §4, "SSRF").

https only, no private, loopback or link-local address, the resolved address
pinned for the connection, no redirect, small answers, short waits. The
allow-list of hosts for which plain http and loopback are let through is empty
unless the installation's settings fill it. A certificate is judged under the
name of the address, never under the pinned number; our own authority
(`trusted_ca`) is believed beside the public ones.
"""

import asyncio
import ssl
import time
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import httpx
import msgspec

from libs.common.database.held import refuse_inside_a_transaction
from libs.common.runtime.settings import Settings
from libs.common.values.foreign_json import UnreadableJson, read_json
from services.identity.openid.client_keys import Jwk, kept_keys
from services.identity.openid.public_address import is_public
from services.identity.openid.remembered import Remembered
from services.identity.openid.resolver import NoSuchName, Resolver, Unresolved, reachable_first

LARGEST = 256 * 1024
TIMEOUT = 3.0
LONGEST = 8.0
"""Seconds of a whole exchange: an answer let drop by drop holds nobody."""
JWKS_FRESH_FOR = 300.0
JWKS_GOOD_FOR = 900.0
"""Seconds after they were read during which keys are believed while nobody says where their address leads.

So long a name server may fall silent, or others' silence fill our places, before a client stands outside. And so long
at most a key that its client took back verifies still, for a thief who also silences the client's name servers. What
the address answers, and a name that is no more, are the client's own word and count at the next reading; a client that
is disabled, or registers other keys, waits for none.
"""
JWKS_RETRY_AFTER = 10.0
"""Seconds before an address that failed, or whose keys lacked a `kid`, is read again: strangers set the beat."""

READS_AT_ONCE = 16
"""Of one address: whoever asks for a client's `request_uri` without end makes no crowd at its door, nor at ours."""

JWKS_REMEMBERED = 4 * 1024 * 1024
"""Characters of keys, over all addresses."""


class _JwkSet(msgspec.Struct):
    keys: list[dict[str, Any]]


_jwk_sets = msgspec.json.Decoder(_JwkSet)


class FetchRefused(Exception):
    """The address is not one we speak to, or it did not answer as asked."""


class _LeadsNowhere(FetchRefused):
    """Nobody said, in time, where the address leads: its owner has not spoken."""


class _Pinned(NamedTuple):
    """One checked address: where to connect, and under which name."""

    target: str
    headers: dict[str, str]
    extensions: dict[str, str]


class _JwksRead(NamedTuple):
    """How the last reading of a JWK Set ended, and until when nobody reads it again for that."""

    until: float
    keys: tuple[Jwk, ...] = ()
    good_until: float = 0.0
    failure: str = ""

    def told(self) -> tuple[Jwk, ...]:
        """Raises `FetchRefused`."""
        if self.failure:
            raise FetchRefused(self.failure)
        return self.keys


class GuardedFetcher:
    """Fetches for the whole process; remembers JWK Sets for five minutes, failures for ten seconds.

    `of` is whose address it is, a client's id; who has none yet is known by the name in the address.
    """

    def __init__(
        self,
        allowed_hosts: Collection[str] = (),
        trusted_ca: Path | None = None,
        *,
        longest: float = LONGEST,
        resolver: Resolver | None = None,
    ) -> None:
        self._allowed = frozenset(allowed_hosts)
        self._trusted_ca = trusted_ca
        self._longest = longest
        self._jwks: Remembered[str, _JwksRead] = Remembered(JWKS_REMEMBERED)
        self._read_anew: Remembered[str, float] = Remembered(JWKS_REMEMBERED)
        self._reading: dict[str, asyncio.Task[_JwksRead]] = {}
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._resolver = resolver or Resolver()

    @classmethod
    def of(cls, settings: Settings) -> "GuardedFetcher":
        """As the installation allows."""
        return cls(settings.outbound_hosts, settings.trusted_ca)

    def allows(self, host: str) -> bool:
        """Whether the installation lists this host, which may then be private, or answer in plain http."""
        return host in self._allowed

    async def get(
        self, url: str, *, of: str | None = None, accept: str = "application/json"
    ) -> tuple[bytes, str]:
        """Body and content type. Raises `FetchRefused`."""
        refuse_inside_a_transaction()
        return await self._request(url, of, headers={"Accept": accept, "Accept-Encoding": "identity"})

    async def post_form(self, url: str, form: dict[str, str], *, of: str | None = None) -> int:
        """The status of a posted form (a logout token). Raises `FetchRefused`."""
        refuse_inside_a_transaction()
        try:
            async with asyncio.timeout(self._longest):
                to = await self._pinned(url, of)
                async with (
                    self._client() as client,
                    client.stream(
                        "POST", to.target, data=form, headers=to.headers, extensions=to.extensions
                    ) as answer,
                ):
                    return answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise FetchRefused(type(error).__name__) from error

    async def jwks(self, url: str, *, of: str | None = None) -> tuple[Jwk, ...]:
        """The usable keys of a JWK Set, remembered. Raises `FetchRefused`.

        Whoever asks meanwhile waits for the one reading; a failure holds for ten seconds, and so do the keys that
        outlast one (`JWKS_GOOD_FOR`).
        """
        refuse_inside_a_transaction()
        known = self._jwks.get(url)
        if known is not None and time.monotonic() < known.until:
            return known.told()
        return (await self._read_once(url, of)).told()

    async def jwks_anew(self, url: str, *, of: str | None = None) -> tuple[Jwk, ...]:
        """The keys as they are now, for a `kid` we do not know; at most every ten seconds. Raises `FetchRefused`."""
        refuse_inside_a_transaction()
        now, before = time.monotonic(), self._read_anew.get(url)
        if before is None or now - before >= JWKS_RETRY_AFTER:
            self._read_anew.put(url, now, len(url))
            await self._read_once(url, of)
        return await self.jwks(url, of=of)

    async def _read_once(self, url: str, of: str | None) -> _JwksRead:
        reading = self._reading.get(url)
        if reading is None:
            reading = self._reading[url] = asyncio.create_task(self._read(url, of))
            reading.add_done_callback(lambda _: self._reading.pop(url, None))
        # Who gives up does not take the answer from the others.
        return await asyncio.shield(reading)

    async def _read(self, url: str, of: str | None) -> _JwksRead:
        try:
            body, _ = await self.get(url, of=of)
            found, now = kept_keys(read_json(body, _jwk_sets).keys), time.monotonic()
            read = _JwksRead(now + JWKS_FRESH_FOR, found, now + JWKS_GOOD_FOR)
        except (FetchRefused, UnreadableJson) as error:
            known, now = self._jwks.get(url), time.monotonic()
            if known is not None and not known.failure and now < known.until:
                # Read anew for an unknown `kid`, in vain: what was read before is still good.
                return known
            again_at = now + JWKS_RETRY_AFTER
            if isinstance(error, _LeadsNowhere) and known is not None and now < known.good_until:
                read = known._replace(until=min(again_at, known.good_until))
            else:
                reason = str(error) if isinstance(error, FetchRefused) else "not a JWK Set"
                read = _JwksRead(again_at, failure=reason)
        self._jwks.put(url, read, len(url) + sum(len(said) for key in read.keys for said in key.values()))
        return read

    async def _request(self, url: str, of: str | None, headers: dict[str, str]) -> tuple[bytes, str]:
        try:
            # The name's own server is a stranger too: it is asked within the time, not before it.
            async with asyncio.timeout(self._longest), self._places_of(url):
                to = await self._pinned(url, of)
                sent = {**headers, **to.headers}
                async with (
                    self._client() as client,
                    client.stream("GET", to.target, headers=sent, extensions=to.extensions) as answer,
                ):
                    if answer.status_code != 200:
                        raise FetchRefused(f"status {answer.status_code}")
                    # Nothing is unpacked: a few kilobytes that swell to gigabytes would be counted too late.
                    if answer.headers.get("content-encoding", "identity") != "identity":
                        raise FetchRefused("compressed, although asked not to be")
                    return await _bounded(answer), answer.headers.get("content-type", "")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise FetchRefused(type(error).__name__) from error

    def _places_of(self, url: str) -> asyncio.Semaphore:
        return self._places.setdefault(url, asyncio.Semaphore(READS_AT_ONCE))

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=self._trust, timeout=TIMEOUT, follow_redirects=False, trust_env=False)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Made once: reading the public authorities costs 20 ms."""
        trust = httpx.create_ssl_context(trust_env=False)
        if self._trusted_ca is not None:
            trust.load_verify_locations(cafile=str(self._trusted_ca))
        return trust

    async def _pinned(self, url: str, of: str | None) -> _Pinned:
        """The name resolved once; the connection goes to that very address. Raises `FetchRefused`."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise FetchRefused("no address") from error
        trusted = self.allows(host)
        if parts.username or parts.password or parts.fragment or not host:
            raise FetchRefused("userinfo, fragment or no host")
        if parts.scheme != "https" and not (trusted and parts.scheme == "http"):
            raise FetchRefused("not https")
        port = port or (443 if parts.scheme == "https" else 80)
        address = await self._resolved(host, trusted, of or host)
        literal = f"[{address}]" if ":" in address else address
        target = parts._replace(netloc=f"{literal}:{port}").geturl()
        return _Pinned(target, {"Host": parts.netloc}, {"sni_hostname": host})

    async def _resolved(self, host: str, trusted: bool, of: str) -> str:
        try:
            asked = self._resolver.listed(host) if trusted else self._resolver.addresses(host, of=of)
            addresses = await asked
        except NoSuchName as error:
            raise FetchRefused(str(error)) from error
        except Unresolved as error:
            raise _LeadsNowhere(str(error)) from error
        # Every answer must be public: a name that also resolves inside is a trap.
        if not addresses or not (trusted or all(map(is_public, addresses))):
            raise FetchRefused("not a public address")
        return reachable_first(addresses)


async def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > LARGEST:
            raise FetchRefused("too large")
    return bytes(body)
