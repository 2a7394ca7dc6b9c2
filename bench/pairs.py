"""The operations, party against party, round by round."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from bench.http_load import Wrong
from bench.operations import OPERATIONS
from bench.rounds import MOST_BUSY_LOAD, Measured, closed_rounds, open_rounds

GROUPS = {
    "token": ["client_credentials", "client_credentials_private_key_jwt", "code", "refresh"],
    "documents": ["discovery", "jwks"],
}


def chosen(only: str) -> list[str]:
    """Names of operations; `only` holds some of them, or groups, separated by commas."""
    names: list[str] = []
    for word in filter(None, only.split(",")):
        names += GROUPS.get(word, [word])
    if unknown := [name for name in names if name not in OPERATIONS]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join([*GROUPS, *OPERATIONS])}")
    return names or list(OPERATIONS)


async def pairs(parties: Sequence[Measured], options: Namespace) -> dict[str, Any]:
    """`{operation: {"closed": …, "open": …}}`, printed as they come; what went wrong is `{"void": …}`."""
    found: dict[str, Any] = {}
    for name in chosen(options.only):
        able = [each for each in parties if name not in each.party.lacks]
        found[name] = await _measured(name, able, options)
        _show(name, found[name])
    return found


async def _measured(name: str, parties: list[Measured], options: Namespace) -> dict[str, Any]:
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


def _show(name: str, found: dict[str, Any]) -> None:
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
                f"  p50 {figures['p50_ms']['median']:.1f} p99 {figures['p99_ms']['median']:.1f} ms"
                f"  load {figures['load_share']['median']:.0%}{busy}",
                flush=True,
            )
        opened = found["open"][party]
        print(
            f"{name:36}{party:15}open at {opened['rate']['median']:.0f}/s:"
            f" p50 {opened['p50_ms']['median']:.1f} p99 {opened['p99_ms']['median']:.1f} ms",
            flush=True,
        )
