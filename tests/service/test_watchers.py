"""Watchers by themselves."""

from __future__ import annotations

import pytest
import trio

from tests.helpers.service import data
from trio_dispatch.api.wire import Event
from trio_dispatch.service import Change, Watchers, WatcherTooSlowError
from trio_dispatch.service.row import row_of


def change(number: int, microgrid_id: int = 1) -> Change:
    row = row_of(microgrid_id, number, data(), created=0, updated=0, born=1, changed=1)
    return Change(Event.CREATED, row)


async def test_each_gets_what_is_its_own_in_order() -> None:
    watchers = Watchers(limit=10)
    with watchers.watch(1) as first, watchers.watch(2) as second, watchers.watch(1) as third:
        for number in range(5):
            watchers.publish(change(number, 1 + number % 2))
        assert [(await anext(first)).row.id for _ in range(3)] == [0, 2, 4]
        assert [(await anext(second)).row.id for _ in range(2)] == [1, 3]
        assert len(third) == 3
        assert watchers.statistics().longest_queue == 3
    assert watchers.statistics().watchers == 0
    watchers.publish(change(9))
    assert watchers.statistics().published == 6


async def test_what_is_one_too_many_cuts_off() -> None:
    watchers = Watchers(limit=3)
    with watchers.watch(1) as slow, watchers.watch(1) as quick:
        for number in range(3):
            watchers.publish(change(number))
            await anext(quick)
        assert watchers.statistics().cut == 0
        watchers.publish(change(3))
        assert watchers.statistics().cut == 1
        watchers.publish(change(4))
        for _ in range(2):
            with pytest.raises(WatcherTooSlowError):
                await anext(slow)
        assert [(await anext(quick)).row.id for _ in range(2)] == [3, 4]


async def test_who_waits_when_it_is_cut_off_is_told() -> None:
    watchers = Watchers(limit=1)

    async def watch() -> None:
        with pytest.raises(WatcherTooSlowError):
            [seen async for seen in watcher]

    with watchers.watch(1) as watcher:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            # It wakes up for the first, and has been cut off by the time it runs.
            for number in range(3):
                watchers.publish(change(number))


async def test_the_end_comes_after_what_waits() -> None:
    watchers = Watchers(limit=10)
    with watchers.watch(1) as watcher:
        watchers.publish(change(1))
        watchers.end_all()
        watchers.publish(change(2))
        assert [seen.row.id async for seen in watcher] == [1]
    with watchers.watch(1) as watcher:
        watchers.publish(change(3))
        assert (await anext(watcher)).row.id == 3
