"""The table of docs/reference/performance.md from a result: `python -m bench.table [reference]`."""

import json
import sys
from typing import Any

from services.registry import ROOT

PARTIES = ("espace", "peer_memory", "peer_postgres")


def rows(result: dict[str, Any], many: str = "c8") -> list[str]:
    """CPU per request with its spread, requests per second, and the open loop's p99, party by party."""
    lines = [
        "| Operation | Espace | Peer M | Peer P | Requests/s: E, M, P | Open loop p50 / p99 ms: E, M, P |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in result["operations"].items():
        if "void" in found:
            lines.append(f"| {name} | void: {found['void'][:80]} | | | | |")
            continue
        closed, opened = found["closed"], found["open"]
        there = [party for party in PARTIES if party in closed]
        cpu = [closed[party][many]["cpu_us"] for party in there]
        shown = [f"{one['median']:.0f} [{one['low']:.0f}–{one['high']:.0f}]" for one in cpu]
        rate = ", ".join(f"{closed[party][many]['per_second']['median']:.0f}" for party in there)
        late = ", ".join(
            f"{opened[party]['p50_ms']['median']:.1f} / {opened[party]['p99_ms']['median']:.1f}"
            for party in there
        )
        shown += [""] * (len(PARTIES) - len(shown))
        lines.append(f"| {name} | {' | '.join(shown)} | {rate} | {late} |")
    return lines


if __name__ == "__main__":
    named = sys.argv[1] if len(sys.argv) > 1 else "reference"
    print("\n".join(rows(json.loads((ROOT / "bench" / "results" / f"{named}.json").read_text("utf-8")))))
