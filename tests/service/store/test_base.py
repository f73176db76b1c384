"""The interface of a store, on both stores."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.service import NOW, OpenStore, data, take
from trio_dispatch import clock
from trio_dispatch.api import wire
from trio_dispatch.api.codec import WIRE, time_from_nanos
from trio_dispatch.api.wire import Event
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.model.target import TargetIds
from trio_dispatch.service import NotFoundError, Store, StoreFullError
from trio_dispatch.service.store.rows import Change

LAST_ID = (1 << 64) - 1


def message(id_: int, **changes: object) -> wire.Dispatch:
    return wire.Dispatch(
        metadata=wire.DispatchMetadata(
            dispatch_id=id_,
            create_time=time_from_nanos(17),
            update_time=time_from_nanos(NOW + 123_456_789),
        ),
        data=data(start_time=time_from_nanos(-1), **changes),
    )


async def test_put_keeps_a_dispatch_exactly(store: Store) -> None:
    sent = message(7)
    sent._unknown_fields = b"\xf8\x3f\x01"
    assert sent.data is not None
    sent.data._unknown_fields = b"\xf8\x3f\x02"
    await store.put(5, sent)
    row = await store.get(5, 7)
    assert row.message == WIRE.encode(sent, wire.Dispatch)
    assert (row.start_time, row.create_time, row.update_time) == (-1, 17, NOW + 123_456_789)
    with pytest.raises(NotFoundError):
        await store.get(1, 7)


async def test_put_takes_a_model_dispatch(store: Store, autojump_clock: MockClock) -> None:
    dispatch = Dispatch(
        id=3,
        type="CHARGE",
        start_time=clock.now() - timedelta(days=1),
        duration=None,
        target=TargetIds(1),
    )
    await store.put(1, dispatch)
    assert (await store.get(1, 3)).type == "CHARGE"


async def test_unknown_fields_survive_an_update(store: Store) -> None:
    content = data()
    content._unknown_fields = b"\xf8\x3f\x02"
    row = await store.create(1, content, now=NOW)

    def edit(old: wire.DispatchData) -> wire.DispatchData:
        old.is_active = False
        return old

    updated = await store.update(1, row.id, edit, now=NOW)
    assert updated.data()._unknown_fields == b"\xf8\x3f\x02"
    assert not updated.active


async def test_put_is_announced_to_watchers(store: Store) -> None:
    async with store.watch(1) as changes:
        await store.put(1, message(7))
        await store.put(1, message(7, is_dry_run=True))
        await store.put(2, message(8))
        await store.delete(1, 7)
        seen = await take(changes, 3)
    assert [(c.event, c.row.dry_run) for c in seen] == [
        (Event.CREATED, False),
        (Event.UPDATED, True),
        (Event.DELETED, True),
    ]


async def test_an_id_belongs_to_one_microgrid(store: Store) -> None:
    await store.put(1, message(7))
    with pytest.raises(ValueError, match="dispatch 7 belongs to microgrid 1"):
        await store.put(2, message(7))
    assert (await store.create(2, data(), now=NOW)).id == 8


async def test_create_fails_when_no_ids_are_left(store: Store) -> None:
    await store.put(LAST_ID, message(LAST_ID))
    assert (await store.get(LAST_ID, LAST_ID)).microgrid_id == LAST_ID
    with pytest.raises(StoreFullError, match="no more ids"):
        await store.create(1, data(), now=NOW)
    await store.delete(LAST_ID, LAST_ID)
    with pytest.raises(StoreFullError, match="no more ids"):
        await store.create(1, data(), now=NOW)


async def test_a_failing_edit_does_not_affect_other_writes(store: Store) -> None:
    row = await store.create(1, data(), now=NOW)

    def fail(old: wire.DispatchData) -> wire.DispatchData:
        raise ZeroDivisionError

    async def update_badly() -> None:
        with pytest.raises(ZeroDivisionError):
            await store.update(1, row.id, fail, now=NOW)

    made = []

    async def create() -> None:
        made.append(await store.create(1, data(), now=NOW))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(update_badly)
            nursery.start_soon(create)
    assert sorted(made_row.id for made_row in made) == list(range(2, 12))
    assert (await store.get(1, row.id)) == row


async def test_concurrent_writes_are_announced_in_order(
    store: Store, autojump_clock: MockClock
) -> None:
    """Acknowledged writes can be read, and watchers receive them in order."""
    seen: list[Change] = []

    async def watch(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with store.watch(1) as changes:
            task_status.started()
            seen.extend([change async for batch in changes for change in batch])

    async def write() -> None:
        row = await store.create(1, data(), now=NOW)
        # Readers see what was acknowledged.
        assert await store.get(1, row.id) == row
        for _ in range(3):
            row = await store.update(1, row.id, lambda old: old, now=NOW)
        if row.id % 2:
            await store.delete(1, row.id)

    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        async with trio.open_nursery() as writers:
            for _ in range(50):
                writers.start_soon(write)
        await wait_all_tasks_blocked()
        store.watchers.end_all()
    assert len(seen) == 50 * 4 + 25
    numbers = [change.row.updated_sequence for change in seen if change.event is not Event.DELETED]
    assert numbers == sorted(numbers)
    for id_ in range(1, 51):
        updates = [
            c.row.update_time for c in seen if c.row.id == id_ and c.event is not Event.DELETED
        ]
        assert updates == [NOW, NOW + 1, NOW + 2, NOW + 3]


async def test_a_cancelled_write_takes_effect_as_a_whole_or_not_at_all(
    store: Store, autojump_clock: MockClock
) -> None:
    async with store.watch(1) as changes:
        for patience in range(4):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def cancel_soon(
                        scope: trio.CancelScope = scope, patience: int = patience
                    ) -> None:
                        for _ in range(patience):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()

                    nursery.start_soon(cancel_soon)
                    await store.create(1, data(), now=NOW)
        last = await store.create(1, data(), now=NOW)
        told: list[int] = []
        while not told or told[-1] != last.id:
            told += [change.row.id for change in await anext(changes)]
    there = []
    for id_ in range(1, last.id + 1):
        with suppress(NotFoundError):
            there.append((await store.get(1, id_)).id)
    assert there == told


async def test_a_store_stays_open_when_its_service_ends(
    open_any_store: OpenStore, autojump_clock: MockClock
) -> None:
    from tests.helpers.service import create, listed, wired

    async with open_any_store() as store:
        for number in range(1, 3):
            async with wired(store) as service, service.client() as client:
                await create(client)
                assert len(await listed(client)) == number
