"""Observers, log and metrics of calls; health checks at the end."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.service import Wired, create
from tests.helpers.services import DispatchServiceStub
from trio_dispatch.api import wire
from trio_dispatch.client.errors import ServiceError
from trio_dispatch.grpc import GRPCError, Status
from trio_dispatch.grpc._generated.grpc.health.v1 import (
    HealthBase,
    HealthCheckRequest,
    HealthCheckResponse,
    HealthStub,
)
from trio_dispatch.grpc.health import Health, ServingStatus
from trio_dispatch.service import FinishedCall, Key, Keys, log_call, observing, open_service
from trio_dispatch.service.metrics import Metrics

HEALTH = "grpc.health.v1.Health/Check"
GET = "frequenz.api.dispatch.v1.MicrogridDispatchService/GetMicrogridDispatch"


class Odd(HealthBase):
    """A health service that takes the name of the service as an instruction."""

    async def check(self, message: HealthCheckRequest) -> HealthCheckResponse:
        match message.service:
            case "fail":
                raise ZeroDivisionError
            case "refuse in a group":
                raise ExceptionGroup("", [GRPCError(Status.ABORTED)])
        await trio.sleep(5)
        return HealthCheckResponse()


async def test_observers_see_how_each_call_ended(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[FinishedCall] = []
    keys = Keys([Key("k", name="somebody")])
    async with (
        open_service(keys=keys, services=[Odd()], interceptors=[observing(seen.append)]) as service,
        trio.open_nursery() as nursery,
    ):
        wired = Wired(service, nursery)
        async with wired.client() as client, wired.client("wrong") as stranger:
            await create(client)
            for call in (client.get(1, 99), stranger.get(1, 1)):
                with pytest.raises(ServiceError):
                    await call
        async with wired.wire_channel() as channel:
            stub = HealthStub(channel)
            await stub.check(HealthCheckRequest())
            for name in ("fail", "refuse in a group"):
                with pytest.raises(GRPCError):
                    await stub.check(HealthCheckRequest(name))
            with pytest.raises(GRPCError):
                await stub.check(HealthCheckRequest(), timeout=1)
            async with trio.open_nursery() as calls:
                calls.start_soon(stub.check, HealthCheckRequest())
                await trio.sleep(2)
                calls.cancel_scope.cancel()
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    told = [(call.method.rpartition("/")[2], call.status, call.caller) for call in seen]
    assert told == [
        ("CreateMicrogridDispatch", Status.OK, "somebody"),
        ("GetMicrogridDispatch", Status.NOT_FOUND, "somebody"),
        ("GetMicrogridDispatch", Status.UNAUTHENTICATED, None),
        ("Check", Status.OK, None),
        ("Check", Status.UNKNOWN, None),
        ("Check", Status.ABORTED, None),
        ("Check", Status.DEADLINE_EXCEEDED, None),
        ("Check", Status.CANCELLED, None),
    ]
    written = [(call.microgrid_id, call.dispatch_id, call.type) for call in seen]
    assert written == [(1, 1, "CHARGE"), *[(None, None, None)] * 7]
    assert [round(call.duration) for call in seen] == [0, 0, 0, 5, 0, 0, 1, 2]


@pytest.mark.parametrize(
    ("method", "status", "level"),
    [
        (GET, Status.OK, logging.DEBUG),
        (HEALTH, Status.CANCELLED, logging.DEBUG),
        (GET, Status.NOT_FOUND, logging.INFO),
        (GET, Status.UNAUTHENTICATED, logging.DEBUG),
        (GET.replace("Get", "Create"), Status.OK, logging.INFO),
        (GET.replace("Get", "Update"), Status.OK, logging.INFO),
        (GET.replace("Get", "Delete"), Status.OK, logging.INFO),
        (GET, Status.UNAVAILABLE, logging.WARNING),
        (GET, Status.UNKNOWN, logging.WARNING),
        (GET, Status.DATA_LOSS, logging.WARNING),
    ],
)
def test_log_levels_follow_the_status(
    method: str, status: Status, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_dispatch")
    log_call(FinishedCall(method, status, 0.5, "192.0.2.1:5", "somebody"))
    [record] = caplog.records
    assert record.levelno == level
    assert record.getMessage() == f"{method.rpartition('/')[2]} {status.name}"
    assert vars(record)["caller"] == "somebody"


async def test_stop_announces_not_serving_and_ends_health_watches(
    autojump_clock: MockClock,
) -> None:
    health = Health({"dispatch": ServingStatus.SERVING})
    seen: list[ServingStatus] = []
    async with open_service(services=[health]) as service, trio.open_nursery() as nursery:
        wired = Wired(service, nursery)
        async with wired.wire_channel() as channel, trio.open_nursery() as watching:

            async def watch(name: str) -> None:
                async for response in HealthStub(channel).watch(HealthCheckRequest(name)):
                    seen.append(ServingStatus(response.status))  # noqa: PERF401 - one by one

            for name in ("", "dispatch", "unknown"):
                watching.start_soon(watch, name)
            await wait_all_tasks_blocked()
            assert sorted(seen) == [1, 1, 3]
            began = trio.current_time()
            health.shut_down()
            service.stop(grace=30)
        assert sorted(seen) == [1, 1, 2, 2, 3]
        assert trio.current_time() == began


async def test_metrics_count_calls_and_changes(autojump_clock: MockClock) -> None:
    metrics = Metrics()
    async with (
        open_service(interceptors=[observing(metrics.observe_call)]) as service,
        trio.open_nursery() as nursery,
    ):
        metrics.watch(service)
        wired = Wired(service, nursery)
        async with wired.client() as client, wired.wire_channel() as channel:
            for _ in range(3):
                await create(client)
            await DispatchServiceStub(channel).list_microgrid_dispatches(
                wire.ListMicrogridDispatchesRequest(microgrid_id=1), metadata={"key": "k"}
            )
            metrics.observe_commit(7, 0.25)
            lines = (await metrics.text()).decode().splitlines()
        nursery.cancel_scope.cancel()
    for line in (
        'dispatch_calls_total{method="CreateMicrogridDispatch",status="OK"} 3.0',
        'dispatch_calls_total{method="ListMicrogridDispatches",status="OK"} 1.0',
        'dispatch_call_seconds_count{method="CreateMicrogridDispatch"} 3.0',
        "dispatch_store_commit_calls_sum 7.0",
        "dispatch_store_commit_seconds_sum 0.25",
        "dispatch_connections 2.0",
        "dispatch_changes_total 3.0",
        "dispatch_watchers 0.0",
    ):
        assert line in lines
