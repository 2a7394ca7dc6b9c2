"""The tables of docs/reference/performance.md from a result: `python -m bench.table [reference]`."""

import json
import sys
from typing import Any

from services.registry import ROOT

COLUMNS = {
    "espace": "Espace", "former": "Former", "floor": "Floor", "peer_memory": "Peer M", "peer_postgres": "Peer P",
}  # fmt: skip


def lines(result: dict[str, Any]) -> list[str]:
    """Every part that the result holds."""
    shown: list[str] = []
    operations = result.get("pairs") or result.get("operations", {})
    if operations and "void" not in operations:
        for many in _concurrencies(operations):
            shown += ["", f"## {many[1:]} connections", "", *of_pairs(operations, many)]
        shown += ["", "## Open loop", "", *of_latencies(operations)]
        shown += ["", "## Ratios", "", *of_ratios(operations)]
    for part in ("login", "silence", "local_check", "revocation", "caisses", "growth", "footprint"):
        if part in result:
            shown += ["", f"## {part}", "", *of_figures(result[part])]
    return shown


def _concurrencies(operations: dict[str, Any]) -> list[str]:
    for found in operations.values():
        if "closed" in found:
            return list(found["closed"]["espace"])
    return []


def _parties(operations: dict[str, Any]) -> list[str]:
    seen = {party for found in operations.values() for party in found.get("closed", ())}
    return [party for party in COLUMNS if party in seen]


def _grid(head: list[str], rows: list[list[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(row)} |" for row in cells]


def of_pairs(operations: dict[str, Any], many: str) -> list[str]:
    """Server CPU in µs a request, median [lowest–highest], and requests per second."""
    parties = _parties(operations)
    rows: list[list[str]] = []
    for name, found in operations.items():
        if "void" in found:
            rows.append([name, f"void: {found['void'][:80]}", *[""] * len(parties)])
            continue
        by = {party: at[many] for party, at in found["closed"].items()}
        cpu = [_spread(by[party]["cpu_us"], 0) if party in by else "—" for party in parties]
        rate = [f"{by[party]['per_second']['median']:.0f}" if party in by else "—" for party in parties]
        rows.append([name, *cpu, ", ".join(rate)])
    titles = [COLUMNS[party] for party in parties]
    return _grid(["Operation, CPU µs", *titles, f"Requests/s: {', '.join(titles)}"], rows)


def of_latencies(operations: dict[str, Any]) -> list[str]:
    """p50 / p99 in ms at a rate that all can serve."""
    parties = _parties(operations)
    rows = [
        [name, f"{next(iter(found['open'].values()))['rate']['median']:.0f}"]
        + [
            f"{found['open'][party]['p50_ms']['median']:.1f} / {found['open'][party]['p99_ms']['median']:.1f}"
            if party in found["open"]
            else "—"
            for party in parties
        ]
        for name, found in operations.items()
        if "open" in found
    ]
    return _grid(["Operation, ms", "Rate/s", *(COLUMNS[party] for party in parties)], rows)


def of_ratios(operations: dict[str, Any], many: str = "") -> list[str]:
    """CPU over the floor's and over peer M's; requests/s over both peers' (target columns of performance.md)."""
    many = many or next((one for one in _concurrencies(operations) if one == "c8"), "") or "c1"
    rows: list[list[str]] = []
    for name, found in operations.items():
        if "void" in found or many not in found["closed"]["espace"]:
            continue
        by = {party: at[many] for party, at in found["closed"].items()}
        rows.append(
            [name]
            + [_ratio(by, "cpu_us", other) for other in ("floor", "peer_memory")]
            + [_ratio(by, "per_second", other) for other in ("peer_memory", "peer_postgres")]
        )
    head = [f"Espace over, {many}", "Floor CPU", "Peer M CPU", "Peer M requests/s", "Peer P requests/s"]
    return _grid(head, rows)


def _ratio(by: dict[str, Any], figure: str, other: str) -> str:
    if other not in by:
        return "—"
    return f"{by['espace'][figure]['median'] / by[other][figure]['median']:.2f}"


def of_figures(part: dict[str, Any], under: str = "") -> list[str]:
    """Any other part: one figure a line, a spread where there is one."""
    rows: list[list[str]] = []
    _flatten(part, under, rows)
    return _grid(["Figure", "Measured"], rows)


def _flatten(value: Any, name: str, rows: list[list[str]]) -> None:
    if isinstance(value, dict) and "median" not in value:
        for key, below in value.items():
            _flatten(below, f"{name} {key}".strip(), rows)
        return
    rows.append([name.replace("_", " "), _spread(value) if isinstance(value, dict) else str(value)])


def _spread(figure: dict[str, float], digits: int | None = None) -> str:
    def said(value: float) -> str:
        return f"{value:g}" if digits is None else f"{value:.{digits}f}"

    return f"{said(figure['median'])} [{said(figure['low'])}–{said(figure['high'])}]"


if __name__ == "__main__":
    named = sys.argv[1] if len(sys.argv) > 1 else "reference"
    print("\n".join(lines(json.loads((ROOT / "bench" / "results" / f"{named}.json").read_text("utf-8")))))
