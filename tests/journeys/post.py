"""The letter box and the mailbox of the demonstration, and the telephone that shows codes."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import httpx
from pyotp.totp import TOTP

from services.demonstration.journey import (
    Espace,
    Journey,
    follow_the_link,
    open_the_account,
    receive_two_letters,
)
from services.demonstration.visitor import Visitor

T = TypeVar("T")
STEP = 30


async def until(look: Callable[[], Awaitable[T]], seconds: float = 20) -> T:
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := await look()):
        assert time.monotonic() < deadline, "not seen in time"
        await asyncio.sleep(0.1)
    return found


async def two_letters(ready: dict[str, Any]) -> Journey:
    """A firm that the former system knew a cabinet of, and the two letters that the post now brings it.

    It is up to date, and no letter was made for it before.
    """
    async with _journey(ready) as journey:
        await receive_two_letters(journey)
        return journey


async def an_account(ready: dict[str, Any]) -> Journey:
    """A firm's account, opened from its two letters: an e-mail and a password, nothing else."""
    async with _journey(ready) as journey:
        for step in (receive_two_letters, open_the_account, follow_the_link):
            await step(journey)
        return journey


@asynccontextmanager
async def _journey(ready: dict[str, Any]) -> AsyncGenerator[Journey, None]:
    known = await _with_former_cabinet(ready)
    fresh = [one for one in ready["demo"]["fresh_adherents"] if one["adherent_number"] in known]
    addresses = {name: ready[name] for name in ("portal", "identity", "adherent", "documents", "mail")}
    told = Espace(**addresses, demo={**ready["demo"], "fresh_adherents": fresh})
    async with httpx.AsyncClient(trust_env=False, timeout=15) as http, Visitor() as firm, Visitor() as other:
        yield Journey(told, http, firm, other)


async def _with_former_cabinet(ready: dict[str, Any]) -> set[str]:
    connection = await asyncpg.connect(ready["postgres"])
    try:
        rows = await connection.fetch(
            "SELECT adherent_number FROM identity.mandate JOIN identity.adherent ON adherent.id = adherent_id"
            " WHERE mandate.state = 'legacy_lapsed' AND adherent.caisse = 'mediterranee'"
        )
    finally:
        await connection.close()
    return {row["adherent_number"] for row in rows}


async def mailed(ready: dict[str, Any], email: str, pattern: str) -> str:
    """The newest match of `pattern` in the mails to this address."""
    async with httpx.AsyncClient(trust_env=False, timeout=15) as http:

        async def look() -> str:
            found = (await http.get(f"{ready['mail']}/messages", params={"to": email})).json()
            texts = [message["text"] for message in found]
            matches = [match for text in texts if (match := re.search(pattern, text))]
            return matches[0][0] if matches else ""

        return await until(look)


class Telephone:
    """An authenticator: each value works once, so the next sign-in waits for the next one."""

    def __init__(self, secret: str) -> None:
        self._totp = TOTP(secret)
        self._used = 0

    async def code(self) -> str:
        async def fresh() -> int:
            now = int(time.time()) // STEP
            return now if now > self._used else 0

        self._used = await until(fresh, STEP + 5)
        return self._totp.at(self._used * STEP)
