"""`make bench`: every part, or some (`ARGS='--part pairs --only token'`), with tables and JSON in bench/results/."""

import argparse
import asyncio
import json
import os
import platform
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import peer, table
from bench.caisses import one_against_many, populate
from bench.espace_installation import Installation, Served, installation
from bench.espace_party import espace_party
from bench.footprint import footprint
from bench.growth import grown_costs, table_sizes
from bench.http_load import ask_once
from bench.local_check import local_check
from bench.login import login
from bench.oauth_party import Party
from bench.operations import OPERATIONS
from bench.pairs import chosen, pairs
from bench.processes import LOAD_CORE, SERVER_CORE
from bench.revocation import revocation
from bench.rounds import Measured
from bench.silence import silence
from services.registry import ROOT

WORKER = ["libs.common.runtime.cli", "work", "identity"]
RESULTS = ROOT / "bench" / "results"
QUICK = {"seconds": 0.2, "at_once": "8"}
USUAL = {"seconds": 0.5, "at_once": "1,8,32"}


class Bench:
    """What the parts measure: an installation, its identity under `served`, and whoever it is paired with."""

    def __init__(self, options: argparse.Namespace, inst: Installation, served: Served, party: Party) -> None:
        self.options, self.inst, self.served, self.party = options, inst, served, party
        self.espace = Measured(party, served.pid, inst.postgres_pid)


@asynccontextmanager
async def the_floor(inst: Installation, party: Party, port: int) -> AsyncIterator[Measured]:
    """Bare handlers over the same rows, clients and browser as Espace's."""
    host = f"127.0.0.1:{port}"
    # Espace has made the caisse's RSA keys at its first request: the floor publishes them too.
    await ask_once(party.host, party.get("/jwks"))
    command = ["bench.floor.application", str(port)]
    async with inst.served(command, host, path=f"{party.prefix}/jwks") as served:
        lacks = frozenset({"par_dpop_code", "token_exchange"})
        yield Measured(replace(party, name="floor", host=host, lacks=lacks), served.pid, inst.postgres_pid)


Part = Callable[[Bench, AsyncExitStack], Awaitable[dict[str, Any]]]


async def the_pairs(bench: Bench, stack: AsyncExitStack) -> dict[str, Any]:
    """The same operations of Espace, of the floor, of another checkout and of the peers."""
    options, inst, parties = bench.options, bench.inst, [bench.espace]
    if not options.no_floor:
        floor = await stack.enter_async_context(the_floor(inst, bench.party, options.port + 16))
        parties.append(floor)
    if options.against is not None:
        former = await stack.enter_async_context(inst.beside(4).identity(options.against.resolve()))
        other = await espace_party(inst.beside(4), "former")
        parties.append(Measured(other, former.pid, inst.postgres_pid))
    for place, kind in enumerate(word for word in options.peers.split(",") if word not in ("", "none")):
        await peer.install()
        one = await stack.enter_async_context(
            peer.peer(kind, options.port + 10 + place, inst.folder, inst.postgres)
        )
        parties.append(Measured(one.party, one.pid, inst.postgres_pid if kind == "postgres" else None))
    return await pairs(parties, options)


async def the_footprint(bench: Bench, _: AsyncExitStack) -> dict[str, Any]:
    return await footprint(bench.inst, bench.served, quick=bench.options.quick)


async def the_login(bench: Bench, _: AsyncExitStack) -> dict[str, Any]:
    return await login(bench.inst, bench.espace, rounds=bench.options.rounds, quick=bench.options.quick)


async def the_silence(bench: Bench, _: AsyncExitStack) -> dict[str, Any]:
    return await silence(bench.inst, bench.party.host, quick=bench.options.quick)


async def the_local_check(bench: Bench, _: AsyncExitStack) -> dict[str, Any]:
    return await local_check(bench.inst, bench.party, rounds=bench.options.rounds, quick=bench.options.quick)


async def the_revocation(bench: Bench, _: AsyncExitStack) -> dict[str, Any]:
    return await revocation(bench.inst, bench.espace, times=20 if bench.options.quick else 200)


async def the_caisses(bench: Bench, stack: AsyncExitStack) -> dict[str, Any]:
    options = bench.options
    many, served = await another_installation(bench, stack, "many", 40)
    slugs, took = await populate(many, 100 if options.quick else 1000)
    return await one_against_many(
        bench.inst, bench.served.pid, many, served.pid, slugs, took, rounds=options.rounds, seconds=options.seconds
    )  # fmt: skip


async def the_growth(bench: Bench, stack: AsyncExitStack) -> dict[str, Any]:
    options, rows = bench.options, 40_000 if bench.options.quick else 1_000_000
    large, served = await another_installation(bench, stack, "grown", 40)
    sizes = await table_sizes(large, rows=rows)
    party = await espace_party(large)
    # A fresh one: what the other parts left in the first is not a thousand rows.
    small, serving = await another_installation(bench, stack, "few", 50)
    few = Measured(await espace_party(small), serving.pid, small.postgres_pid)
    costs = await grown_costs(
        (few, small), (Measured(party, served.pid, large.postgres_pid), large),
        rows=rows, rounds=options.rounds, seconds=options.seconds,
    )  # fmt: skip
    return {"table_sizes": sizes, "cost_of_an_operation": costs}


async def another_installation(
    bench: Bench, stack: AsyncExitStack, name: str, offset: int
) -> tuple[Installation, Served]:
    """A database, a NATS and an identity of its own, on the same core."""
    folder = bench.inst.folder / name
    folder.mkdir()
    inst = await stack.enter_async_context(installation(folder, bench.options.port + offset + 1))
    await stack.enter_async_context(inst.started(WORKER))
    return inst, await stack.enter_async_context(inst.identity())


PARTS: dict[str, Part] = {
    "pairs": the_pairs,
    "login": the_login,
    "silence": the_silence,
    "local_check": the_local_check,
    "revocation": the_revocation,
    "caisses": the_caisses,
    "growth": the_growth,
    "footprint": the_footprint,
}
"""In the order they run: the footprint is taken after the load."""


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--part", default="", help=f"among {', '.join(PARTS)}, separated by commas")
    parser.add_argument("--only", default="", help="operations or groups of the pairs, separated by commas")
    parser.add_argument("--quick", action="store_true", help="8 connections and short windows: to steer by")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, help="aimed length of a window")
    parser.add_argument("--at-once", help="connections of the closed loop (1,8,32)")
    parser.add_argument("--peers", default="memory,postgres", help="memory, postgres, or none")
    parser.add_argument("--no-floor", action="store_true", help="leave the bare handlers out of the pairs")
    parser.add_argument("--against", type=Path, help="another checkout of Espace, as the peer of a change")
    parser.add_argument("--port", type=int, default=10100)
    parser.add_argument("--data", type=Path, help="folder of the servers (kept); a fresh one otherwise")
    parser.add_argument("--save", default="last", help="name of the result under bench/results/")
    options = parser.parse_args()
    for name, usual in (QUICK if options.quick else USUAL).items():
        if getattr(options, name) is None:
            setattr(options, name, usual)
    options.parts = parts_asked(options.part, options.only)
    return options


def parts_asked(part: str, only: str) -> list[str]:
    """`only` alone means the pairs."""
    wanted = [word for word in part.split(",") if word] or (["pairs"] if only else list(PARTS))
    if unknown := [word for word in wanted if word not in PARTS]:
        raise SystemExit(f"unknown part: {', '.join(unknown)}; known: {', '.join(PARTS)}")
    chosen(only)
    return [name for name in PARTS if name in wanted]


async def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    os.sched_setaffinity(0, {LOAD_CORE})
    result: dict[str, Any] = {"machine": machine(), "began_at": datetime.now(UTC).isoformat()}
    result["quick"] = options.quick
    async with AsyncExitStack() as stack:
        inst = await stack.enter_async_context(installation(folder, options.port + 1))
        # The worker makes the streams that each identity follows; its own time is nobody's here.
        await stack.enter_async_context(inst.started(WORKER))
        served = await stack.enter_async_context(inst.identity())
        bench = Bench(options, inst, served, await espace_party(inst))
        for name in options.parts:
            print(f"— {name}", flush=True)
            # Each part ends what it started before the next begins.
            async with AsyncExitStack() as own:
                result[name] = await measured_or_void(name, bench, own)
    result["load_average_at_end"] = os.getloadavg()
    result["ended_at"] = datetime.now(UTC).isoformat()
    return result


async def measured_or_void(name: str, bench: Bench, stack: AsyncExitStack) -> dict[str, Any]:
    """What went wrong in one part has no figure, and takes no other part with it."""
    try:
        return await PARTS[name](bench, stack)
    except Exception as error:
        traceback.print_exc()
        return {"void": f"{type(error).__name__}: {error}"[:500]}


def machine() -> dict[str, Any]:
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "cpu": model, "cores": os.cpu_count(), "server_core": SERVER_CORE, "load_core": LOAD_CORE,
        "python": platform.python_version(), "kernel": platform.release(), "commit": commit.stdout.strip(),
        "load_average_at_start": os.getloadavg(),
    }  # fmt: skip


def voided(result: dict[str, Any]) -> list[str]:
    """Parts and operations without a figure."""
    operations: dict[str, Any] = result.get("pairs", {})
    parts = [name for name in PARTS if "void" in result.get(name, {})]
    return parts + [name for name in operations if name in OPERATIONS and "void" in operations[name]]


def main() -> None:
    options = asked()
    folder = options.data or Path(tempfile.mkdtemp(prefix="espace-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        result = asyncio.run(run(options, folder))
    finally:
        if options.data is None:
            shutil.rmtree(folder, ignore_errors=True)
    RESULTS.mkdir(exist_ok=True)
    written = RESULTS / f"{options.save}.json"
    written.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print("\n".join(table.lines(result)))
    print(f"Written: {written.relative_to(ROOT)}")
    if void := voided(result):
        raise SystemExit(f"void: {', '.join(void)}")


if __name__ == "__main__":
    main()
