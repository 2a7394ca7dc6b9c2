"""Several jobs of one command, each in a process of its own; on Linux none outlives another."""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from setproctitle import getproctitle, setproctitle

from libs.common.runtime.child_process import die_with_parent

ENDINGS = (signal.SIGTERM, signal.SIGINT)


_told: set[int] = set()


def end_when_told() -> None:
    """From now on SIGTERM and SIGINT end this process well, wherever it stands.

    Where nothing can be raised (a finalizer, some of what an import runs) the interpreter forgets what was: whoever
    hears of endings in another way asks `was_told` once that way is open.
    """
    for how in ENDINGS:
        signal.signal(how, _end)


def was_told() -> bool:
    """Whether this process has been told to end since `end_when_told`."""
    return bool(_told)


def side_by_side(jobs: Mapping[str, Callable[[], None]], *, patience: float) -> None:
    """Fork a process for each of `jobs`, by the name that `ps` gives it, and end when one of them does, or when told
    (`end_when_told`).

    One that ends takes the others along, `patience` seconds after a SIGTERM at the latest: whoever supervises us
    starts all of them again, and never counts on one that is missing.
    """
    # Whoever launched us may have been deaf to its children, and that outlives exec (signal(7)): wait(2) would then
    # tell us of the last end instead of the first.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    parent, title = os.getpid(), getproctitle()
    children: dict[int, str] = {}
    try:
        for name, job in jobs.items():
            # Told to end between the fork and its noting, neither would know whose the child is.
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
            child = os.fork()
            if child == 0:
                children.clear()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
                die_with_parent(expected_parent=parent)
                setproctitle(f"{title} ({name})")
                job()
                sys.exit(0)
            children[child] = name
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
        code = _first_to_end(children)
        sys.exit(code or 1)
    finally:
        # Told again, we are ending already: nothing may keep us from seeing to the end of the others.
        for how in ENDINGS:
            signal.signal(how, signal.SIG_IGN)
        _end_all(set(children), patience)


def _first_to_end(children: dict[int, str]) -> int:
    """The exit code of the first of `children`, which it no longer is one of; minus the signal's number when killed.

    The first process of a container is given the orphans of others, too: their ends are none of our business.
    """
    while True:
        ended, status = os.wait()
        if (name := children.pop(ended, None)) is not None:
            code = os.waitstatus_to_exitcode(status)
            # Imported when something has ended: whoever only starts a server is spared it.
            from structlog import get_logger

            get_logger().error("process.ended", process=name, pid=ended, exit_code=code)
            return code


def _end(how: int, _: object) -> None:
    _told.add(how)
    sys.exit(0)


def _end_all(children: set[int], patience: float) -> None:
    for how, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5)):
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, how)
        give_up = time.monotonic() + seconds
        while children and time.monotonic() < give_up:
            ended = {child for child in children if _has_ended(child)}
            children -= ended
            time.sleep(0 if ended else 0.02)


def _has_ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] != 0
    except ChildProcessError:
        # Its end was taken when we were told of ours.
        return True
