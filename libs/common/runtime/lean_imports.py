"""Libraries that look around for optional companions, imported as if the companions were not there.

nats-py takes aiohttp for websockets, httpx takes rich and pygments for its command line, structlog takes rich and
greenlet for a developer's terminal: we use none of it, and each process paid 110 ms and 20 MB for it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

LOOK_AROUND = ("httpx", "nats", "structlog")
COMPANIONS = ("aiohttp", "rich", "pygments", "greenlet")


def import_lean() -> None:
    """Import them now; what has been imported already stays as it is."""
    with _absent(COMPANIONS):
        for name in LOOK_AROUND:
            import_module(name)


@contextmanager
def _absent(packages: tuple[str, ...]) -> Iterator[None]:
    """Inside the block, importing one of `packages` raises ImportError; afterwards all is as before."""
    hidden = [name for name in packages if name not in sys.modules]
    # None in sys.modules is the interpreter's own way of saying "not to be had" (import system, `sys.modules`).
    sys.modules.update(dict.fromkeys(hidden))  # pyright: ignore[reportArgumentType, reportCallIssue]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
