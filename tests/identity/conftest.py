"""The identity service in this process, a mail server, two caisses."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.settings import Settings
from services.identity.app import create_app
from services.identity.letters.paper_secret import PaperSecrets
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import Post, Visitor, a_post, add_caisses, living


@pytest.fixture(scope="module")
def held() -> HeldClock:
    return HeldClock()


@pytest.fixture
def clock(held: HeldClock) -> HeldClock:
    return held


@pytest.fixture(scope="module")
async def app(settings: Settings, identity_db: Database, held: HeldClock) -> AsyncIterator[Litestar]:
    await add_caisses(identity_db, held)
    async with living(create_app(settings, clock=held)) as app:
        yield app


@pytest.fixture
def visitor(app: Litestar) -> Visitor:
    return Visitor(app)


@pytest.fixture(scope="session")
def paper(keys: KeyEncryption) -> PaperSecrets:
    return PaperSecrets(keys)


@pytest.fixture
async def post(
    tmp_path: Path, identity_relay: Database, keys: KeyEncryption, clock: HeldClock
) -> AsyncIterator[Post]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with a_post(tmp_path / "mail", identity_relay, keys, clock, port) as post:
        yield post
