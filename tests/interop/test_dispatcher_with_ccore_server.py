"""Our dispatcher, and a service made of the official stubs on C-core gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.interop.ccore import KEY, MICROGRID, CCoreService, start_service
from tests.helpers.interop.peers import within
from tests.helpers.interop.silencing import silencing_proxy
from trio_dispatch import (
    Created,
    Deleted,
    Dispatcher,
    LifecycleEvent,
    Receiver,
    RunningState,
    ServiceError,
    SyncPhase,
    Updated,
    open_dispatcher,
)
from trio_dispatch.grpc import Status


@asynccontextmanager
async def dispatcher_of(service: CCoreService) -> AsyncIterator[Dispatcher]:
    """A dispatcher whose stream the service has begun to watch."""
    async with open_dispatcher(
        microgrid_id=MICROGRID, server_url=service.url, key=KEY
    ) as dispatcher:
        await service.ask("until_watched")
        yield dispatcher


async def until_phase(dispatcher: Dispatcher, phase: SyncPhase) -> None:
    await dispatcher.sync_state.wait_value(lambda state: state.phase is phase)


async def until_listed_once_more(dispatcher: Dispatcher, service: CCoreService) -> None:
    """The first event tells that C-core watches, whereupon the dispatcher lists once more."""
    await service.ask("update", id=1, data={"isDryRun": True})
    await service.ask("until_called", method="ListMicrogridDispatches", times=2)
    # The answer to this comes after the list.
    await dispatcher.client.get(MICROGRID, 1)
    await trio.testing.wait_all_tasks_blocked()


def just_now() -> str:
    return datetime.now(UTC).isoformat()


async def next_of(events: Receiver[LifecycleEvent]) -> tuple[type, int]:
    event = await events.receive()
    return type(event), event.dispatch.id


@within(30)
async def test_what_exists_is_known(ccore: CCoreService) -> None:
    await ccore.create(3)
    async with dispatcher_of(ccore) as dispatcher:
        assert list(dispatcher.dispatches) == [3, 2, 1]
        events = dispatcher.lifecycle_events.new_receiver()
        assert [await next_of(events) for _ in range(3)] == [(Created, n) for n in (1, 2, 3)]


@within(30)
async def test_list_of_thousands(ccore: CCoreService) -> None:
    ids = await ccore.create(3000, payload={"a": 1})
    async with dispatcher_of(ccore) as dispatcher:
        assert dispatcher.dispatches.keys() == set(ids)
    calls = await ccore.ask("calls")
    assert sum(call["method"] == "ListMicrogridDispatches" for call in calls) >= 12


@within(30)
async def test_lifecycle(ccore: CCoreService) -> None:
    async with dispatcher_of(ccore) as dispatcher:
        events = dispatcher.lifecycle_events.new_receiver()
        [id_] = await ccore.create(payload={"power": 1})
        created = await events.receive()
        assert created == Created(dispatcher.dispatches[id_])
        assert created.dispatch.payload == {"power": 1.0}

        await ccore.ask("update", id=id_, data={"payload": {"power": 2}})
        updated = await events.receive()
        assert updated == Updated(dispatcher.dispatches[id_])
        assert updated.dispatch.payload == {"power": 2.0}

        await ccore.ask("delete", id=id_)
        deleted = await events.receive()
        assert isinstance(deleted, Deleted)
        assert (deleted.dispatch.id, deleted.dispatch.deleted) == (id_, True)
        assert dispatcher.dispatches == {}


@within(30)
async def test_status_of_what_is_created_updated_and_deleted(ccore: CCoreService) -> None:
    async with dispatcher_of(ccore) as dispatcher:
        statuses = dispatcher.running_status_change.new_receiver(type="CHARGE")
        start = datetime.now(UTC)
        [id_] = await ccore.create(startTime=start.isoformat(), duration=3600)
        status = await statuses.receive()
        assert (status.id, status.running("CHARGE")) == (id_, RunningState.RUNNING)
        assert status.until == start + timedelta(hours=1)
        assert status.running("DISCHARGE") is RunningState.DIFFERENT_TYPE

        await ccore.ask("update", id=id_, data={"payload": {"power": 2}})
        status = await statuses.receive()
        assert status.running("CHARGE") is RunningState.RUNNING
        assert status.payload == {"power": 2.0}

        await ccore.ask("update", id=id_, data={"isActive": False})
        assert (await statuses.receive()).running("CHARGE") is RunningState.STOPPED

        await ccore.ask("update", id=id_, data={"isActive": True})
        assert (await statuses.receive()).running("CHARGE") is RunningState.RUNNING

        await ccore.ask("delete", id=id_)
        status = await statuses.receive()
        assert status.running("CHARGE") is RunningState.STOPPED
        assert status.deleted


@within(30)
async def test_status_by_schedule(ccore: CCoreService) -> None:
    async with dispatcher_of(ccore) as dispatcher:
        statuses = dispatcher.running_status_change.new_receiver()
        start = datetime.now(UTC) + timedelta(seconds=0.5)
        await ccore.create(startTime=start.isoformat(), duration=1)
        status = await statuses.receive()
        assert datetime.now(UTC) >= start
        assert status.running() is RunningState.RUNNING
        status = await statuses.receive()
        assert datetime.now(UTC) >= start + timedelta(seconds=1)
        assert status.running() is RunningState.STOPPED


@within(30)
async def test_burst_reaches_a_reader(ccore: CCoreService) -> None:
    await ccore.create(20)
    async with dispatcher_of(ccore) as dispatcher:
        await until_listed_once_more(dispatcher, ccore)
        events = dispatcher.lifecycle_events.new_receiver(limit=5000)
        for _ in range(20):
            await events.receive()
        await ccore.ask("burst", count=2000)
        serials = [(await events.receive()).dispatch.payload["serial"] for _ in range(2000)]
        assert serials == list(range(2000))


@within(30)
async def test_burst_does_not_wait_for_a_slow_receiver(ccore: CCoreService) -> None:
    """Who is slow and has little room still learns how it all ended.

    The first event of the burst makes the dispatcher list once more, which goes on meanwhile.
    """
    await ccore.create(20, startTime=just_now(), duration=3600)
    async with dispatcher_of(ccore) as dispatcher:
        events = dispatcher.lifecycle_events.new_receiver(limit=5)
        statuses = dispatcher.running_status_change.new_receiver()
        await ccore.ask("burst", count=2000)
        await ccore.ask("end_streams")
        await until_phase(dispatcher, SyncPhase.WAITING)

        last = {id_: 1979 + id_ for id_ in range(1, 21)}
        told = {event.dispatch.id: event.dispatch for event in await events.receive_batch()}
        assert {id_: dispatch.payload["serial"] for id_, dispatch in told.items()} == last
        batch = await statuses.receive_batch()
        assert {status.id: status.payload["serial"] for status in batch} == last
        assert all(status.running() is RunningState.RUNNING for status in batch)


@pytest.mark.long
@within(120)
async def test_twenty_thousand_updates_of_ten_thousand_dispatches(ccore: CCoreService) -> None:
    """Each update arrives, or is merged into a later one, for a reader and a slow receiver."""
    ids = await ccore.create(10_000)
    last = {id_: 10_000 + number for number, id_ in enumerate(ids)}
    async with dispatcher_of(ccore) as dispatcher:
        sleeper = dispatcher.lifecycle_events.new_receiver()
        reader = dispatcher.lifecycle_events.new_receiver()
        seen: dict[int, Any] = {}
        await ccore.ask("burst", count=20_000)
        while seen != last:
            for event in await reader.receive_batch():
                seen[event.dispatch.id] = event.dispatch.payload.get("serial")
        told = {event.dispatch.id: event.dispatch for event in await sleeper.receive_batch()}
        assert {id_: dispatch.payload["serial"] for id_, dispatch in told.items()} == last


@pytest.mark.long
@within(120)
async def test_a_service_that_is_killed_in_the_middle_of_a_burst() -> None:
    """Changes that it had not sent yet are found when it is back."""
    async with start_service() as first:
        ids = await first.create(2_000)
        last = {id_: 18_000 + number for number, id_ in enumerate(ids)}
        async with dispatcher_of(first) as dispatcher:
            events = dispatcher.lifecycle_events.new_receiver()
            seen: dict[int, Any] = {}
            await first.ask("burst", count=20_000)
            while max((serial or 0 for serial in seen.values()), default=0) < 5_000:
                for event in await events.receive_batch():
                    seen[event.dispatch.id] = event.dispatch.payload.get("serial")
            rows = await first.ask("dump")
            await first.kill()
            async with start_service(rows, first.port):
                while seen != last:
                    for event in await events.receive_batch():
                        seen[event.dispatch.id] = event.dispatch.payload.get("serial")


@within(30)
@pytest.mark.parametrize("status", [None, "UNAVAILABLE", "INTERNAL"])
async def test_stream_that_ends(ccore: CCoreService, status: str | None) -> None:
    """Whether the service ends it cleanly or not: another stream is opened, nothing is lost."""
    await ccore.create(2)
    async with dispatcher_of(ccore) as dispatcher:
        events = dispatcher.lifecycle_events.new_receiver()
        assert [await next_of(events) for _ in range(2)] == [(Created, 1), (Created, 2)]
        await ccore.ask("end_streams", status=status)
        await ccore.ask("delete", id=1)
        await ccore.create()
        told = {await next_of(events), await next_of(events)}
        assert told == {(Deleted, 1), (Created, 3)}
        await ccore.ask("until_watched")
        await ccore.ask("update", id=2, data={"isActive": False})
        assert await next_of(events) == (Updated, 2)


@within(45)
async def test_service_that_is_killed_and_comes_back() -> None:
    """The schedule continues; what changed meanwhile is reported when it is back."""
    async with start_service() as first:
        start = datetime.now(UTC) + timedelta(seconds=1.5)
        await first.create(startTime=just_now(), duration=3600)
        await first.create(2)
        await first.create(startTime=start.isoformat(), duration=3600)
        async with dispatcher_of(first) as dispatcher:
            events = dispatcher.lifecycle_events.new_receiver()
            statuses = dispatcher.running_status_change.new_receiver()
            for number in range(1, 5):
                assert await next_of(events) == (Created, number)
            rows = await first.ask("dump")
            await first.kill()
            await until_phase(dispatcher, SyncPhase.WAITING)
            assert isinstance(dispatcher.sync_state.value.error, ServiceError)

            assert (await statuses.receive()).id == 1
            status = await statuses.receive()
            assert (status.id, status.running()) == (4, RunningState.RUNNING)
            assert datetime.now(UTC) >= start

            # Dispatch 1 was deleted, 2 is as it was, 3 was updated, and 5 is new.
            async with start_service(rows[1:], first.port) as second:
                await second.ask("update", id=3, data={"payload": {"new": True}})
                await second.create()
                told = {await next_of(events) for _ in range(3)}
                assert told == {(Deleted, 1), (Updated, 3), (Created, 5)}
                status = await statuses.receive()
                assert (status.id, status.running()) == (1, RunningState.STOPPED)
                await until_phase(dispatcher, SyncPhase.LIVE)
                assert dispatcher.dispatches.keys() == {2, 3, 4, 5}


@within(45)
@pytest.mark.parametrize("change", ["create", "update", "delete"])
async def test_stream_whose_data_a_proxy_swallows_is_noticed(
    ccore: CCoreService, change: str
) -> None:
    await ccore.create(3)
    async with (
        silencing_proxy(ccore.port) as proxy,
        open_dispatcher(
            microgrid_id=MICROGRID,
            server_url=f"grpc://127.0.0.1:{proxy.port}?ssl=false",
            key=KEY,
            probe_interval=timedelta(seconds=0.2),
        ) as dispatcher,
    ):
        events = dispatcher.lifecycle_events.new_receiver()
        await ccore.ask("until_watched")
        await ccore.ask("update", id=1, data={"isDryRun": True})
        assert [await next_of(events) for _ in range(4)] == [
            *((Created, number) for number in (1, 2, 3)),
            (Updated, 1),
        ]
        # The first list, and some probes that agree.
        await ccore.ask("until_called", method="ListMicrogridDispatches", times=4)
        proxy.silence()
        match change:
            case "create":
                await ccore.create()
                expected: tuple[type, int] = (Created, 4)
            case "update":
                await ccore.ask("update", id=2, data={"isActive": False})
                expected = (Updated, 2)
            case _:
                await ccore.ask("delete", id=2)
                expected = (Deleted, 2)
        assert await next_of(events) == expected
        assert proxy.dropped == 1
        # Another stream takes the place of the silent one, and delivers.
        await ccore.ask("until_called", method="StreamMicrogridDispatches", times=2)
        await ccore.ask("update", id=3, data={"isActive": False})
        assert await next_of(events) == (Updated, 3)
        statistics = dispatcher.statistics()
        assert (statistics.stale_streams, statistics.reconnects) == (1, 0)


@within(30)
async def test_deletion_between_two_pages(ccore: CCoreService) -> None:
    """The service pages by offset: the next page skips a row, which nevertheless is found."""
    ids = await ccore.create(300)
    await ccore.ask("delete_after_page", id=ids[-1])
    async with dispatcher_of(ccore) as dispatcher:
        events = dispatcher.lifecycle_events.new_receiver()
        while dispatcher.dispatches.keys() != set(ids[:-1]):
            await events.receive()


@within(30)
@pytest.mark.parametrize("status", ["UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"])
@pytest.mark.parametrize("methods", [["List"], ["Stream"], ["List", "Stream"]], ids=" and ".join)
async def test_refusal(ccore: CCoreService, methods: list[str], status: str) -> None:
    if methods == ["Stream"]:
        # The list must not be there before the refusal.
        await ccore.ask("delay", seconds=0.1)
    for method in methods:
        await ccore.ask("fail", method=f"{method}MicrogridDispatches", status=status)
    with pytest.raises(ServiceError) as caught:
        async with open_dispatcher(microgrid_id=MICROGRID, server_url=ccore.url, key=KEY):
            pytest.fail("the block was entered")
    assert caught.value.status is Status[status]
    assert "microgrid 1" in str(caught.value)


@within(30)
async def test_failure_of_the_first_list_is_tried_again(ccore: CCoreService) -> None:
    await ccore.create(2)
    await ccore.ask("fail", method="ListMicrogridDispatches", status="UNAVAILABLE")
    async with dispatcher_of(ccore) as dispatcher:
        assert len(dispatcher.dispatches) == 2


@within(30)
async def test_service_that_starts_late(nursery: trio.Nursery) -> None:
    async with start_service() as gone:
        await gone.kill()
    known = trio.Event()

    async def follow() -> None:
        async with open_dispatcher(microgrid_id=MICROGRID, server_url=gone.url, key=KEY):
            known.set()

    nursery.start_soon(follow)
    async with start_service(port=gone.port):
        await known.wait()


@within(30)
async def test_leaving_ends_the_stream(ccore: CCoreService) -> None:
    async with dispatcher_of(ccore) as dispatcher:
        events = dispatcher.lifecycle_events.new_receiver()
    with pytest.raises(trio.EndOfChannel):
        await events.receive()
    await ccore.ask("until_watched", by=0)


@within(30)
async def test_several_dispatchers_see_the_same(ccore: CCoreService) -> None:
    open_one = partial(open_dispatcher, microgrid_id=MICROGRID, server_url=ccore.url, key=KEY)
    async with open_one() as one, open_one() as two:
        await ccore.ask("until_watched", by=2)
        await ccore.create(10)
        for dispatcher in (one, two):
            events = dispatcher.lifecycle_events.new_receiver()
            told = {await next_of(events) for _ in range(10)}
            assert told == {(Created, number) for number in range(1, 11)}
        assert one.dispatches == two.dispatches


@within(30)
async def test_service_without_the_api_of_runs_costs_one_line_in_the_log(
    ccore: CCoreService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "trio_dispatch.dispatcher.reports")
    await ccore.create(2, startTime=just_now(), duration=3600)
    async with open_dispatcher(
        MICROGRID, server_url=ccore.url, key=KEY, name="site-7"
    ) as dispatcher:
        await ccore.ask("until_watched")
        status = dispatcher.running_status_change.new_receiver()
        for _ in range(2):
            assert (await status.receive()).running() is RunningState.RUNNING
        for id_ in (1, 2):
            await ccore.ask("delete", id=id_)
            assert (await status.receive()).running() is RunningState.STOPPED
        await trio.sleep(1)
        assert dispatcher.statistics().reports_waiting == 4
        assert dispatcher.sync_state.value.phase is SyncPhase.LIVE
    lines = [record.getMessage() for record in caplog.records]
    [line] = [line for line in lines if "without a cache" not in line]
    assert line.endswith("the service does not take reports of runs; they are kept here")
