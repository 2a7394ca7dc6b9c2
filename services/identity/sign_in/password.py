"""Passwords: one slow hash at a time per core, and an honest queue before it.

Argon2id, 19 MiB, t=2, p=1 (OWASP's first choice): 42 ms. More at once than cores
only makes everyone wait longer, so the rest queue, and beyond the queue are told
to come back.
"""

import asyncio
import base64
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from libs.common.refusals import DomainError

LONGEST = 1024
"""Characters read of a password: more is refused before it costs memory."""

WAITING_PER_CORE = 40
"""Hashes that may wait for one core: two seconds of them, then the waiting page."""


def _unpadded(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

_DUMMY = f"$argon2id$v=19$m={19 * 1024},t=2,p=1${_unpadded(os.urandom(16))}${_unpadded(os.urandom(32))}"
"""What an unknown person's password is checked against, so that nobody learns it is unknown: it costs what a real
one costs. Drawn, not computed: nobody has its password, and the computation slowed every start."""

_Answer = TypeVar("_Answer")


class TooManySignIns(DomainError):
    """The queue before the slow hash is full: come back in a few seconds."""


def _own_cores() -> int:
    """The cores this process may run on: a container, or an operator, may give it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Passwords:
    """The bounded pool. One per process, shared by every caller that hashes slowly."""

    def __init__(self, *, cores: int | None = None, waiting_per_core: int = WAITING_PER_CORE) -> None:
        self._cores = cores or _own_cores()
        self._room = self._cores * (1 + waiting_per_core)
        self._inside = 0
        self._turn = asyncio.Semaphore(self._cores)
        self._threads = ThreadPoolExecutor(self._cores, thread_name_prefix="argon2")

    async def hash(self, secret: str) -> str:
        """An encoded argon2id hash. Raises `TooManySignIns` when the queue is full."""
        return await self._take_a_turn(lambda: _HASHER.hash(secret[:LONGEST]))

    async def verify(self, encoded: str | None, secret: str) -> bool:
        """Whether `secret` is the one. `None` (nobody there) costs the same and is False.

        Raises `TooManySignIns` when the queue is full.
        """
        return await self._take_a_turn(lambda: _matches(encoded or _DUMMY, secret) and encoded is not None)

    async def _take_a_turn(self, work: Callable[[], _Answer]) -> _Answer:
        if self._inside >= self._room:
            raise TooManySignIns
        self._inside += 1
        try:
            async with self._turn:
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._inside -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _matches(encoded: str, secret: str) -> bool:
    try:
        return _HASHER.verify(encoded, secret[:LONGEST])
    except (VerificationError, InvalidHashError):
        return False
