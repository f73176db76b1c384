"""Watchers without a store: queues, lagging watchers, disconnection."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.service import data, take
from trio_dispatch.api.wire import Event
from trio_dispatch.service import StoreUnavailableError, WatcherTooSlowError
from trio_dispatch.service.store.rows import NOBODY, Change, row_of
from trio_dispatch.service.store.watchers import (
    BATCH_BYTES,
    QUEUE_BYTES,
    READ_TIMEOUT,
    Changes,
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
    return Change(Event.CREATED, 1, 0, NOBODY, row)


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


# Offers.


async def test_an_offer_takes_changes_while_its_task_waits() -> None:
    """A change that the offer does not take is left to the task; the order is kept."""
    watchers: Watchers[Change] = Watchers(limit=10)
    offered: list[int] = []
    woken: list[int] = []

    def offer(batch: Changes[Change]) -> bool:
        if batch[0].row.id == 3:
            return False
        offered.extend(change.row.id for change in batch)
        return True

    async def watch() -> None:
        async for batch in watcher:
            woken.extend(change.row.id for change in batch)

    with watchers.watch(1) as watcher:
        watcher.offer = offer
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await wait_all_tasks_blocked()
            for numbers in ([1], [2], [3, 4], [5]):
                watchers.publish([change(number) for number in numbers], wake=False)
                await watchers.hand_over()
            await wait_all_tasks_blocked()
            # The task had not waited again when 5 came.
            assert (offered, woken) == ([1, 2], [3, 4, 5])
            watchers.publish([change(6)], wake=False)
            await watchers.hand_over()
            assert (offered, woken) == ([1, 2, 6], [3, 4, 5])
            assert watchers.statistics().delivered == 6
            nursery.cancel_scope.cancel()


async def test_watchers_that_take_the_same_changes_share_them() -> None:
    watchers: Watchers[Change] = Watchers(limit=10)
    batches: list[Changes[Change]] = []

    async def watch(watcher: Watcher[Change]) -> None:
        await anext(watcher)

    def offer(batch: Changes[Change]) -> bool:
        batches.append(batch)
        return True

    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                watcher = stack.enter_context(watchers.watch(1))
                watcher.offer = offer
                nursery.start_soon(watch, watcher)
            await wait_all_tasks_blocked()
            for number in range(2):
                watchers.publish([change(number)], wake=False)
                await watchers.hand_over()
            nursery.cancel_scope.cancel()
    assert len(batches) == 6
    assert len({id(batch) for batch in batches}) == 2


async def test_other_tasks_run_while_much_is_handed_over() -> None:
    watchers: Watchers[Change] = Watchers(limit=10)
    ticks = 0
    offered: list[Changes[Change]] = []

    async def tick() -> None:
        nonlocal ticks
        while len(offered) < 1500:
            ticks += 1
            await trio.lowlevel.checkpoint()

    async def watch(watcher: Watcher[Change]) -> None:
        await anext(watcher)

    def offer(batch: Changes[Change]) -> bool:
        offered.append(batch)
        return True

    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            for _ in range(1500):
                watcher = stack.enter_context(watchers.watch(1))
                watcher.offer = offer
                nursery.start_soon(watch, watcher)
            await wait_all_tasks_blocked()
            watchers.publish([change(1)], wake=False)
            nursery.start_soon(tick)
            await watchers.hand_over()
            nursery.cancel_scope.cancel()
    assert ticks >= 2


async def test_a_cancelled_hand_over_wakes_the_tasks() -> None:
    watchers: Watchers[Change] = Watchers(limit=10)
    taken: list[int] = []

    async def watch(watcher: Watcher[Change]) -> None:
        taken.append(len(await anext(watcher)))

    def offer(batch: Changes[Change]) -> bool:
        hand_over.cancel()
        taken.append(len(batch))
        return True

    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            for _ in range(1500):
                watcher = stack.enter_context(watchers.watch(1))
                watcher.offer = offer
                nursery.start_soon(watch, watcher)
            await wait_all_tasks_blocked()
            with trio.CancelScope() as hand_over:
                watchers.publish([change(1)], wake=False)
                await watchers.hand_over()
            assert hand_over.cancelled_caught
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert taken == [1] * 1500


async def test_an_offer_that_fails_leaves_the_changes_to_the_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watchers: Watchers[Change] = Watchers(limit=10)

    def offer(batch: Changes[Change]) -> bool:
        raise ValueError(batch)

    async def watch() -> None:
        assert ids_of([*await anext(watcher)]) == [1]

    with watchers.watch(1) as watcher:
        watcher.offer = offer
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await wait_all_tasks_blocked()
            watchers.publish([change(1)], wake=False)
            await watchers.hand_over()
    assert "cannot take changes" in caplog.text
