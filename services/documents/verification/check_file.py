"""A dropped PDF, checked in memory by a bounded child process and never kept."""

import asyncio
import base64
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import msgspec
import structlog

from libs.common.refusals import Unavailable
from libs.common.values.caisse_slug import CaisseSlug
from services.documents.attestations.issue import Workshop
from services.documents.seals.store import seal_certificates
from services.documents.verification.examined import Examined

log = structlog.get_logger()

PATIENCE: Final = 10.0
LARGEST: Final = 3 * 1024 * 1024
AT_ONCE: Final = 2
WAITING: Final = 10
BEING_READ: Final = 40
"""More than can be checked: most of a slow body has not come, and few networks must not be all of them."""

OF_ONE_NETWORK: Final = 4

_places = asyncio.Semaphore(AT_ONCE)


class CheckBusy(Unavailable):
    """Every place to open a stranger's file is taken, or this one took too long."""


class Places:
    """So many at once, few of them of one network."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._taken: Counter[str] = Counter()

    @contextmanager
    def place(self, network: str) -> Generator[None]:
        """Raises `CheckBusy`."""
        if self._taken.total() >= self._places or self._taken[network] >= OF_ONE_NETWORK:
            raise CheckBusy
        self._taken[network] += 1
        try:
            yield
        finally:
            self._taken[network] -= 1
            # An empty count is forgotten: networks are many.
            self._taken = +self._taken


class Line:
    """Who may hand a file in. The others keep their file.

    One place while the body comes, another from then until it is judged: a body sent drop by drop lasts ten
    seconds, and three networks of such would keep everybody else from a check of milliseconds. What a process
    holds of strangers' files is both counts times the largest, most of it on disk.
    """

    def __init__(self) -> None:
        self.reading = Places(BEING_READ)
        self.waiting = Places(AT_ONCE + WAITING)


async def check_content(shop: Workshop, caisse: CaisseSlug, content: bytes) -> Examined:
    """What the strict rule says of a file presented as an attestation of `caisse`.

    A file too large or too costly to open is `unreadable`, like any other that is
    not ours. Raises `CheckBusy`.
    """
    if len(content) > LARGEST:
        return Examined("unreadable")
    async with shop.db.transaction(caisse) as tx:
        known = await seal_certificates(tx)
    line = msgspec.json.encode([base64.b64encode(one).decode() for one in known]) + b"\n"
    try:
        async with asyncio.timeout(PATIENCE), _places:
            return await _examined_apart(line + content)
    except TimeoutError as error:
        raise CheckBusy from error


async def _examined_apart(sent: bytes) -> Examined:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.documents.verification.examine",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(path for path in sys.path if path)},
    )
    try:
        answer, _ = await child.communicate(sent)
    except BaseException:
        child.kill()
        await child.wait()
        raise
    if child.returncode != 0:
        # Out of memory or of time: whatever it was, it is no paper of ours.
        log.info("verification.child_died", exit_code=child.returncode)
        return Examined("unreadable")
    return msgspec.json.decode(answer, type=Examined)
