"""An answer at a pace leaves when its time has come, and never before. That it tells nothing is measured:
`make bench ARGS='--part silence'`.
"""

import asyncio
import time

import pytest

from libs.common.http.pace import COARSE, even_pace


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


async def test_work_that_took_longer_is_not_kept() -> None:
    async with even_pace(0.01):
        await asyncio.sleep(0.02)
        over = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(60, over.set_result, None)
    assert not over.done()


async def test_the_others_go_on_meanwhile() -> None:
    """The last of the wait gives the loop back at each look."""
    steps = 0

    async def step() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0)

    stepping = asyncio.create_task(step())
    async with even_pace(COARSE / 2):
        pass
    stepping.cancel()
    assert steps > 1
