"""The published language, frozen: one JSON Schema a fact.

`python -m tests.contracts.frozen` writes what is new. It refuses a change that
a reader in production could not bear: a field gone, another type, a new field
without default. Such a change is a new version of the fact.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from libs.common.events.envelope import SERVICES, Event, event_classes

FOLDER = Path(__file__).parent


def contract_of(kind: type[Event]) -> dict[str, Any]:
    return msgspec.json.schema(kind)


def path_of(service: str, tag: str) -> Path:
    return FOLDER / service / f"{tag}.json"


def frozen(service: str, tag: str) -> dict[str, Any] | None:
    path = path_of(service, tag)
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def breaks(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What a reader of `before` would miss or choke on in `after`."""
    faults: list[str] = []
    for name, old in before["$defs"].items():
        new = after["$defs"].get(name)
        if new is None:
            faults.append(f"{name} is gone")
            continue
        faults += [
            f"{name}.{field} is gone or changed"
            for field, shape in old["properties"].items()
            if new["properties"].get(field) != shape
        ]
        faults += [
            f"{name}.{field} is new and has no default"
            for field in new["required"]
            if field not in old["required"]
        ]
    return faults


def main() -> None:
    for service in SERVICES:
        for tag, kind in event_classes(service).items():
            contract = contract_of(kind)
            before = frozen(service, tag)
            if before is not None and (faults := breaks(before, contract)):
                sys.exit(f"{service} {tag}: {'; '.join(faults)}. Give the fact a new version.")
            path = path_of(service, tag)
            path.parent.mkdir(exist_ok=True)
            path.write_text(
                json.dumps(contract, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8"
            )


if __name__ == "__main__":
    main()
