"""The health service."""

from __future__ import annotations

import pytest
import trio.testing

from tests.helpers.greeting import serve
from trio_dispatch.grpc import Deadline, GRPCError, Server, Status, check_health, open_call
from trio_dispatch.grpc._generated.grpc.health.v1 import HealthCheckRequest, HealthStub
from trio_dispatch.grpc.health import Health, ServingStatus


async def test_check() -> None:
    health = Health({"a": ServingStatus.NOT_SERVING})
    async with serve(Server([health])) as channel:
        stub = HealthStub(channel)
        assert (await stub.check(HealthCheckRequest())).status is ServingStatus.SERVING
        request = HealthCheckRequest(service="a")
        assert (await stub.check(request)).status is ServingStatus.NOT_SERVING
        with pytest.raises(GRPCError) as caught:
            await stub.check(HealthCheckRequest(service="b"))
        assert caught.value.status is Status.NOT_FOUND


async def test_watch() -> None:
    health = Health()
    async with serve(Server([health])) as channel:
        request = HealthCheckRequest(service="a")
        async with open_call(HealthStub(channel).watch, request) as call:
            for status in (
                ServingStatus.SERVICE_UNKNOWN,
                ServingStatus.SERVING,
                ServingStatus.NOT_SERVING,
            ):
                if status is not ServingStatus.SERVICE_UNKNOWN:
                    health.set("a", status)
                    health.set("a", status)
                reply = await call.recv_message()
                assert reply is not None
                assert reply.status is status
                await trio.testing.wait_all_tasks_blocked()


async def test_asking_for_the_health_says_who_answers() -> None:
    health = Health({"a.Service": ServingStatus.NOT_SERVING})
    async with serve(Server([health])) as channel:
        assert (await check_health(channel)).status is ServingStatus.SERVING
        answer = await check_health(channel, "a.Service", deadline=Deadline.from_timeout(5))
        assert answer.status is ServingStatus.NOT_SERVING
        assert answer.peer.cert() is None
        with pytest.raises(GRPCError) as caught:
            await check_health(channel, "unknown")
        assert caught.value.status is Status.NOT_FOUND
