"""The clock of identity's database, asked over HTTP: by another way than the stream whose lag it tells."""

import asyncio
from datetime import datetime
from typing import Final

import httpx
import msgspec
from msgspec import Struct

from libs.common.access.floor_feed import ClockUnknown
from libs.common.values.foreign_json import UnreadableJson, read_json

CLOCK_PATH: Final = "/api/clock"

PATIENCE: Final = 0.5
"""Seconds: a reading is as uncertain as its round trip is long, and one that took longer would be of no use."""


class ClockTold(Struct, frozen=True):
    """The database's clock, between the question and its answer."""

    now: datetime


_told = msgspec.json.Decoder(ClockTold)


class IssuerClock:
    """Reads `{issuer_base}/api/clock`."""

    def __init__(self, http: httpx.AsyncClient, issuer_base: str) -> None:
        self._http = http
        self._url = issuer_base + CLOCK_PATH

    async def __call__(self) -> datetime:
        """Raises `ClockUnknown`."""
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._http.get(self._url)
            if answer.status_code != 200:
                raise ClockUnknown(f"status {answer.status_code}")
            told = read_json(answer.content, _told)
        except (httpx.HTTPError, TimeoutError, UnreadableJson, RuntimeError) as error:
            raise ClockUnknown(type(error).__name__) from error
        if told.now.tzinfo is None:
            raise ClockUnknown("without a time zone")
        return told.now
