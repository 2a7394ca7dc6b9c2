"""Two caisses of one identity service, and the programs of each."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from services.identity.app import create_app
from services.identity.signing_keys.rotation import create_keys
from tests.conftest import HeldClock
from tests.identity.admin.machines import Itself, Machine, a_machine
from tests.openid.party import Issuer, add_row_of_caisse

HERE = parse_caisse_slug("mediterranee")
ELSEWHERE = parse_caisse_slug("grand-ouest")


@pytest.fixture(scope="module")
def held() -> HeldClock:
    """One clock a file: it only goes forward."""
    return HeldClock()


@pytest.fixture
def clock(held: HeldClock) -> HeldClock:
    return held


@pytest.fixture(scope="module")
async def issuer(
    settings: Settings, identity_db: Database, keys: KeyEncryption, held: HeldClock
) -> AsyncIterator[Issuer]:
    """The first caisse's issuer over ASGI; the second is open too."""
    for caisse in (HERE, ELSEWHERE):
        await add_row_of_caisse(identity_db, caisse, held.now)
        async with identity_db.transaction(caisse) as tx:
            await create_keys(tx, keys, held.now)
    itself = Itself()
    outside = httpx.AsyncClient(transport=httpx.ASGITransport(itself))  # pyright: ignore[reportArgumentType]
    app = create_app(replace(settings, outbound_hosts=("127.0.0.1",)), clock=held, http=outside)
    itself.app = app
    started, over = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        async with app.lifespan():
            started.set()
            await over.wait()

    serving = asyncio.create_task(serve())
    await asyncio.wait({serving, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    served: Any = app
    yield Issuer(settings, HERE, identity_db, held, httpx.ASGITransport(app=served))
    over.set()
    await serving
    await outside.aclose()


@pytest.fixture(scope="module")
def elsewhere(issuer: Issuer) -> Issuer:
    """The second caisse of the same service."""
    return Issuer(issuer.settings, ELSEWHERE, issuer.db, issuer.clock, issuer.transport)


@pytest.fixture
async def machine(issuer: Issuer) -> Machine:
    """A program that may do everything."""
    return await a_machine(issuer)


@pytest.fixture
def other_caisse() -> CaisseSlug:
    return ELSEWHERE
