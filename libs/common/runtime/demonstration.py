"""`espace demonstration prepare`: the bridge between `espace up` and the demonstration's data.

Runs in its own process, so that a Ctrl-C is answered at once whatever is being made; speaks one JSON object a line:
`{"step", "done", "total"}` while it works, `{"demo": {…}}` at the end.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import rich_click as click

from libs.common.runtime.child_process import StartRefused
from libs.common.runtime.settings import Settings, load_settings
from services.registry import NotInstalled, entry_point

Progress = Callable[[str, int, int], None]
"""`progress("Import de mediterranee", 300, 2000)`: what is being made, how much of how much."""

Prepare = Callable[[Settings, Progress], Awaitable[dict[str, Any]]]
"""What `services.demonstration.data:prepare` is: safe to run again after a kill; answers what `demo` shows."""


@click.group(hidden=True)
def demonstration() -> None:
    """Préparer la démonstration."""


@demonstration.command()
def prepare() -> None:
    """Créer les caisses, adhérents, cabinets et clients de la démonstration."""
    try:
        preparing: Prepare = entry_point("services.demonstration.data:prepare")
    except NotInstalled as error:
        raise StartRefused(str(error)) from error

    async def run() -> dict[str, Any]:
        return await preparing(load_settings(), _tell)

    demo = asyncio.run(run())
    _say({"demo": msgspec.to_builtins(demo)})


def _tell(step: str, done: int, total: int) -> None:
    _say({"step": step, "done": done, "total": total})


def _say(line: dict[str, Any]) -> None:
    click.echo(json.dumps(line, ensure_ascii=False))
