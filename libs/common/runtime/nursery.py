"""The process that has imported what our servers share, and forks each of them for `espace up`.

Run as `python -m libs.common.runtime.nursery`, orders coming through its standard input. A fork copies everything,
so it holds nothing that must not be copied: one thread, no event loop, no connection, no secret, no setting of
Espace, and no service's own code. Each child is handed to the supervisor as its own, in its own process group, and
runs the very command that a deployment runs.
"""

import gc
import os
import socket
import sys
from importlib import import_module
from signal import Signals

import msgspec
from setproctitle import setproctitle

from libs.common.runtime import cli
from libs.common.runtime.child_process import die_with_parent
from libs.common.runtime.lean_imports import import_lean
from libs.common.runtime.nursery_order import LONGEST_ORDER, Order

SHARED = (
    "libs.common.access.guard",
    "libs.common.access.resource_server",
    "libs.common.access.service_client",
    "libs.common.bus.consumer",
    "libs.common.bus.relay",
    "libs.common.http.application",
    "libs.common.pages.environment",
    "libs.common.runtime.serve",
    "libs.common.runtime.work",
)
"""What several services import; libraries that one of them uses alone are its own business."""


def main() -> None:
    """Import, then fork a child for each order until the supervisor closes its end."""
    supervisor = os.getppid()
    orders = socket.socket(fileno=os.dup(0))
    import_lean()
    for name in SHARED:
        import_module(name)
    # What is imported is never rubbish: left out of collections, its pages stay shared.
    gc.collect()
    gc.freeze()
    while received := _receive(orders):
        order, log = received
        if child := _fork():
            os.close(log)
            orders.send(str(child).encode())
        else:
            orders.close()
            _become(order, log, supervisor)


def _receive(orders: socket.socket) -> tuple[Order, int] | None:
    content, descriptors, _, _ = socket.recv_fds(orders, LONGEST_ORDER, 1)
    return (msgspec.json.decode(content, type=Order), descriptors[0]) if content else None


def _fork() -> int:
    """The child's number, and 0 in the child, which is by then the supervisor's (it asked to adopt orphans)."""
    if len(os.listdir("/proc/self/task")) != 1:
        raise RuntimeError("a process of several threads cannot be forked safely")
    told, tell = os.pipe()
    adopted, adopt = os.pipe()
    between = os.fork()
    if between == 0:
        child = os.fork()
        if child == 0:
            for unused in (told, tell, adopt):
                os.close(unused)
            # Ends when the process between is gone and the nursery has noted it.
            os.read(adopted, 1)
            os.close(adopted)
            return 0
        os.setpgid(child, child)
        os.write(tell, str(child).encode())
        os._exit(0)
    os.close(tell)
    os.close(adopted)
    child = int(os.read(told, 16))
    os.waitpid(between, 0)
    os.close(told)
    os.close(adopt)
    return child


def _become(order: Order, log: int, supervisor: int) -> None:
    """Take the place of the command: its output, folder, environment, name; never returns."""
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    die_with_parent(Signals(order.stop_signal), expected_parent=supervisor)
    os.chdir(order.directory)
    # Before the environment goes: the name is written over the place where it began.
    setproctitle(" ".join([sys.executable, "-m", "libs.common.runtime.cli", *order.arguments]))
    os.environ.clear()
    os.environ.update(order.environment)
    sys.argv = ["espace", *order.arguments]
    cli.main(order.arguments)


if __name__ == "__main__":
    main()
