"""Virtual time, dispatches for it, and random decisions that repeat."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import trio
import trio.testing
from trio._core import _run as scheduler

from trio_dispatch import Dispatch, Frequency, RecurrenceRule, TargetIds, clock
from trio_dispatch.clock import VIRTUAL_START, run_in_thread
from trio_dispatch.testing import deterministic, make_dispatch, virtual_clock

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
MARCH = datetime(2026, 3, 2, tzinfo=UTC)


async def test_the_clock_can_be_set_to_start_at_a_moment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert virtual_clock().now() == virtual_clock().start == VIRTUAL_START
    await trio.sleep(10)
    wall = virtual_clock(MARCH.astimezone(timezone(HOUR)))
    assert wall is virtual_clock()
    assert wall.now() == wall.start == clock.now() == MARCH
    wall.step(HOUR)
    await trio.sleep(1)
    assert wall.now() == MARCH + HOUR + SECOND
    assert wall.start == MARCH


async def test_advance_does_what_is_due(
    autojump_clock: trio.testing.MockClock,
) -> None:
    done: list[datetime] = []

    async def hourly() -> None:
        while True:
            await clock.sleep_until(clock.now() + HOUR)
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            done.append(clock.now())

    wall = virtual_clock(MARCH)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(hourly)
        await wall.advance(2.5 * HOUR)
        assert done == [MARCH + HOUR] * 3 + [MARCH + 2 * HOUR] * 3
        done.clear()
        # What is due at the moment itself is done as well.
        await wall.advance_to(MARCH + 3 * HOUR)
        assert done == [MARCH + 3 * HOUR] * 3
        assert wall.now() == MARCH + 3 * HOUR
        await wall.advance(timedelta())
        nursery.cancel_scope.cancel()


async def test_tasks_that_wait_for_the_same_moment_wake_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rng = random.Random(1)
    woken: list[float] = []

    async def wait(seconds: float, moment: datetime) -> None:
        await trio.sleep(seconds)
        await clock.sleep_until(moment)
        woken.append(trio.current_time())

    for _ in range(50):
        wall = virtual_clock(MARCH + timedelta(microseconds=rng.randrange(10**12)))
        woken.clear()
        moment = wall.now() + timedelta(microseconds=rng.randrange(1, 10**12))
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                before = rng.random() * (moment - wall.now()).total_seconds()
                nursery.start_soon(wait, before, moment)
            await wall.advance_to(moment)
            assert wall.now() == moment
            assert len(woken) == 20
            assert len(set(woken)) == 1


async def test_advance_does_not_go_back(autojump_clock: trio.testing.MockClock) -> None:
    wall = virtual_clock(MARCH)
    with pytest.raises(ValueError, match=r"2026-03-01 .* is before 2026-03-02 .* `set` or `step`"):
        await wall.advance_to(MARCH - DAY)
    with pytest.raises(ValueError, match="is before"):
        await wall.advance(-SECOND)
    with pytest.raises(ValueError, match="no time zone"):
        await wall.advance_to(datetime(2027, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="no time zone"):
        virtual_clock(datetime(2027, 1, 1))  # noqa: DTZ001
    assert wall.now() == MARCH


async def test_advance_fails_where_time_stands_still(mock_clock: trio.testing.MockClock) -> None:
    with pytest.raises(RuntimeError, match="autojump_threshold=0"):
        await virtual_clock().advance(HOUR)
    mock_clock.autojump_threshold = 0
    await virtual_clock().advance(HOUR)
    assert clock.now() == VIRTUAL_START + HOUR


async def test_advance_waits_for_threads(
    autojump_clock: trio.testing.MockClock,
) -> None:
    at_work, go_on = trio.Event(), trio.Event()

    def work() -> None:
        trio.from_thread.run_sync(at_work.set)
        trio.from_thread.run(go_on.wait)

    async def let_go_on() -> None:
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        assert clock.now() == VIRTUAL_START
        go_on.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_in_thread, work)
        await at_work.wait()
        nursery.start_soon(let_go_on)
        await virtual_clock().advance(HOUR)
        assert go_on.is_set()


async def test_without_a_mock_clock_the_virtual_clock_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"trio\.testing\.MockClock"):
        virtual_clock(MARCH)


async def test_a_dispatch_starts_with_the_clock(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert make_dispatch().start_time == VIRTUAL_START
    virtual_clock(MARCH)
    await trio.sleep(3600)
    assert make_dispatch().start_time == MARCH
    assert make_dispatch().create_time == make_dispatch().update_time == MARCH - DAY


def test_make_dispatch_has_defaults_for_every_field() -> None:
    assert make_dispatch() == Dispatch(
        id=1,
        type="CHARGE",
        start_time=VIRTUAL_START,
        duration=HOUR,
        target=TargetIds(1),
        create_time=VIRTUAL_START - DAY,
        update_time=VIRTUAL_START - DAY,
    )
    assert make_dispatch().running_at(VIRTUAL_START)
    fields: dict[str, Any] = {
        "type": "DISCHARGE",
        "start_time": MARCH,
        "duration": None,
        "target": TargetIds(2, 3),
        "active": False,
        "dry_run": True,
        "payload": {"a": 1},
        "recurrence": RecurrenceRule(Frequency.DAILY),
        "create_time": MARCH - HOUR,
        "update_time": MARCH,
        "end_time": MARCH + HOUR,
        "deleted": True,
    }
    assert make_dispatch(7, **fields) == Dispatch(id=7, **fields)
    with pytest.raises(TypeError, match="power"):
        make_dispatch(power=5)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="start_time"):
        make_dispatch(start_time=datetime(2026, 1, 1))  # noqa: DTZ001


async def turns(tasks: int) -> list[int]:
    order: list[int] = []

    async def take(number: int) -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            order.append(number)
        await trio.sleep(random.uniform(0, 1))
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(tasks):
            nursery.start_soon(take, number)
    return order


def run(seed: int) -> list[int]:
    with deterministic(seed):
        result: list[int] = trio.run(turns, 10, clock=trio.testing.MockClock(autojump_threshold=0))
        return result


def test_the_order_follows_from_the_seed() -> None:
    assert run(1) == run(1) != run(2) == run(2)


def test_deterministic_restores_the_random_state() -> None:
    state = random.getstate(), scheduler._r.getstate()
    flag = scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    with deterministic():
        random.random()
        scheduler._r.random()
        assert scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    assert (random.getstate(), scheduler._r.getstate()) == state
    assert scheduler._ALLOW_DETERMINISTIC_SCHEDULING is flag
    with pytest.raises(ZeroDivisionError), deterministic():
        1 / random.randrange(1)
    assert random.getstate() == state[0]


def test_trio_has_the_internals_that_deterministic_uses() -> None:
    assert isinstance(scheduler._r, random.Random)
    assert isinstance(scheduler._ALLOW_DETERMINISTIC_SCHEDULING, bool)
