"""Watchers and writers under load: watchers that read miss nothing, and set the pace."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.service import NOW, OpenStore, create, data, take, wired
from trio_dispatch.client.client import DispatchClient
from trio_dispatch.service import Store, open_store
from trio_dispatch.service.store.watchers import READ_TIMEOUT

EVENTS = 600  # more than wait for a watcher


@pytest.fixture(params=["memory", "sqlite"])
def open_any_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Open a store; the one on PostgreSQL lets the same watchers set the pace."""
    path = tmp_path / "dispatches.db" if request.param == "sqlite" else None
    return lambda: open_store(path)


@pytest.mark.parametrize(("watchers", "writers"), [(5, 200), (20, 50)])
async def test_watchers_that_read_are_not_disconnected_by_writers(
    open_any_store: OpenStore, watchers: int, writers: int, autojump_clock: MockClock
) -> None:
    seen: defaultdict[int, list[int]] = defaultdict(list)

    async def watch(
        client: DispatchClient, number: int, *, task_status: trio.TaskStatus[None]
    ) -> None:
        async def read() -> None:
            async for event in events:
                seen[number].append(event.dispatch.id or 0)

        async with client.stream(1) as events, trio.open_nursery() as reading:
            reading.start_soon(read)
            await events.started.wait()
            task_status.started()

    async def write(client: DispatchClient) -> None:
        for _ in range(EVENTS // writers):
            await create(client)

    async with open_any_store() as store, wired(store) as service:
        async with (
            service.client() as watching,
            service.client() as writing,
            trio.open_nursery() as nursery,
        ):
            for number in range(watchers):
                await nursery.start(watch, watching, number)
            async with trio.open_nursery() as busy:
                for _ in range(writers):
                    busy.start_soon(write, writing)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert store.watchers.statistics().disconnected == 0
    assert len(seen) == watchers
    assert all(ids == [*range(1, EVENTS + 1)] for ids in seen.values())


async def test_writers_wait_for_a_watcher_that_lags(
    open_any_store: OpenStore, autojump_clock: MockClock
) -> None:
    """Writers to other microgrids and readers do not."""

    async def write(store: Store, microgrid_id: int) -> None:
        await store.create(microgrid_id, data(), now=NOW)

    async with open_any_store() as store, store.watch(1) as watcher:
        for _ in range(500):
            await write(store, 1)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(write, store, 1)
            await wait_all_tasks_blocked()
            for _ in range(20):
                await write(store, 2)
            assert (await store.get(1, 1)).id == 1
            assert trio.current_time() < READ_TIMEOUT
            assert len(watcher) == 500
            await take(watcher, 500)
        assert len(watcher) == 20
        assert store.watchers.statistics().disconnected == 0


async def test_writers_wait_for_a_stuck_watcher_only_once(
    store: Store, autojump_clock: MockClock
) -> None:
    async with store.watch(1) as watcher:
        began = trio.current_time()
        for _ in range(1000):
            await store.create(1, data(), now=NOW)
        assert trio.current_time() - began == pytest.approx(READ_TIMEOUT)
        assert store.watchers.statistics().watchers == 1
        await store.create(1, data(), now=NOW)
        assert store.watchers.statistics().watchers == 0
        assert watcher.failure is not None


async def test_a_cancelled_writer_that_waits_has_changed_nothing(
    store: Store, autojump_clock: MockClock
) -> None:
    async with store.watch(1) as watcher:
        for _ in range(500):
            await store.create(1, data(), now=NOW)
        with trio.move_on_after(READ_TIMEOUT / 2) as scope:
            await store.create(1, data(), now=NOW)
        assert scope.cancelled_caught
        await take(watcher, 500)
        assert (await store.create(1, data(), now=NOW)).id == 501
        assert len(watcher) == 1
