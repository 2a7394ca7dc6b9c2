"""Several jobs of one command, each in a process of its own; none outlives another."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from libs.common.runtime.child_process import die_with_parent

ENDINGS = (signal.SIGTERM, signal.SIGINT)


def end_when_told() -> None:
    """From now on SIGTERM and SIGINT end this process well, wherever it stands."""
    for how in ENDINGS:
        signal.signal(how, _end)


def side_by_side(jobs: Sequence[Callable[[], None]], *, patience: float) -> None:
    """Fork a process for each of `jobs`, and end when one of them does, or when told (`end_when_told`).

    One that ends takes the others along, `patience` seconds after a SIGTERM at the latest: whoever supervises us
    starts all of them again, and never counts on one that is missing.
    """
    parent = os.getpid()
    children: set[int] = set()
    try:
        for job in jobs:
            # Told to end between the fork and its noting, neither would know whose the child is.
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
            child = os.fork()
            if child == 0:
                children.clear()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
                die_with_parent(expected_parent=parent)
                job()
                sys.exit(0)
            children.add(child)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
        ended, status = os.wait()
        children.discard(ended)
        sys.exit(os.waitstatus_to_exitcode(status) or 1)
    finally:
        _end_all(children, patience)


def _end(*_: object) -> None:
    sys.exit(0)


def _end_all(children: set[int], patience: float) -> None:
    for how, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5)):
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, how)
        give_up = time.monotonic() + seconds
        while children and time.monotonic() < give_up:
            ended = {child for child in children if os.waitpid(child, os.WNOHANG)[0]}
            children -= ended
            time.sleep(0 if ended else 0.02)
