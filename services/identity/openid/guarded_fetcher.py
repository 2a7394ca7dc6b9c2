"""The only way identity reads an address that a client gave (openid.md §4, "SSRF").

https only, no private, loopback or link-local address, the resolved address
pinned for the connection, no redirect, small answers, short waits. The
allow-list of hosts for which plain http and loopback are let through is empty
unless the installation's settings fill it. A certificate is judged under the
name of the address, never under the pinned number; our own authority
(`trusted_ca`) is believed beside the public ones.
"""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import msgspec

from libs.common.database.held import refuse_inside_a_transaction
from libs.common.runtime.settings import Settings
from libs.common.values.foreign_json import UnreadableJson, read_json

LARGEST = 256 * 1024
TIMEOUT = 3.0
LONGEST = 8.0
"""Seconds of a whole exchange: an answer let drop by drop holds nobody."""
JWKS_FRESH_FOR = 300.0
JWKS_RETRY_AFTER = 10.0
MOST_REMEMBERED = 1024


class _JwkSet(msgspec.Struct):
    keys: list[dict[str, Any]]


_jwk_sets = msgspec.json.Decoder(_JwkSet)


class FetchRefused(Exception):
    """The address is not one we speak to, or it did not answer as asked."""


class _Pinned(NamedTuple):
    """One checked address: where to connect, and under which name."""

    address: str
    target: str
    headers: dict[str, str]
    extensions: dict[str, str]


class GuardedFetcher:
    """Fetches for the whole process; remembers JWK Sets for five minutes."""

    def __init__(
        self, allowed_hosts: Collection[str] = (), trusted_ca: Path | None = None, *, longest: float = LONGEST
    ) -> None:
        self._allowed = frozenset(allowed_hosts)
        self._trusted_ca = trusted_ca
        self._longest = longest
        self._jwks: dict[str, tuple[float, tuple[dict[str, Any], ...]]] = {}
        self._read_anew: dict[str, float] = {}

    @classmethod
    def of(cls, settings: Settings) -> "GuardedFetcher":
        """As the installation allows."""
        return cls(settings.outbound_hosts, settings.trusted_ca)

    async def get(self, url: str, *, accept: str = "application/json") -> tuple[bytes, str]:
        """Body and content type. Raises `FetchRefused`."""
        refuse_inside_a_transaction()
        return await self._request("GET", url, headers={"Accept": accept, "Accept-Encoding": "identity"})

    async def post_form(self, url: str, form: dict[str, str]) -> int:
        """The status of a posted form (a logout token). Raises `FetchRefused`."""
        refuse_inside_a_transaction()
        to = await self._pinned(url)
        try:
            async with (
                asyncio.timeout(self._longest),
                self._client() as client,
                client.stream(
                    "POST", to.target, data=form, headers=to.headers, extensions=to.extensions
                ) as answer,
            ):
                return answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise FetchRefused(f"{type(error).__name__} at {to.address}") from error

    async def jwks(self, url: str) -> tuple[dict[str, Any], ...]:
        """The keys of a JWK Set, remembered. Raises `FetchRefused`."""
        refuse_inside_a_transaction()
        known = self._jwks.get(url)
        if known and time.monotonic() < known[0]:
            return known[1]
        body, _ = await self.get(url)
        try:
            found = tuple(read_json(body, _jwk_sets).keys)
        except UnreadableJson as error:
            raise FetchRefused("not a JWK Set") from error
        if len(self._jwks) >= MOST_REMEMBERED:
            self._jwks.clear()
            self._read_anew.clear()
        self._jwks[url] = (time.monotonic() + JWKS_FRESH_FOR, found)
        return found

    async def jwks_anew(self, url: str) -> tuple[dict[str, Any], ...]:
        """The keys as they are now, for a `kid` we do not know; at most every ten seconds. Raises `FetchRefused`."""
        now = time.monotonic()
        if now - self._read_anew.get(url, -JWKS_RETRY_AFTER) >= JWKS_RETRY_AFTER:
            self._read_anew[url] = now
            self._jwks.pop(url, None)
        return await self.jwks(url)

    async def _request(self, method: str, url: str, headers: dict[str, str]) -> tuple[bytes, str]:
        to = await self._pinned(url)
        sent = {**headers, **to.headers}
        try:
            async with (
                asyncio.timeout(self._longest),
                self._client() as client,
                client.stream(method, to.target, headers=sent, extensions=to.extensions) as answer,
            ):
                if answer.status_code != 200:
                    raise FetchRefused(f"status {answer.status_code}")
                # Nothing is unpacked: a few kilobytes that swell to gigabytes would be counted too late.
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise FetchRefused("compressed, although asked not to be")
                return await _bounded(answer), answer.headers.get("content-type", "")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise FetchRefused(type(error).__name__) from error

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=self._trust, timeout=TIMEOUT, follow_redirects=False, trust_env=False)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Made once: reading the public authorities costs 20 ms."""
        trust = httpx.create_ssl_context(trust_env=False)
        if self._trusted_ca is not None:
            trust.load_verify_locations(cafile=str(self._trusted_ca))
        return trust

    async def _pinned(self, url: str) -> _Pinned:
        """The name resolved once; the connection goes to that very address. Raises `FetchRefused`."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise FetchRefused("no address") from error
        trusted = host in self._allowed
        if parts.username or parts.password or parts.fragment or not host:
            raise FetchRefused("userinfo, fragment or no host")
        if parts.scheme != "https" and not (trusted and parts.scheme == "http"):
            raise FetchRefused("not https")
        port = port or (443 if parts.scheme == "https" else 80)
        address = await _resolve(host, port, trusted)
        literal = f"[{address}]" if ":" in address else address
        target = parts._replace(netloc=f"{literal}:{port}").geturl()
        return _Pinned(address, target, {"Host": parts.netloc}, {"sni_hostname": host})


async def _resolve(host: str, port: int, trusted: bool) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        # UnicodeError: a label empty or too long, which no resolver is even asked.
        raise FetchRefused("unknown host") from error
    addresses = [str(entry[4][0]) for entry in found]
    # Every answer must be public: a name that also resolves inside is a trap.
    if not addresses or not (trusted or all(ipaddress.ip_address(one).is_global for one in addresses)):
        raise FetchRefused("not a public address")
    return addresses[0]


async def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > LARGEST:
            raise FetchRefused("too large")
    return bytes(body)
