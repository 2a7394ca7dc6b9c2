"""Where the time goes: py-spy on identity under one operation's load (`python -m bench.profile introspection`)."""

import asyncio
import collections
import os
import sys
import tempfile
from pathlib import Path

from bench.espace_installation import installation
from bench.espace_party import espace_party
from bench.http_load import closed_loop
from bench.operations import OPERATIONS
from bench.processes import LOAD_CORE
from services.registry import ROOT

SECONDS = 6


async def profiled(operation: str, port: int) -> Path:
    """Folded stacks of the process while the operation runs at 8 connections."""
    os.sched_setaffinity(0, {LOAD_CORE})
    written = Path(tempfile.gettempdir()) / f"{operation}.folded"
    with tempfile.TemporaryDirectory(prefix="espace-profile-") as name:
        async with installation(Path(name), port) as inst, inst.identity() as served:
            party = await espace_party(inst)
            prepare = OPERATIONS[operation]
            await closed_loop(party.host, await prepare(party, 200), at_once=8)
            spy = await asyncio.create_subprocess_exec(
                str(ROOT / ".venv" / "bin" / "py-spy"), "record", "--pid", str(served.pid), "--rate", "250",
                "--duration", str(SECONDS), "--format", "raw", "--output", str(written), "--function", "--gil",
                stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            while spy.returncode is None:
                await closed_loop(party.host, await prepare(party, 300), at_once=8)
            await spy.wait()
    return written


def report(folded: Path) -> None:
    """The thirty functions with most time in themselves, and the sixty with most below them."""
    own, below = collections.Counter[str](), collections.Counter[str]()
    for line in folded.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        for frame in set(frames):
            below[frame] += int(count)
    total = sum(own.values())
    for title, counted, most in (("itself", own, 30), ("with all it calls", below, 60)):
        print(f"— {title}")
        for frame, count in counted.most_common(most):
            print(f"{count / total:6.1%}  {frame}")


if __name__ == "__main__":
    report(asyncio.run(profiled(sys.argv[1], 10161)))
