"""The worker's duty, by hand: one round a call."""

from collections.abc import Awaitable, Callable

import pytest

from libs.common.database.pool import Database
from services.identity.openid.guarded_fetcher import GuardedFetcher
from services.identity.openid.logos.keep_logos import read_due
from tests.openid.listener import Listener
from tests.openid.logos.pictures import picture
from tests.openid.party import Issuer, Somebody

Round = Callable[[], Awaitable[bool]]


@pytest.fixture
def worker(issuer: Issuer, identity_relay: Database) -> Round:
    fetcher = GuardedFetcher(["127.0.0.1"])

    async def round() -> bool:
        return await read_due(fetcher, identity_relay, issuer.clock())

    return round


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


@pytest.fixture
def server(listener: Listener) -> Listener:
    """A client's server that has a logo."""
    listener.content_type = "image/png"
    listener.pages["/logo.png"] = picture()
    return listener
