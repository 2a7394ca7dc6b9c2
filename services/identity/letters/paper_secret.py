"""The two halves on paper: how they are drawn, and how slowly they are recognised.

At rest a half is argon2id over an HMAC: without the key-encryption key a stolen
table cannot even be tried. With it, 2⁴⁰ tries of 8 MiB for one identifiant are
some 140 core-years, and the 2⁶⁰ of the code are out of reach; hence lighter parameters
than for passwords that people choose (docs/decisions/0030-paper-secrets.md).
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum

from argon2.low_level import Type, hash_secret_raw

from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import Unavailable
from libs.common.runtime.telemetry import counter
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.crockford import CheckedCode, new_code, parse_code

HASHED = counter(
    "paper_secret_hashes", "Slow hashes of halves: drawn for letters, or done for whoever typed.", "half"
)

MEMORY_KIB = 8 * 1024
ROUNDS = 1
WAITING_PER_CORE = 200
"""Hashes that may wait for one core: some eight tenths of a second of them."""


class Half(StrEnum):
    """What one letter carries; never both in one envelope."""

    IDENTIFIANT = "identifiant"
    CODE_CONFIDENTIEL = "code_confidentiel"

    @property
    def symbols(self) -> int:
        """Random symbols of 5 bits, the check character apart: 40 and 60 bits."""
        return 8 if self is Half.IDENTIFIANT else 12

    def draw(self) -> CheckedCode:
        return new_code(self.symbols)

    def parse(self, typed: str) -> CheckedCode:
        """Raises `MistypedCode`: a slip that is told and not counted."""
        return parse_code(typed, self.symbols)


class PaperSecrets:
    """The bounded slow hash of the halves; one a process."""

    def __init__(self, keys: KeyEncryption, *, cores: int | None = None) -> None:
        self._keys = keys
        self._cores = cores or os.cpu_count() or 1
        self._room = self._cores * (1 + WAITING_PER_CORE)
        self._inside = 0
        self._threads = ThreadPoolExecutor(self._cores, thread_name_prefix="paper-secret")

    def identifiant_salt(self, caisse: CaisseSlug, number: str) -> bytes:
        """The salt of every identifiant printed for this SIRET (or adhérent number, failing one).

        Two files of one SIRET share it, so that one slow hash tells them apart; drawn
        from the key, it cannot be computed outside.
        """
        return self._keys.mac("letters/identifiant-salt", f"{caisse}/{number}".encode())[:16]

    def hash_now(self, half: Half, code: CheckedCode, salt: bytes) -> bytes:
        """32 bytes; some 4 ms of one core, during which other threads run."""
        HASHED.labels(half.value).inc()
        return hash_secret_raw(
            self._keys.mac(f"letters/{half}", code.encode()),
            salt,
            time_cost=ROUNDS,
            memory_cost=MEMORY_KIB,
            parallelism=1,
            hash_len=32,
            type=Type.ID,
        )

    async def hash(self, half: Half, code: CheckedCode, salt: bytes) -> bytes:
        """`hash_now` in the pool. Raises `Unavailable` when the queue is full."""
        if self._inside >= self._room:
            raise Unavailable("the queue before the slow hash of the letters is full")
        self._inside += 1
        try:
            running = asyncio.get_running_loop()
            return await running.run_in_executor(self._threads, self.hash_now, half, code, salt)
        finally:
            self._inside -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
