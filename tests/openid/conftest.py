"""Identity in this process, on a real database; the clock is held, the clients are ours."""

import asyncio
import uuid
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
from tests.openid.listener import Listener, listening
from tests.openid.party import Issuer, add_row_of_caisse
from tests.openid.running import running_espace

__all__ = ["running_espace"]

HERE = parse_caisse_slug("mediterranee")


@pytest.fixture(scope="module")
def held() -> HeldClock:
    """One clock a file: it only goes forward."""
    return HeldClock()


@pytest.fixture(scope="module")
async def caisse(identity_db: Database, keys: KeyEncryption, held: HeldClock) -> CaisseSlug:
    await add_row_of_caisse(identity_db, HERE, held.now)
    async with identity_db.transaction(HERE) as tx:
        await create_keys(tx, keys, held.now)
    return HERE


@pytest.fixture(scope="module")
async def issuer(
    settings: Settings, identity_db: Database, caisse: CaisseSlug, held: HeldClock
) -> AsyncIterator[Issuer]:
    """The issuer of the caisse over ASGI, and the database behind it."""
    settings = replace(settings, outbound_hosts=("127.0.0.1",))
    app = create_app(settings, clock=held)
    started, over = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        # A lifespan is entered and left by one task; a fixture's two halves are not.
        async with app.lifespan():
            started.set()
            await over.wait()

    serving = asyncio.create_task(serve())
    await asyncio.wait({serving, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    served: Any = app
    yield Issuer(settings, caisse, identity_db, held, httpx.ASGITransport(app=served))
    over.set()
    await serving


@pytest.fixture
def nonce() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """A client's own server on loopback, which the allow-list of these tests lets through."""
    async with listening() as server:
        yield server
