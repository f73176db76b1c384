"""The test service: what it can be made to do wrong."""

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

from trio_dispatch import Dispatch, Dispatcher, ServiceError, SyncPhase, TargetIds, Updated, clock
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
    """Until the stream has begun, or ended."""
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
    """A client that waits longer than any test does."""
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


async def test_failures_wait_for_their_calls_in_order_and_survive_a_restart(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    service.fail_next("get", Status.INTERNAL, times=2)
    service.fail_next("get", Status.DATA_LOSS)
    await service.restart()
    statuses = [(await failure(lambda: service.client.get(1, 1)))[0] for _ in range(3)]
    assert statuses == [Status.INTERNAL, Status.INTERNAL, Status.DATA_LOSS]
    assert (await service.client.get(1, 1)).id == 1


@pytest.mark.parametrize("method", CALLS)
async def test_a_reply_is_late(
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


async def test_a_delay_without_a_block_lasts(
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


async def test_what_was_asked_for_is_done_although_its_reply_never_comes(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    hasty = DispatchClient(service.channel, key=service.key, call_timeout=timedelta(seconds=10))
    with service.delay("create", seconds=math.inf):
        began = trio.current_time()
        assert (await failure(lambda: create(hasty)))[0] is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - began == pytest.approx(10)
    assert len(await service.dispatches()) == 2


async def test_a_late_list_tells_what_was_there_when_it_was_asked_for(
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


async def test_a_refusal_is_late_too(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    service.delay("get", seconds=3)
    began = trio.current_time()
    service.fail_next("get", Status.INTERNAL)
    await failure(lambda: service.client.get(1, 1))
    await failure(lambda: service.client.get(1, 99))
    assert trio.current_time() - began == pytest.approx(6)


@pytest.mark.parametrize("status", [Status.OK, Status.INTERNAL])
async def test_streams_end_and_the_connection_stays(
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
            "'ListMicrogridDispatches' is none of the methods 'list', 'get', ",
        ),
        (
            lambda service: service.fail_next("DeleteMicrogridDispatch", Status.INTERNAL),
            ", 'delete', 'stream': the client's name of it is 'delete'",
        ),
        (
            lambda service: service.delay("list", "lits", seconds=1),
            "'lits' is none of the methods 'list', 'get', 'create', 'update', 'delete', 'stream'",
        ),
        (lambda service: service.delay(seconds=-1), "seconds -1 is not a number from 0 on"),
        (lambda service: service.delay(seconds=math.nan), "seconds nan is not a number from 0 on"),
        (lambda service: service.fail_next("get", Status.OK), "Status.OK is no failure"),
        (lambda service: service.fail_next("get", "UNAVAILABLE"), "'UNAVAILABLE' is not a"),
        (
            lambda service: service.fail_next("get", Status.INTERNAL, times=0),
            "times 0 is not a number from 1 on",
        ),
        (lambda service: service.end_streams("OK"), "'OK' is not a trio_dispatch.grpc.Status"),
    ],
)
async def test_wrong_use_is_told(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    misuse: Callable[[LocalService], object],
    complaint: str,
) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        misuse(service)
    # Nothing of it has taken hold.
    began = trio.current_time()
    await service.client.get(1, 1)
    await listed(service.client)
    assert trio.current_time() == began


async def come_back(dispatcher: Dispatcher) -> None:
    await dispatcher.sync_state.wait_value(lambda state: state.phase is not SyncPhase.LIVE)
    await dispatcher.sync_state.wait_value(lambda state: state.phase is SyncPhase.LIVE)


@pytest.mark.parametrize("fault", ["ended", "refused", "dropped", "restarted", "hanging"])
async def test_a_dispatcher_comes_through(
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
