"""Where the names that strangers wrote lead, asked in such a way that a name server's silence costs others nothing.

A name is put to the system's own servers by a question of ours that ends when we leave it. The system's function
(`getaddrinfo`) holds a thread for as long as it likes, and a client's own name server need only be silent to keep it.
It is left to the names that the installation lists itself, which may stand in a file of hosts.

Places are few, since each is an open socket: so few for one client that its silent names hold up its own alone.
"""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from ipaddress import ip_address
from weakref import WeakValueDictionary

import dns.asyncresolver
import dns.exception
import dns.resolver

AT_ONCE = 64
EACH_AT_ONCE = 2
"""Names of one client asked for at once."""

LISTED_AT_ONCE = 4
PLACE_WITHIN = 3.0
ANSWER_WITHIN = 3.0
ONE_TRY = 1.0
"""Seconds until a question is put again: one lost datagram is no silence."""


class NoSuchName(Exception):
    """Its name server says so, or it is no name that can be asked for."""


class Unresolved(Exception):
    """Nobody said, in time, where the name leads."""


class Resolver:
    """For the whole process. `configured` makes what knows the name servers, anew each time: they may change."""

    def __init__(
        self, configured: Callable[[], dns.asyncresolver.Resolver] = dns.asyncresolver.Resolver
    ) -> None:
        self._configured = configured
        self._places = asyncio.Semaphore(AT_ONCE)
        self._each: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._threads = ThreadPoolExecutor(LISTED_AT_ONCE, "resolver")

    async def addresses(self, host: str, *, of: str) -> list[str]:
        """What a stranger's name leads to; a number leads to itself. `of` is whose name it is.

        Raises `NoSuchName`, `Unresolved`.
        """
        try:
            return [str(ip_address(host))]
        except ValueError:
            pass
        own = self._each.setdefault(of, asyncio.Semaphore(EACH_AT_ONCE))
        async with AsyncExitStack() as place:
            try:
                async with asyncio.timeout(PLACE_WITHIN):
                    # Its own place first: whoever has many questions waits among them, not before everybody.
                    await place.enter_async_context(own)
                    await place.enter_async_context(self._places)
            except TimeoutError as error:
                raise Unresolved("no place to resolve it") from error
            return await self._asked(host)

    async def listed(self, host: str) -> list[str]:
        """What the system says of a name that the installation lists. Raises `NoSuchName`, `Unresolved`."""
        asked = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, asked)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise Unresolved("its name servers do not answer") from error
            raise NoSuchName("unknown host") from error
        except (OSError, UnicodeError) as error:
            # UnicodeError: a label empty or too long, which no server is even asked.
            raise NoSuchName("unknown host") from error
        return [str(entry[4][0]) for entry in found]

    async def _asked(self, host: str) -> list[str]:
        try:
            servers = self._configured()
            servers.timeout, servers.lifetime = ONE_TRY, ANSWER_WITHIN
            async with asyncio.timeout(ANSWER_WITHIN):
                return [*await _records(servers, host, "A"), *await _records(servers, host, "AAAA")]
        except (TimeoutError, dns.resolver.LifetimeTimeout, dns.resolver.NoNameservers) as error:
            raise Unresolved("its name servers do not answer") from error
        except dns.resolver.NoResolverConfiguration as error:
            raise Unresolved("no name server is configured") from error
        except (dns.exception.DNSException, UnicodeError) as error:
            raise NoSuchName("unknown host") from error


async def _records(servers: dns.asyncresolver.Resolver, host: str, kind: str) -> list[str]:
    # Never completed with a domain of ours: a stranger's `db` is not our `db`.
    found = await servers.resolve(host, kind, search=False, raise_on_no_answer=False)
    return [record.to_text() for record in found]


def reachable_first(addresses: list[str]) -> str:
    """The first to which a route exists (RFC 6724 §5, rule 1); nothing is sent to learn it."""
    return next(filter(_has_route, addresses), addresses[0])


def _has_route(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True
