"""The wall clock of a Trio run, real and virtual."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
import trio
import trio.testing

from trio_dispatch import clock

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


async def test_with_a_mock_clock_the_wall_clock_is_virtual(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert clock.now() == clock.VIRTUAL_START
    await trio.sleep(3600)
    assert clock.now() == clock.VIRTUAL_START + HOUR


async def test_sleep_until_wakes_exactly_at_the_moment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for hours in (1, 24, 24 * 365):
        moment = clock.VIRTUAL_START + hours * HOUR + timedelta(microseconds=1)
        await clock.sleep_until(moment)
        assert clock.now() == moment
    await clock.sleep_until(clock.VIRTUAL_START)
    assert clock.now() == moment


async def test_the_virtual_clock_can_be_set_and_stepped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    await trio.sleep(10)
    berlin = datetime(2030, 6, 1, 12, tzinfo=timezone(2 * HOUR))
    clock.virtual_clock().set(berlin)
    assert clock.now() == datetime(2030, 6, 1, 10, tzinfo=UTC)
    clock.virtual_clock().step(-HOUR)
    assert clock.now() == datetime(2030, 6, 1, 9, tzinfo=UTC)
    with pytest.raises(ValueError, match="no time zone"):
        clock.virtual_clock().set(datetime(2030, 6, 1))  # noqa: DTZ001


@pytest.mark.parametrize("step", [2 * HOUR, -2 * HOUR])
async def test_sleep_until_follows_a_step_of_the_clock(
    step: timedelta, autojump_clock: trio.testing.MockClock
) -> None:
    moment = clock.VIRTUAL_START + HOUR
    woken_after = -1.0

    async def sleep() -> None:
        nonlocal woken_after
        await clock.sleep_until(moment)
        woken_after = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleep)
        await trio.testing.wait_all_tasks_blocked()
        clock.virtual_clock().step(step)
    assert woken_after == (0 if step > timedelta() else 3 * 3600)


async def test_no_virtual_time_passes_while_threads_work(
    autojump_clock: trio.testing.MockClock,
) -> None:
    threshold = autojump_clock.autojump_threshold
    async with trio.open_nursery() as nursery:
        # This must not wake before the threads are done.
        nursery.start_soon(trio.sleep, 1)
        for _ in range(3):
            nursery.start_soon(clock.run_in_thread, time.sleep, 0.01)
        assert await clock.run_in_thread(lambda: 42) == 42
        assert trio.current_time() == 0
        with pytest.raises(ZeroDivisionError):
            await clock.run_in_thread(divmod, 1, 0)
    assert trio.current_time() == 1
    assert autojump_clock.autojump_threshold == threshold


def test_without_a_mock_clock_the_time_is_the_systems() -> None:
    async def read() -> datetime:
        with pytest.raises(RuntimeError, match="MockClock"):
            clock.virtual_clock()
        assert await clock.run_in_thread(lambda: 1) == 1
        return clock.now()

    before = datetime.now(UTC)
    assert before <= trio.run(read) <= clock.now() <= datetime.now(UTC)


class Reading:
    """A clock that shows what the test sets."""

    def __init__(self) -> None:
        self.value = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.value


def test_a_small_step_back_is_absorbed_and_a_large_one_is_not() -> None:
    reading = Reading()
    start = reading.value
    system = clock.SystemClock(reading)
    reading.value = start - timedelta(seconds=0.9)
    assert system.now() == start
    reading.value = start + SECOND
    assert system.now() == start + SECOND
    reading.value = start
    assert system.now() == start
    reading.value = start - HOUR
    assert system.now() == start - HOUR


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_a_step_of_the_systems_clock_is_noticed_within_a_second(
    step: timedelta, autojump_clock: trio.testing.MockClock
) -> None:
    reading = Reading()
    system = clock.SystemClock(reading)
    moment = reading.value + HOUR / 2
    reading.value += step
    for far_away in (moment, None):
        before = trio.current_time()
        await system.sleep_towards(far_away, trio.CancelScope())
        assert trio.current_time() - before <= 1
    # It does not oversleep a moment that is nearer than that.
    before = trio.current_time()
    await system.sleep_towards(reading.value + SECOND / 4, trio.CancelScope())
    assert trio.current_time() - before == 0.25
