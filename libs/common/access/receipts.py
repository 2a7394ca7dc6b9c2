"""Who has applied a revocation: the answers that a request with `wait=all` gathers.

A service that did not answer in time is named; nothing else depends on receipts.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from uuid import UUID

import msgspec

from libs.common.access.floor_feed import Receipt, receipt_subject
from libs.common.bus.connection import Bus

MOST_REMEMBERED: Final = 2000

_receipts = msgspec.json.Decoder(Receipt)


class Receipts:
    """The receipts heard by this process since it listens, a bounded number of them."""

    def __init__(self) -> None:
        self._by_event: OrderedDict[UUID, dict[str, Receipt]] = OrderedDict()
        self._news = asyncio.Condition()

    @asynccontextmanager
    async def listening(self, bus: Bus, services: Collection[str]) -> AsyncGenerator[None, None]:
        """Gather while the block runs: enter it before the revocation commits. Raises `BusUnavailable`."""
        async with AsyncExitStack() as subscriptions:
            for service in services:
                await subscriptions.enter_async_context(bus.hearing(receipt_subject(service), self._hear))
            yield

    async def of(
        self, event_id: UUID, services: Collection[str], *, timeout: float
    ) -> dict[str, Receipt | None]:
        """Each service's first receipt for a floor; None for one that said nothing within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout), self._news:
                await self._news.wait_for(lambda: set(services) <= self._by_event.get(event_id, {}).keys())
        except TimeoutError:
            pass
        answered = self._by_event.get(event_id, {})
        return {service: answered.get(service) for service in services}

    async def _hear(self, subject: str, body: bytes) -> None:
        try:
            receipt = _receipts.decode(body)
        except msgspec.MsgspecError:
            return
        # The broker lets a service speak under its own name only.
        if not subject.startswith(f"{receipt.service}."):
            return
        async with self._news:
            self._by_event.setdefault(receipt.event_id, {}).setdefault(receipt.service, receipt)
            if len(self._by_event) > MOST_REMEMBERED:
                self._by_event.popitem(last=False)
            self._news.notify_all()
