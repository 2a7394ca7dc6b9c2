"""A name server beside the client's own server."""

from collections.abc import AsyncIterator

import pytest

from tests.openid.name_server import NameServer, naming


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    """What strangers' names lead to, for a fetcher made with `resolver=names.resolver()`."""
    async with naming() as server:
        yield server
