"""The access half of one service, assembled: made with its app, live with its lifespan.

access = ResourceServer(settings, "adherent", keys)
app = build_application(…, guards=[access.guard], dependencies={"token": Provide(provide_token), …},
                        lifespan=[opened], readiness={"revocations": access.is_ready})
async with access.opened(db): ...        # inside the lifespan
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from libs.common.access.access_token import KeySource, TokenVerifier
from libs.common.access.dpop import Nonces
from libs.common.access.floor_feed import FloorFeed
from libs.common.access.guard import Guarding, SessionCheck, TokenCheck, guard_by_access, resource_metadata
from libs.common.access.introspection import Introspect, IntrospectAtIssuer
from libs.common.access.issuer_clock import IssuerClock
from libs.common.access.issuer_keys import IssuerKeys
from libs.common.access.proof_memory import ProofsInPostgres
from libs.common.access.revocations import Floors
from libs.common.access.signatures import SigningKey
from libs.common.bus.connection import Bus
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import Unavailable
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug

READY_ANYWAY: Final = 5.0
"""Seconds after which a service serves without the past: delegated tokens then go to the issuer."""

NONCE_PURPOSE: Final = "dpop-nonce"


def way_out(settings: Settings) -> httpx.AsyncClient:
    """A client for our own addresses: no proxy of the environment, our own authority if there is one."""
    verify: ssl.SSLContext | bool = True
    if settings.trusted_ca is not None:
        verify = ssl.create_default_context(cafile=str(settings.trusted_ca))
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
    return httpx.AsyncClient(verify=verify, trust_env=False, limits=limits, timeout=2.0)


class ResourceServer:
    """Checks tokens for `service`. `http`, `key_source` and `introspect` replace the ways to identity.

    Without `client_key` in the settings a stale stream means 503 for delegated requests. `key_revoked` is told of a
    caisse whose signing key leaked.
    """

    def __init__(
        self,
        settings: Settings,
        service: str,
        keys: KeyEncryption,
        *,
        session: SessionCheck | None = None,
        http: httpx.AsyncClient | None = None,
        key_source: KeySource | None = None,
        introspect: Introspect | None = None,
        key_revoked: Callable[[CaisseSlug], None] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._service = service
        self._keys = keys
        self._session = session
        self._http = http
        self._key_source = key_source
        self._introspect = introspect
        self._key_revoked = key_revoked
        self._clock = clock
        self._guard: Guarding = _refuse_until_open
        self._opened_at = float("inf")
        self.floors = Floors()
        self.bus: Bus | None = None
        """The service's link to NATS while it is open."""

    async def guard(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """For `guards=`; refuses everything that needs a token until `opened`."""
        await self._guard(connection, handler)

    async def is_ready(self) -> bool:
        """Whether the revocations of the past were replayed, or waiting for them has lasted long enough."""
        return self.floors.caught_up or time.monotonic() - self._opened_at > READY_ANYWAY

    def metadata(self, *, name: str, scopes: Sequence[str]) -> HTTPRouteHandler:
        """The RFC 9728 document of this service, one address a caisse."""
        return resource_metadata(
            issuer_base=self._settings.identity.base,
            audience_base=self._settings.service(self._service).base,
            name=name,
            scopes=list(scopes),
        )

    @asynccontextmanager
    async def opened(self, db: Database) -> AsyncGenerator[None, None]:
        """Connect, follow the revocations and guard, while the block runs. `db` is the app role."""
        section = self._settings.service(self._service)
        http = self._http or way_out(self._settings)
        # Apart: whatever strangers have us fetch, a revocation is still asked for.
        asking = self._http or way_out(self._settings)
        bus = self.bus = Bus.of(self._settings, self._service)
        key = SigningKey.from_pem(section.client_key) if section.client_key else None
        issuer_keys = IssuerKeys(http, self._settings.identity.base)
        tokens = self._token_check(self._key_source or issuer_keys, asking, db, key)
        self._guard = guard_by_access(tokens=tokens, session=self._session)
        bus.start()
        self._opened_at = time.monotonic()
        clock = IssuerClock(asking, self._settings.identity.base)
        following = FloorFeed(
            bus,
            self.floors,
            self._service,
            clock=clock,
            keys=issuer_keys,
            key_revoked=self._key_revoked,
            signing_key=key,
        )
        feed = asyncio.create_task(following.run())
        try:
            yield
        finally:
            self._guard = _refuse_until_open
            self.bus = None
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)
            await bus.close()
            if self._http is None:
                await http.aclose()
                await asking.aclose()

    def _token_check(
        self, key_source: KeySource, asking: httpx.AsyncClient, db: Database, key: SigningKey | None
    ) -> TokenCheck:
        issuer_base = self._settings.identity.base
        base = self._settings.service(self._service).base
        introspect = self._introspect
        if introspect is None and key is not None:
            introspect = IntrospectAtIssuer(asking, issuer_base, client_id=self._service, key=key)
        verifier = TokenVerifier(
            key_source,
            issuer_base=issuer_base,
            audience_base=base,
            clock=lambda: self._clock().timestamp(),
        )
        return TokenCheck(
            verifier=verifier,
            floors=self.floors,
            memory=ProofsInPostgres(db),
            introspect=introspect,
            public_base=base,
            nonces=nonces_of(self._keys, self._service),
            clock=self._clock,
        )


def nonces_of(keys: KeyEncryption, service: str) -> Nonces:
    """The server nonces of a service, the same in each of its processes."""
    return Nonces(keys.mac(NONCE_PURPOSE, service.encode()))


async def _refuse_until_open(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    if handler.opt.get("access") not in ("anyone", "internal", "protocol"):
        raise Unavailable("not open yet")
