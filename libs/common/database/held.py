"""Whether this task holds a connection inside a transaction.

A pool is small: who waits for the outside world with a connection in hand stops
everybody. What speaks to strangers asks here first, so that no way to it is
written inside a transaction and found only under load.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar


class _Held:
    """Shared with the tasks that a transaction's own task starts meanwhile, and true no longer than it lasts."""

    is_open = True


_held: ContextVar[_Held | None] = ContextVar("transaction_held", default=None)


class TransactionIsOpen(RuntimeError):
    """A mistake of ours: the outside is asked before the transaction, or after it."""


@contextmanager
def transaction_held() -> Generator[None, None, None]:
    """The block is one transaction's life."""
    around, mine = _held.get(), _Held()
    _held.set(mine)
    try:
        yield
    finally:
        mine.is_open = False
        _held.set(around)


def refuse_inside_a_transaction() -> None:
    """Raises `TransactionIsOpen`."""
    held = _held.get()
    if held is not None and held.is_open:
        raise TransactionIsOpen
