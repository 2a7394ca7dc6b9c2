"""A name server beside the client's own server, and the clock of the fetcher."""

from collections.abc import AsyncIterator

import pytest

from services.identity.openid import guarded_fetcher
from tests.openid.name_server import NameServer, naming


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    """What strangers' names lead to, for a fetcher made with `resolver=names.resolver()`."""
    async with naming() as server:
        yield server


@pytest.fixture
def minutes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The fetcher's clock; its first number is now."""
    now = [1000.0]

    class Clock:
        monotonic = staticmethod(lambda: now[0])

    monkeypatch.setattr(guarded_fetcher, "time", Clock)
    return now
