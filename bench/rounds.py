"""Interleaved rounds: A B C A B C …, medians with their spread, CPU from the processes' own counters."""

import os
from dataclasses import dataclass
from typing import Any

from bench.figures import spread
from bench.http_load import Prepared, closed_loop, open_loop
from bench.oauth_party import Party
from bench.operations import Prepare
from bench.processes import cpu_us

LARGEST_WINDOW = 12000
"""Requests prepared for one window: bounds time and memory whatever the rate."""

WARMED_FOR = 0.6
"""Seconds of load before anything is counted, for each party and operation."""

MOST_BUSY_LOAD = 0.8
"""Above this share of its core the load generator is what is measured."""


@dataclass(frozen=True)
class Measured:
    """A party and the processes whose time is its own; `database_pid` is what it keeps state in."""

    party: Party
    pid: int
    database_pid: int | None


def own_cpu_us() -> float:
    spent = os.times()
    return (spent.user + spent.system) * 1e6


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def one_window(measured: Measured, prepared: list[Prepared], at_once: int) -> dict[str, float]:
    server, database, load = cpu_us(measured.pid), _database_us(measured), own_cpu_us()
    window = await closed_loop(measured.party.host, prepared, at_once=at_once)
    return {
        "per_second": window.per_second,
        "cpu_us": (cpu_us(measured.pid) - server) / window.requests,
        "database_cpu_us": (_database_us(measured) - database) / window.requests,
        "load_share": (own_cpu_us() - load) / 1e6 / window.seconds,
        "p50_ms": percentile(window.latencies_ms, 0.50),
        "p99_ms": percentile(window.latencies_ms, 0.99),
    }


def _database_us(measured: Measured) -> float:
    return cpu_us(measured.database_pid) if measured.database_pid is not None else 0.0


async def closed_rounds(
    parties: list[Measured], prepare: Prepare, *, rounds: int, seconds: float, at_once: list[int]
) -> dict[str, Any]:
    """`{party: {"c8": {figure: {median, low, high}}}}`; a wrong answer voids the party's part."""
    counts = {each.party.name: await _calibrated(each, prepare, seconds) for each in parties}
    seen: dict[str, dict[str, list[dict[str, float]]]] = {each.party.name: {} for each in parties}
    for turn in range(rounds):
        for many in at_once:
            # Each round begins with another party, so that none always follows the heaviest.
            for each in parties[turn % len(parties) :] + parties[: turn % len(parties)]:
                count = max(many * 4, int(counts[each.party.name] * (0.5 if many == 1 else 1)))
                prepared = await prepare(each.party, count)
                seen[each.party.name].setdefault(f"c{many}", []).append(
                    await one_window(each, prepared, many)
                )
    return {name: {many: _summary(windows) for many, windows in by.items()} for name, by in seen.items()}


async def _calibrated(measured: Measured, prepare: Prepare, seconds: float) -> int:
    """Requests that fill a window, from a first one that also warms caches, connections and compilers.

    Node compiles what it runs often: a peer timed over its first hundred requests would look slower than it is.
    """
    rate = await _rate(measured, await prepare(measured.party, 64))
    warmed = max(64, min(LARGEST_WINDOW, int(rate * WARMED_FOR)))
    rate = await _rate(measured, await prepare(measured.party, warmed))
    return max(32, min(LARGEST_WINDOW, int(rate * seconds)))


async def _rate(measured: Measured, prepared: list[Prepared]) -> float:
    return (await closed_loop(measured.party.host, prepared, at_once=8)).per_second


async def open_rounds(
    parties: list[Measured], prepare: Prepare, *, rounds: int, seconds: float, per_second: float
) -> dict[str, Any]:
    """Latency at the same fixed rate for all."""
    seen: dict[str, list[dict[str, float]]] = {each.party.name: [] for each in parties}
    for _ in range(rounds):
        for each in parties:
            prepared = await prepare(each.party, max(32, int(per_second * seconds)))
            window = await open_loop(each.party.host, prepared, per_second=per_second)
            seen[each.party.name].append(
                {
                    "p50_ms": percentile(window.latencies_ms, 0.5),
                    "p99_ms": percentile(window.latencies_ms, 0.99),
                }
            )
    return {name: {"rate": {"median": per_second}, **_summary(windows)} for name, windows in seen.items()}


def _summary(windows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {name: spread([window[name] for window in windows]) for name in windows[0]}
