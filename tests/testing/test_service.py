"""The test service, and the faults that it can be given."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
import trio
import trio.testing

from trio_dispatch import (
    Dispatch,
    Dispatcher,
    DispatchStream,
    ServiceError,
    SyncPhase,
    TargetIds,
    Updated,
    clock,
)
from trio_dispatch.client.client import DispatchClient
from trio_dispatch.clock import VIRTUAL_START as START
from trio_dispatch.grpc import GRPCError, Status
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


async def listed(client: DispatchClient) -> list[int | None]:
    async with aclosing(client.list(1)) as pages:
        return [dispatch.id async for page in pages for dispatch in page.dispatches]


async def create(client: DispatchClient) -> Dispatch:
    return await client.create(
        1, type="CHARGE", start_time=START + HOUR, duration=HOUR, target=TargetIds(1)
    )


async def watch(client: DispatchClient) -> None:
    """Open a stream, and return when it has begun; raise its error if it fails."""
    error: ServiceError | None = None
    async with client.stream(1) as events, trio.open_nursery() as nursery:

        async def look_no_further() -> None:
            await events.started.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(look_no_further)
        try:
            await anext(events)
        except ServiceError as exc:
            error = exc
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error


CALLS: dict[str, Callable[[DispatchClient], Awaitable[Any]]] = {
    "list": listed,
    "get": lambda client: client.get(1, 1),
    "create": create,
    "update": lambda client: client.update(1, 1, active=False),
    "delete": lambda client: client.delete(1, 1),
    "stream": watch,
}


@pytest.fixture
async def service(autojump_clock: trio.testing.MockClock) -> AsyncIterator[LocalService]:
    async with open_test_service() as service:
        await service.put(make_dispatch(1, start_time=START + HOUR))
        yield service


def patient(service: LocalService) -> DispatchClient:
    """A client whose calls do not time out."""
    return DispatchClient(service.channel, key=service.key, call_timeout=timedelta(days=30))


async def failure(call: Callable[[], Awaitable[Any]]) -> tuple[Status | None, str]:
    with pytest.raises(ServiceError) as caught:
        await call()
    cause = caught.value.__cause__
    return caught.value.status, (cause.message or "") if isinstance(cause, GRPCError) else ""


@pytest.mark.parametrize("method", CALLS)
async def test_the_next_call_of_a_method_fails_and_does_nothing(
    autojump_clock: trio.testing.MockClock, service: LocalService, method: str
) -> None:
    before = await service.dispatches()
    service.fail_next(method, Status.RESOURCE_EXHAUSTED, "not today")
    for other, call in CALLS.items():
        if other not in {method, "delete", "create", "update"}:
            await call(service.client)
    assert await failure(lambda: CALLS[method](service.client)) == (
        Status.RESOURCE_EXHAUSTED,
        "not today",
    )
    assert await service.dispatches() == before
    await CALLS[method](service.client)


async def test_failures_apply_in_order_and_survive_a_restart(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    service.fail_next("get", Status.INTERNAL, times=2)
    service.fail_next("get", Status.DATA_LOSS)
    await service.restart()
    statuses = [(await failure(lambda: service.client.get(1, 1)))[0] for _ in range(3)]
    assert statuses == [Status.INTERNAL, Status.INTERNAL, Status.DATA_LOSS]
    assert (await service.client.get(1, 1)).id == 1


@pytest.mark.parametrize("method", CALLS)
async def test_delays_of_one_method_and_of_all_add_up(
    autojump_clock: trio.testing.MockClock, service: LocalService, method: str
) -> None:
    client = patient(service)
    with service.delay(method, seconds=7):
        with service.delay(seconds=2):
            began = trio.current_time()
            await CALLS[method](client)
            assert trio.current_time() - began == pytest.approx(9)
        (other,) = {"get", "list"} - {method} if method in {"get", "list"} else {"list"}
        began = trio.current_time()
        if method != "delete":
            await CALLS[other](client)
        assert trio.current_time() == began
    began = trio.current_time()
    await listed(client)
    assert trio.current_time() == began


async def test_a_delay_without_a_block_lasts_until_it_is_closed(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    late = service.delay("get", seconds=5)
    await service.restart()
    for _ in range(2):
        began = trio.current_time()
        await service.client.get(1, 1)
        assert trio.current_time() - began == pytest.approx(5)
    late.close()
    began = trio.current_time()
    await service.client.get(1, 1)
    assert trio.current_time() == began


async def test_a_request_is_carried_out_although_its_reply_never_comes(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    hasty = DispatchClient(service.channel, key=service.key, call_timeout=timedelta(seconds=10))
    with service.delay("create", seconds=math.inf):
        began = trio.current_time()
        assert (await failure(lambda: create(hasty)))[0] is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - began == pytest.approx(10)
    assert len(await service.dispatches()) == 2


async def test_a_late_list_has_what_was_stored_when_it_was_asked_for(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    lists: list[list[int | None]] = []

    async def ask() -> None:
        lists.append(sorted(await listed(service.client), key=str))

    with service.delay("list", seconds=5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            await create(service.client)
            nursery.start_soon(ask)
    assert lists == [[1], [1, 2]]


async def test_a_failure_is_late_too(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    service.delay("get", seconds=3)
    began = trio.current_time()
    service.fail_next("get", Status.INTERNAL)
    await failure(lambda: service.client.get(1, 1))
    await failure(lambda: service.client.get(1, 99))
    assert trio.current_time() - began == pytest.approx(6)


@pytest.mark.parametrize("status", [Status.OK, Status.INTERNAL])
async def test_end_streams_keeps_the_connections(
    autojump_clock: trio.testing.MockClock, service: LocalService, status: Status
) -> None:
    ended: list[Status | None] = []

    async def watch_on() -> None:
        async with service.client.stream(1) as events:
            try:
                async for _ in events:
                    pass
            except ServiceError as exc:
                ended.append(exc.status)
            else:
                ended.append(Status.OK)

    await service.client.get(1, 1)
    connections = list(service._connections)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(watch_on)
        await trio.testing.wait_all_tasks_blocked()
        assert not ended
        service.end_streams(status)
    assert ended == [status] * 3
    await watch(service.client)
    assert list(service._connections) == connections


class Following:
    """The ids of the changes on a stream, as they come."""

    def __init__(self) -> None:
        self.ids: list[int | None] = []

    async def run(
        self,
        client: DispatchClient,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with client.stream(1) as events, trio.open_nursery() as nursery:
            nursery.start_soon(self._collect, events)
            await events.started.wait()
            task_status.started()

    async def _collect(self, events: DispatchStream) -> None:
        async for event in events:
            self.ids.append(event.dispatch.id)


async def test_a_muted_stream_stays_open_and_delivers_nothing(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    muted, later = Following(), Following()
    async with trio.open_nursery() as nursery:
        await nursery.start(muted.run, service.client)
        await service.put(make_dispatch(2))
        await trio.testing.wait_all_tasks_blocked()
        service.mute_streams()
        await service.put(make_dispatch(3))
        await nursery.start(later.run, service.client)
        await service.put(make_dispatch(4))
        await trio.sleep(3600)
        assert (muted.ids, later.ids) == ([2], [4])
        service.mute_streams(0)
        await service.put(make_dispatch(5))
        await trio.testing.wait_all_tasks_blocked()
        assert (muted.ids, later.ids) == ([2, 5], [4, 5])
        nursery.cancel_scope.cancel()
    assert service.calls["stream"] == 2


async def test_a_stream_can_lose_messages_at_random(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    following = Following()
    async with trio.open_nursery() as nursery:
        await nursery.start(following.run, service.client)
        service.mute_streams(0.5)
        for number in range(100):
            await service.put(make_dispatch(number))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert 20 < len(following.ids) < 80


async def test_lists_without_totals_paged_by_row_number(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service(totals=False, offset_paging=True) as service:
        for number in range(1, 8):
            await service.put(make_dispatch(number, start_time=START + number * HOUR))
        listed: list[int] = []
        by_start = service.client.list(1, sort_by="start_time", descending=False, page_size=3)
        async with aclosing(by_start) as pages:
            async for page in pages:
                assert page.total is None
                listed += [dispatch.id for dispatch in page]
                if 3 in listed[-1:]:
                    # The rows behind the first page move up by one: the fourth is never listed.
                    await service.store.delete(1, 1)
        assert listed == [1, 2, 3, 5, 6, 7]
        async with aclosing(service.client.list(1)) as pages:
            assert [len(page) async for page in pages] == [6]


async def test_many_dispatches_can_be_put_while_a_dispatcher_follows(
    dispatch_service: LocalService, dispatcher: Dispatcher
) -> None:
    for number in range(1500):
        await dispatch_service.put(make_dispatch(number))
    await trio.testing.wait_all_tasks_blocked()
    assert len(dispatcher.dispatches) == 1500
    assert dispatch_service.calls["stream"] == 1


async def test_calls_are_counted(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    assert not service.calls
    service.fail_next("get", Status.INTERNAL)
    await failure(lambda: service.client.get(1, 1))
    for method, call in CALLS.items():
        await call(service.client)
        assert service.calls[method] == (2 if method == "get" else 1)
    service.calls.clear()
    assert service.calls.total() == 7


@pytest.mark.parametrize(
    ("misuse", "complaint"),
    [
        (
            lambda service: service.fail_next("ListMicrogridDispatches", Status.INTERNAL),
            "method 'ListMicrogridDispatches' is not one of 'list', 'get', ",
        ),
        (
            lambda service: service.fail_next("DeleteMicrogridDispatch", Status.INTERNAL),
            "'find_microgrid': the client's name of it is 'delete'",
        ),
        (
            lambda service: service.delay("list", "lits", seconds=1),
            "method 'lits' is not one of 'list', 'get', 'create', 'update', 'delete', 'stream'",
        ),
        (lambda service: service.delay(seconds=-1), "seconds -1 is not a number from 0 on"),
        (lambda service: service.delay(seconds=math.nan), "seconds nan is not a number from 0 on"),
        (lambda service: service.fail_next("get", Status.OK), "Status.OK is not a failure"),
        (lambda service: service.fail_next("get", "UNAVAILABLE"), "'UNAVAILABLE' is not a"),
        (
            lambda service: service.fail_next("get", Status.INTERNAL, times=0),
            "times 0 is not an integer from 1 on",
        ),
        (lambda service: service.mute_streams(1.5), "loss 1.5 is not a number from 0 to 1"),
        (lambda service: service.mute_streams(math.nan), "loss nan is not a number from 0 to 1"),
        (lambda service: service.end_streams("OK"), "'OK' is not a trio_dispatch.grpc.Status"),
    ],
)
async def test_an_invalid_argument_is_rejected_and_changes_nothing(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    misuse: Callable[[LocalService], object],
    complaint: str,
) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        misuse(service)
    began = trio.current_time()
    await service.client.get(1, 1)
    await listed(service.client)
    assert trio.current_time() == began


async def come_back(dispatcher: Dispatcher) -> None:
    await dispatcher.sync_state.wait_value(lambda state: state.phase is not SyncPhase.LIVE)
    await dispatcher.sync_state.wait_value(lambda state: state.phase is SyncPhase.LIVE)


@pytest.mark.parametrize("fault", ["ended", "refused", "dropped", "restarted", "hanging"])
async def test_a_dispatcher_recovers_from_a_fault(
    fault: str, dispatch_service: LocalService, dispatcher: Dispatcher
) -> None:
    service = dispatch_service
    await service.put(make_dispatch(1))
    events = dispatcher.lifecycle_events.new_receiver()
    await events.receive_batch()
    before = service.calls
    assert before["stream"] == 1
    match fault:
        case "ended":
            service.end_streams()
        case "refused":
            service.fail_next("stream", Status.UNAVAILABLE, times=2)
            service.fail_next("list", Status.UNAVAILABLE, times=3)
            service.end_streams(Status.OK)
        case "dropped":
            await service.drop_connections()
        case "restarted":
            await service.restart()
        case "hanging":
            service.delay("list", seconds=math.inf)
    if fault != "hanging":
        await come_back(dispatcher)
        assert service.calls["stream"] == (4 if fault == "refused" else 2)
        assert service.calls["list"] - before["list"] >= (4 if fault == "refused" else 1)
    await trio.sleep(1000)
    assert service.calls["list"] - before["list"] >= 3
    changed = make_dispatch(1, payload={"power_kw": 5}, update_time=clock.now())
    await service.put(changed)
    assert await events.receive() == Updated(changed)
