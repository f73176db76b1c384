"""The calls of the API over real gRPC, on both stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.service import HOUR, OpenStore, create, listed, wired
from trio_dispatch import clock
from trio_dispatch.client.client import DispatchClient
from trio_dispatch.client.errors import ServiceError
from trio_dispatch.grpc import Status
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.model.events import EventKind
from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule
from trio_dispatch.model.target import TargetIds
from trio_dispatch.service import Store
from trio_dispatch.service.store import MemoryStore


async def test_create_get_update_delete(store: Store, autojump_clock: MockClock) -> None:
    async with wired(store) as service, service.client() as client:
        made = await create(client, payload={"power": 5.0, "nested": {"deep": [1, None]}})
        assert made.id == 1
        assert made.create_time == made.update_time == clock.now()
        assert made.end_time == made.start_time + HOUR
        assert await client.get(1, made.id) == made
        await trio.sleep(5)
        changed = await client.update(1, made.id, active=False, duration=None)
        assert (changed.active, changed.duration, changed.end_time) == (False, None, None)
        assert changed.update_time == clock.now()
        assert changed.create_time == made.create_time
        assert changed.payload == made.payload
        assert await client.get(1, made.id) == changed
        await client.delete(1, made.id)
        for call in (
            client.get(1, made.id),
            client.delete(1, made.id),
            client.update(1, made.id, active=True),
        ):
            with pytest.raises(ServiceError, match="microgrid 1 has no dispatch 1") as caught:
                await call
            assert caught.value.status is Status.NOT_FOUND


async def test_a_dispatch_is_not_found_in_another_microgrid(
    store: Store, autojump_clock: MockClock
) -> None:
    async with wired(store) as service, service.client() as client:
        made = await create(client, 1)
        for call in (
            client.get(2, made.id),
            client.delete(2, made.id),
            client.update(2, made.id, active=False),
        ):
            with pytest.raises(ServiceError) as caught:
                await call
            assert caught.value.status is Status.NOT_FOUND
        assert await listed(client, 2) == []
        assert await client.get(1, made.id) == made


async def test_start_immediately_is_cut_to_the_second(autojump_clock: MockClock) -> None:
    async with wired() as service, service.client() as client:
        clock.virtual_clock().set(datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=UTC))
        made = await create(client, start_time="NOW")
        assert made.start_time == datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_an_invalid_request_names_the_field_and_the_rule(autojump_clock: MockClock) -> None:
    async with wired() as service, service.client() as client:
        with pytest.raises(ServiceError, match=r"dispatch_data\.type must not be empty") as caught:
            await create(client, type="")
        assert caught.value.status is Status.INVALID_ARGUMENT
        made = await create(client)
        with pytest.raises(ServiceError, match=r"update\.start_time must not be in the past"):
            await client.update(1, made.id, start_time=clock.now() - HOUR)
        assert await client.get(1, made.id) == made


async def test_end_time_follows_the_recurrence_rule(
    store: Store, autojump_clock: MockClock
) -> None:
    start = datetime(2026, 2, 1, 12, tzinfo=UTC)
    async with wired(store) as service, service.client() as client:
        daily = await create(
            client,
            start_time=start,
            recurrence=RecurrenceRule(Frequency.DAILY, end_criteria=EndCriteria(count=3)),
        )
        assert daily.end_time == start + timedelta(days=2) + HOUR
        endless = await client.update(1, daily.id, recurrence=RecurrenceRule(Frequency.DAILY))
        assert endless.end_time is None
        once = await client.update(1, daily.id, recurrence=None)
        assert once.end_time == start + HOUR
        assert once.recurrence is None


async def test_update_times_grow_even_if_the_clock_stands_still(
    store: Store, autojump_clock: MockClock
) -> None:
    async with wired(store) as service, service.client() as client:
        dispatch = await create(client)
        for active in (False, True, False):
            before, dispatch = dispatch, await client.update(1, dispatch.id, active=active)
            assert dispatch.newer_than(before)
        clock.virtual_clock().step(-HOUR)
        later = await client.update(1, dispatch.id, active=True)
        assert later.newer_than(dispatch)


async def test_every_change_reaches_every_watcher_in_order(
    store: Store, autojump_clock: MockClock
) -> None:
    async with (
        wired(store) as service,
        service.client() as client,
        trio.open_nursery() as nursery,
    ):
        watchers: list[list[tuple[EventKind, int, bool]]] = [[], [], []]
        for microgrid_id, seen in zip((1, 1, 2), watchers, strict=True):
            await nursery.start(_collect, client, microgrid_id, seen)
        first = await create(client)
        second = await create(client)
        await client.update(1, first.id, active=False)
        await client.delete(1, second.id)
        other = await create(client, 2)
        for active in (False, True, False):
            await client.update(2, other.id, active=active)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert watchers[0] == watchers[1]
    assert watchers[0] == [
        (EventKind.CREATED, first.id, True),
        (EventKind.CREATED, second.id, True),
        (EventKind.UPDATED, first.id, False),
        (EventKind.DELETED, second.id, True),
    ]
    assert watchers[2] == [
        (EventKind.CREATED, other.id, True),
        (EventKind.UPDATED, other.id, False),
        (EventKind.UPDATED, other.id, True),
        (EventKind.UPDATED, other.id, False),
    ]
    assert store.watchers.statistics().watchers == 0


async def _collect(
    client: DispatchClient,
    microgrid_id: int,
    seen: list[tuple[EventKind, int, bool]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Watch a microgrid; started when it can miss no further change."""

    async def read() -> None:
        async for event in events:
            assert isinstance(event.dispatch, Dispatch)
            seen.append((event.kind, event.dispatch.id, event.dispatch.active))

    async with client.stream(microgrid_id) as events, trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await events.started.wait()
        task_status.started()


async def test_a_watcher_that_does_not_read_is_disconnected(autojump_clock: MockClock) -> None:
    async with wired() as service, service.client() as client, client.stream(1) as events:
        for _ in range(3000):
            await service.store.put(1, _any())
        assert service.store.watchers.statistics().disconnected == 1
        assert service.store.watchers.statistics().watchers == 0
        with pytest.raises(ServiceError, match="too many changes") as caught:
            [event async for event in events]
        assert caught.value.status is Status.RESOURCE_EXHAUSTED


def _any() -> Dispatch:
    return Dispatch(
        id=1,
        type="CHARGE",
        start_time=clock.now(),
        duration=None,
        target=TargetIds(1),
        payload={"filler": "x" * 1000},
    )


async def test_stop_ends_streams_after_the_waiting_changes(
    autojump_clock: MockClock,
) -> None:
    async with wired() as service, service.client() as client, client.stream(1) as events:
        ended = trio.Event()
        got: list[object] = []

        async def read() -> None:
            got.extend([event async for event in events])
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await events.started.wait()
            for _ in range(5):
                await service.store.put(1, _any())
            service.service.stop(grace=10)
            began = trio.current_time()
            await ended.wait()
        assert trio.current_time() == began
        assert len(got) == 5


async def test_ids_and_dispatches_survive_a_restart(
    open_any_store: OpenStore, autojump_clock: MockClock
) -> None:
    async with open_any_store() as store, wired(store) as service, service.client() as client:
        kept = [await create(client) for _ in range(3)]
        await client.delete(1, 3)
        if isinstance(store, MemoryStore):
            return
    async with open_any_store() as store, wired(store) as service, service.client() as client:
        assert [await client.get(1, id_) for id_ in (1, 2)] == kept[:2]
        assert (await create(client)).id == 4
        await client.delete(1, 4)
    async with open_any_store() as store, wired(store) as service, service.client() as client:
        assert (await create(client)).id == 5
