"""`make bench`: every part, or some (`ARGS='--only token'`), with a table here and JSON under `bench/results/`."""

import argparse
import asyncio
import json
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import peer
from bench.espace_installation import Installation, Served, installation
from bench.espace_party import espace_party
from bench.http_load import Wrong
from bench.operations import OPERATIONS
from bench.processes import LOAD_CORE, SERVER_CORE, resident_mb
from bench.rounds import MOST_BUSY_LOAD, Measured, closed_rounds, open_rounds
from services.registry import ROOT

RESULTS = ROOT / "bench" / "results"
GROUPS = {
    "token": ["client_credentials", "client_credentials_private_key_jwt", "code", "refresh"],
    "documents": ["discovery", "jwks"],
}


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--only", default="", help="operations or groups, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.8, help="aimed length of a window")
    parser.add_argument("--at-once", default="1,8,32", help="connections of the closed loop")
    parser.add_argument("--peers", default="memory,postgres", help="memory, postgres, or none")
    parser.add_argument("--against", type=Path, help="another checkout of Espace, as the peer of a change")
    parser.add_argument("--port", type=int, default=10100)
    parser.add_argument("--data", type=Path, help="folder of the servers (kept); a fresh one otherwise")
    parser.add_argument("--save", default="last", help="name of the result under bench/results/")
    return parser.parse_args()


def chosen(only: str) -> list[str]:
    names: list[str] = []
    for word in filter(None, only.split(",")):
        names += GROUPS.get(word, [word])
    if unknown := [name for name in names if name not in OPERATIONS]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join([*GROUPS, *OPERATIONS])}")
    return names or list(OPERATIONS)


async def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    os.sched_setaffinity(0, {LOAD_CORE})
    result: dict[str, Any] = {
        "machine": machine(),
        "began_at": datetime.now(UTC).isoformat(),
        "operations": {},
    }
    async with AsyncExitStack() as stack:
        inst = await stack.enter_async_context(installation(folder, options.port + 1))
        served = await stack.enter_async_context(inst.identity())
        parties = [Measured(await espace_party(inst), served.pid, inst.postgres_pid)]
        if options.against is not None:
            other = inst.beside(4)
            former = await stack.enter_async_context(other.identity(options.against.resolve()))
            parties.append(Measured(await espace_party(other, "former"), former.pid, inst.postgres_pid))
        parties += await peers(options, stack, inst)
        result["cold_start"] = {"identity_ready_s": round(served.ready_s, 2)}
        for name in chosen(options.only):
            result["operations"][name] = found = await measured(name, parties, options)
            show(name, found)
        result["memory"] = memory(inst, served)
    result["load_average_at_end"] = os.getloadavg()
    return result


async def peers(options: argparse.Namespace, stack: AsyncExitStack, inst: Installation) -> list[Measured]:
    running: list[Measured] = []
    for place, kind in enumerate(word for word in options.peers.split(",") if word and word != "none"):
        await peer.install()
        one = await stack.enter_async_context(
            peer.peer(kind, options.port + 10 + place, inst.folder, inst.postgres)
        )
        running.append(Measured(one.party, one.pid, inst.postgres_pid if kind == "postgres" else None))
    return running


async def measured(name: str, parties: list[Measured], options: argparse.Namespace) -> dict[str, Any]:
    """Closed loops, then latency at half of what the slowest gave."""
    prepare = OPERATIONS[name]
    at_once = [int(many) for many in options.at_once.split(",")]
    try:
        closed = await closed_rounds(
            parties, prepare, rounds=options.rounds, seconds=options.seconds, at_once=at_once
        )
        slowest = min(found[f"c{at_once[-1]}"]["per_second"]["median"] for found in closed.values())
        opened = await open_rounds(
            parties, prepare, rounds=options.rounds, seconds=options.seconds, per_second=slowest / 2
        )
    except (Wrong, OSError, TimeoutError) as error:
        return {"void": f"{type(error).__name__}: {error}"[:500]}
    return {"closed": closed, "open": opened}


def show(name: str, found: dict[str, Any]) -> None:
    if "void" in found:
        print(f"{name}: void, {found['void']}", flush=True)
        return
    for party, by in found["closed"].items():
        for many, figures in by.items():
            busy = "  LOAD GENERATOR BUSY" if figures["load_share"]["median"] > MOST_BUSY_LOAD else ""
            cpu = figures["cpu_us"]
            print(
                f"{name:36}{party:15}{many:4}{figures['per_second']['median']:9.0f}/s"
                f"{cpu['median']:8.0f} µs [{cpu['low']:.0f}-{cpu['high']:.0f}]"
                f" + {figures['database_cpu_us']['median']:.0f} µs in PostgreSQL"
                f"  p50 {figures['p50_ms']['median']:.1f} p99 {figures['p99_ms']['median']:.1f} ms{busy}",
                flush=True,
            )
        opened = found["open"][party]
        print(
            f"{name:36}{party:15}open at {opened['rate']['median']:.0f}/s:"
            f" p50 {opened['p50_ms']['median']:.1f} p99 {opened['p99_ms']['median']:.1f} ms",
            flush=True,
        )


def memory(inst: Installation, served: Served) -> dict[str, float]:
    return {
        "identity_mb_after_load": round(resident_mb(served.pid), 1),
        "postgres_mb_after_load": round(resident_mb(inst.postgres_pid), 1),
    }


def machine() -> dict[str, Any]:
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "cpu": model, "cores": os.cpu_count(), "server_core": SERVER_CORE, "load_core": LOAD_CORE,
        "python": platform.python_version(), "kernel": platform.release(), "commit": commit.stdout.strip(),
        "load_average_at_start": os.getloadavg(),
    }  # fmt: skip


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
    print(f"Written: {written.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
