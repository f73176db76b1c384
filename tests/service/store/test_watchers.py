"""Watchers without a store: queues, lagging watchers, disconnection."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.service import data, take
from trio_dispatch.api.wire import Event
from trio_dispatch.service import StoreUnavailableError, WatcherTooSlowError
from trio_dispatch.service.store.rows import Change, row_of
from trio_dispatch.service.store.watchers import (
    BATCH_BYTES,
    QUEUE_BYTES,
    READ_TIMEOUT,
    Watcher,
    Watchers,
)


def change(number: int, microgrid_id: int = 1, type: str = "CHARGE") -> Change:
    row = row_of(
        microgrid_id,
        number,
        data(type=type),
        create_time=0,
        update_time=0,
        created_sequence=1,
        updated_sequence=1,
    )
    return Change(Event.CREATED, row)


def ids_of(changes: list[Change]) -> list[int]:
    return [change.row.id for change in changes]


async def test_watchers_receive_the_changes_of_their_microgrid_in_order() -> None:
    watchers = Watchers[Change](limit=10)
    with watchers.watch(1) as first, watchers.watch(2) as second, watchers.watch(1) as third:
        for number in range(5):
            watchers.publish([change(number, 1 + number % 2)])
        assert ids_of(await take(first, 3)) == [0, 2, 4]
        assert ids_of(await take(second, 2)) == [1, 3]
        assert len(third) == 3
        assert watchers.statistics().longest_queue == 3
    assert watchers.statistics().watchers == 0
    watchers.publish([change(9)])
    assert watchers.statistics().published == 6
    assert watchers.statistics().delivered == 5


async def test_changes_that_wait_are_taken_together() -> None:
    watchers = Watchers[Change](limit=100)
    with watchers.watch(1) as watcher:
        for number in range(20):
            watchers.publish([change(number)])
        assert len(await anext(watcher)) == 20


async def test_many_watchers_take_few_changes_at_a_time() -> None:
    """Otherwise the last of them would have its turn late."""
    watchers = Watchers[Change](limit=1000)
    with ExitStack() as stack:
        for _ in range(999):
            stack.enter_context(watchers.watch(2))
        watcher = stack.enter_context(watchers.watch(1))
        watchers.publish([change(number) for number in range(50)])
        assert [len(await anext(watcher)) for _ in range(3)] == [20, 20, 10]


async def test_changes_that_were_taken_are_forgotten() -> None:
    watchers = Watchers[Change](limit=1000)
    with watchers.watch(1) as slow, watchers.watch(1) as quick:
        for number in range(10):
            watchers.publish([change(number)])
            await take(quick, 1)
        assert len(slow.log) == 10
        await take(slow, 10)
        watchers.publish([change(10)])
        assert len(slow.log) == 1


async def test_a_batch_has_a_limited_size() -> None:
    watchers = Watchers[Change](limit=100)
    with watchers.watch(1) as watcher:
        for number in range(20):
            watchers.publish([change(number, type="x" * 10_000)])
        sizes = [len(await anext(watcher)) for _ in range(5)]
    assert sizes == [4] * 5
    assert 3 * 10_000 < BATCH_BYTES < 4 * 10_000


async def test_a_stuck_watcher_with_a_full_queue_is_disconnected(
    autojump_clock: MockClock,
) -> None:
    watchers = Watchers[Change](limit=3)
    with watchers.watch(1) as stuck, watchers.watch(1) as quick:
        for number in range(3):
            watchers.publish([change(number)])
        await trio.sleep(READ_TIMEOUT)
        await take(quick, 3)
        assert watchers.statistics().disconnected == 0
        watchers.publish([change(3)])
        assert watchers.statistics().disconnected == 1
        watchers.publish([change(4)])
        for _ in range(2):
            with pytest.raises(WatcherTooSlowError):
                await anext(stuck)
        assert ids_of(await take(quick, 2)) == [3, 4]


async def test_a_watcher_that_takes_changes_is_never_disconnected(
    autojump_clock: MockClock,
) -> None:
    watchers = Watchers[Change](limit=3)
    with watchers.watch(1) as watcher:
        for number in range(100):
            watchers.publish([change(number)])
        await trio.sleep(READ_TIMEOUT / 2)
        assert ids_of(await take(watcher, 100)) == [*range(100)]
        assert watchers.statistics().disconnected == 0


async def test_the_bytes_that_wait_are_limited(autojump_clock: MockClock) -> None:
    watchers = Watchers[Change](limit=1000)
    large = change(1, type="x" * (QUEUE_BYTES // 4))
    with watchers.watch(1):
        watchers.publish([large])
        assert watchers.patience(1) == 0
        watchers.publish([large])
        assert watchers.patience(1) > 0
        watchers.publish([large])
        await trio.sleep(READ_TIMEOUT)
        assert watchers.statistics().disconnected == 0
        watchers.publish([large])
        assert watchers.statistics().disconnected == 1


async def test_a_waiting_task_is_told_that_its_watcher_was_disconnected() -> None:
    watchers = Watchers[Change](limit=1)
    notified = []

    async def watch() -> None:
        with pytest.raises(StoreUnavailableError):
            [changes async for changes in watcher]

    with watchers.watch(1, on_disconnect=lambda: notified.append(True)) as watcher:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await wait_all_tasks_blocked()
            # It wakes up for the change, and is disconnected before it runs.
            watchers.publish([change(1)])
            watchers.disconnect_all()
            assert notified == [True]


async def test_the_end_comes_after_the_waiting_changes() -> None:
    watchers = Watchers[Change](limit=10)
    with watchers.watch(1) as watcher:
        watchers.publish([change(1)])
        watchers.end_all()
        watchers.publish([change(2)])
        assert [ids_of([*changes]) async for changes in watcher] == [[1]]
    with watchers.watch(1) as watcher:
        watchers.publish([change(3)])
        assert ids_of(await take(watcher, 1)) == [3]


async def test_a_cancelled_iteration_takes_nothing() -> None:
    watchers = Watchers[Change](limit=10)
    with watchers.watch(1) as watcher:
        with trio.move_on_after(0):
            await anext(watcher)
        watchers.publish([change(1)])
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(watcher)
        assert ids_of(await take(watcher, 1)) == [1]


async def test_a_lagging_watcher_is_waited_for(autojump_clock: MockClock) -> None:
    caught_up = []
    watchers = Watchers[Change](10, lambda: caught_up.append(True))
    with watchers.watch(1) as watcher, watchers.watch(1) as quick:
        for number in range(4):
            watchers.publish([change(number)])
        assert watchers.patience(1) == 0
        watchers.publish([change(4)])
        assert watchers.patience(1) == READ_TIMEOUT
        assert watchers.patience(2) == 0
        await trio.sleep(READ_TIMEOUT / 2)
        assert watchers.patience(1) == READ_TIMEOUT / 2
        await take(quick, 5)
        assert watchers.patience(1) == READ_TIMEOUT / 2
        await take(watcher, 5)
        assert watchers.patience(1) == 0
    assert caught_up == [True, True]


async def test_a_watcher_that_takes_nothing_is_not_waited_for(autojump_clock: MockClock) -> None:
    watchers = Watchers[Change](10)
    with watchers.watch(1):
        for number in range(5):
            watchers.publish([change(number)])
        await trio.sleep(READ_TIMEOUT)
        assert watchers.patience(1) <= 0


async def test_a_watcher_that_was_idle_for_long_is_waited_for(autojump_clock: MockClock) -> None:
    watchers = Watchers[Change](10)

    async def watch(watcher: Watcher[Change]) -> None:
        async for _ in watcher:
            await trio.sleep(1)

    with watchers.watch(1) as watcher:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, watcher)
            await trio.sleep(100)
            for number in range(5):
                watchers.publish([change(number)])
            assert watchers.patience(1) == READ_TIMEOUT
            nursery.cancel_scope.cancel()


async def test_a_watcher_that_leaves_is_not_waited_for() -> None:
    caught_up = []
    watchers = Watchers[Change](10, lambda: caught_up.append(True))
    with watchers.watch(1):
        for number in range(5):
            watchers.publish([change(number)])
        assert watchers.patience(1) > 0
    assert watchers.patience(1) == 0
    assert caught_up == [True]
