"""Who has applied a revocation: what each process says of it, and the answers that a request with `wait=all` gathers.

A service that did not answer in time is named; nothing else depends on receipts.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from libs.common.bus.connection import Bus


class Receipt(Struct, frozen=True):
    """One process of a service applied one floor, or refuses one key. `signature` is a compact JWS over the other
    fields.
    """

    event_id: UUID
    service: str
    instance: UUID
    applied_at: datetime
    signature: str | None = None


def receipt_subject(service: str) -> str:
    """Where its processes say so; the broker lets no other service speak there."""
    return f"{service}.authz.applied.v1"


_receipts = msgspec.json.Decoder(Receipt)


class Receipts:
    """The receipts of one floor, `event_id`; nothing is kept of any other's, however many a service may say."""

    def __init__(self, event_id: UUID) -> None:
        self._event_id = event_id
        self._by_service: dict[str, Receipt] = {}
        self._news = asyncio.Condition()

    @asynccontextmanager
    async def listening(self, bus: Bus, services: Collection[str]) -> AsyncGenerator[None, None]:
        """Gather while the block runs: enter it before the revocation commits. Raises `BusUnavailable`."""
        async with AsyncExitStack() as subscriptions:
            for service in services:
                await subscriptions.enter_async_context(bus.hearing(receipt_subject(service), self._hear))
            yield

    async def of(self, services: Collection[str], *, timeout: float) -> dict[str, Receipt | None]:
        """Each service's first receipt; None for one that said nothing within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout), self._news:
                await self._news.wait_for(lambda: set(services) <= self._by_service.keys())
        except TimeoutError:
            pass
        return {service: self._by_service.get(service) for service in services}

    async def _hear(self, subject: str, body: bytes) -> None:
        try:
            receipt = _receipts.decode(body)
        except msgspec.MsgspecError:
            return
        # The broker lets a service speak under its own name only.
        if receipt.event_id != self._event_id or not subject.startswith(f"{receipt.service}."):
            return
        async with self._news:
            self._by_service.setdefault(receipt.service, receipt)
            self._news.notify_all()
