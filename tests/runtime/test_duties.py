"""A worker's duties: one that fails is begun again, and the others never hear of it."""

import ast
import asyncio
from pathlib import Path

import pytest

from libs.common.runtime.duties import keep_duties

ROOT = Path(__file__).parents[2]


async def _kept(stop: asyncio.Event, **duties: object) -> None:
    await asyncio.wait_for(keep_duties(duties, stop, first_pause=0.01), 10)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["raises", "returns"])
async def test_a_duty_that_ends_is_begun_again_and_takes_no_sibling_along(how: str) -> None:
    stop, begun, sibling = asyncio.Event(), [0], [0]

    async def ends() -> None:
        begun[0] += 1
        if begun[0] == 3:
            stop.set()
        elif how == "raises":
            raise RuntimeError("one caisse's key does not open")

    async def goes_on() -> None:
        sibling[0] += 1
        await stop.wait()

    await _kept(stop, ends=ends, goes_on=goes_on)
    assert (begun, sibling) == ([3], [1])


async def test_a_stop_is_heard_between_two_beginnings() -> None:
    stop = asyncio.Event()

    async def fails() -> None:
        asyncio.get_running_loop().call_soon(stop.set)
        raise RuntimeError

    await asyncio.wait_for(keep_duties({"fails": fails}, stop, first_pause=60), 5)


async def test_a_cancelled_worker_ends_its_duties() -> None:
    begun, ended = asyncio.Event(), []

    async def goes_on() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    keeping = asyncio.create_task(keep_duties({"goes_on": goes_on}, asyncio.Event()))
    await begun.wait()
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert ended == [True]


def test_no_worker_binds_its_duties_to_each_other() -> None:
    """In a TaskGroup of its own, the first duty that fails ends all others."""
    workers = [*ROOT.glob("services/*/work.py"), *ROOT.glob("services/**/duties.py")]
    assert len(workers) >= 5
    binding = [
        str(path.relative_to(ROOT))
        for path in workers
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("TaskGroup", "gather")
    ]
    assert binding == []
