"""An answer at a pace leaves when its time has come, and never before. That it tells nothing is measured:
`make bench ARGS='--part silence'`.
"""

import asyncio
import time

import pytest

from libs.common.http.pace import even_pace, even_refusal


@pytest.mark.parametrize("work", [0.0, 0.0103, 0.0307])
async def test_work_of_any_length_leaves_when_its_time_has_come(work: float) -> None:
    began = time.monotonic()
    async with even_pace(0.05):
        await asyncio.sleep(work)
    assert time.monotonic() - began >= 0.05


async def test_work_that_fails_leaves_no_sooner() -> None:
    began = time.monotonic()
    with pytest.raises(LookupError):
        async with even_pace(0.05):
            raise LookupError
    assert time.monotonic() - began >= 0.05


async def test_work_that_took_longer_leaves_at_a_later_beat() -> None:
    began = time.monotonic()
    async with even_pace(0.05):
        await asyncio.sleep(0.07)
    assert time.monotonic() - began >= 0.1


async def test_a_refusal_waits_for_its_beat_and_what_ends_well_for_nothing() -> None:
    began = time.monotonic()
    with pytest.raises(LookupError):
        async with even_refusal(0.05):
            raise LookupError
    assert time.monotonic() - began >= 0.05

    async with asyncio.timeout(10), even_refusal(60):
        pass


async def test_whoever_entered_first_leaves_first_however_long_their_work() -> None:
    """Else the order in which answers to requests of one instant leave tells whose work was longer."""
    left: list[str] = []

    async def visit(name: str, work: float) -> None:
        async with even_pace(0.1):
            await asyncio.sleep(work)
        left.append(name)

    names = [f"{number}" for number in range(20)]
    async with asyncio.TaskGroup() as together:
        for number, name in enumerate(names):
            together.create_task(visit(name, 0.05 if number % 2 else 0.0))
    assert left == names


async def test_whoever_is_cancelled_waits_for_nothing() -> None:
    async def visit() -> None:
        async with even_pace(60):
            await asyncio.sleep(60)

    task = asyncio.create_task(visit())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
