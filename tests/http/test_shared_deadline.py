"""One timer ends whatever of many tasks is late, and nothing else."""

import asyncio

import pytest

from libs.common.http import deadlines
from libs.common.http.deadlines import SharedDeadline


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "TICK", 0.01)


async def work(deadline: SharedDeadline, until: asyncio.Event) -> str:
    with deadline.of_this_task():
        await until.wait()
    return "done"


async def test_who_is_late_is_told_and_may_go_on() -> None:
    deadline, never = SharedDeadline(0.05), asyncio.Event()

    async def late() -> str:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await work(deadline, never)
        assert asyncio.get_running_loop().time() - began >= 0.05
        await asyncio.sleep(0)  # cancelled no more
        return "told"

    assert await asyncio.gather(*(asyncio.create_task(late()) for _ in range(20))) == ["told"] * 20
    assert not deadline.due


async def test_who_ends_in_time_is_left_alone_and_forgotten() -> None:
    deadline, soon = SharedDeadline(0.05), asyncio.Event()
    tasks = [asyncio.create_task(work(deadline, soon)) for _ in range(3)]
    await asyncio.sleep(0)
    soon.set()
    assert await asyncio.gather(*tasks) == ["done"] * 3
    assert not deadline.due
    await asyncio.sleep(0.1)  # past the deadline: nobody is there to be cancelled
    assert await work(deadline, soon) == "done"


async def test_the_second_wave_is_watched_after_the_first_has_gone() -> None:
    deadline, never = SharedDeadline(0.03), asyncio.Event()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await work(deadline, never)
        await asyncio.sleep(0.05)  # long enough for the timer to find nobody and stop


async def test_somebody_else_s_cancellation_stays_one() -> None:
    deadline, never = SharedDeadline(60), asyncio.Event()
    task = asyncio.create_task(work(deadline, never))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not deadline.due


async def test_cancelled_by_both_it_is_cancelled() -> None:
    deadline, never = SharedDeadline(0.02), asyncio.Event()

    async def stubborn() -> None:
        with deadline.of_this_task():
            try:
                await never.wait()
            finally:
                task.cancel()  # while the deadline's own cancellation is on its way out

    task = asyncio.create_task(stubborn())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_its_own_comes_out_as_it_is() -> None:
    deadline, never = SharedDeadline(0.02), asyncio.Event()

    async def failing() -> None:
        with deadline.of_this_task():
            try:
                await never.wait()
            except asyncio.CancelledError:
                raise RuntimeError("torn") from None

    with pytest.raises(RuntimeError, match="torn"):
        await failing()
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0
