"""The server: handlers, interceptors, stopping."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.greeting import Greeter, memory_connector, serve
from trio_dispatch.grpc import (
    Cardinality,
    Channel,
    GRPCError,
    Server,
    ServerStream,
    Status,
    current_call,
    open_channel,
)

HELLO = ("/greeter.v1.Greeter/SayHello", Cardinality.UNARY_UNARY, HelloRequest, HelloReply)
HELLOS = ("/greeter.v1.Greeter/SayHellos", Cardinality.UNARY_STREAM, HelloRequest, HelloReply)


async def test_metadata_both_ways() -> None:
    class Echo(Greeter):
        async def say_hello(self, message: HelloRequest) -> HelloReply:
            call = current_call()
            assert call.metadata is not None
            await call.send_initial_metadata(metadata=call.metadata)
            await call.send_message(HelloReply(message=str(call.method_name)))
            end: dict[str, str | bytes] = {"end-bin": b"\xff\x00", "end": "x y"}
            await call.send_trailing_metadata(metadata=end)
            return HelloReply()

    metadata: list[tuple[str, str | bytes]] = [
        ("key", "a"),
        ("key", "b"),
        ("some-bin", b"\x00\xff"),
        ("e-bin", b""),
    ]
    async with serve(Server([Echo()])) as channel:  # noqa: SIM117
        async with channel.request(*HELLO, metadata=metadata) as call:
            await call.send_message(HelloRequest())
            await call.recv_initial_metadata()
            assert call.initial_metadata is not None
            assert list(call.initial_metadata.items()) == metadata
            reply = await call.recv_message()
            assert reply == HelloReply(message=HELLO[0])
            assert call.trailing_metadata is not None
            assert dict(call.trailing_metadata) == {"end-bin": b"\xff\x00", "end": "x y"}


async def test_the_details_of_an_exception_are_not_sent(
    channel: Channel,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def other() -> None:
            await GreeterStub(channel).say_hello(HelloRequest(name="sleep:0.01"))

        with pytest.raises(GRPCError) as caught:
            await GreeterStub(channel).say_hello(HelloRequest(name="raise"))
    assert caught.value.status is Status.UNKNOWN
    assert "secret" not in str(caught.value)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name.startswith("trio_dispatch.grpc")
    assert record.exc_info is not None
    assert "a secret" in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ExceptionGroup("", [GRPCError(Status.NOT_FOUND)]), Status.NOT_FOUND),
        (
            ExceptionGroup("", [ExceptionGroup("", [GRPCError(Status.NOT_FOUND)])]),
            Status.NOT_FOUND,
        ),
        (ExceptionGroup("", [GRPCError(Status.NOT_FOUND), ValueError()]), Status.UNKNOWN),
        (ValueError(), Status.UNKNOWN),
    ],
)
async def test_groups_of_exceptions(error: Exception, status: Status) -> None:
    class Failing(Greeter):
        async def say_hello(self, message: HelloRequest) -> HelloReply:
            raise error

    async with serve(Server([Failing()])) as channel:
        with pytest.raises(GRPCError) as caught:
            await GreeterStub(channel).say_hello(HelloRequest())
        assert caught.value.status is status


async def test_status_details_without_a_codec_are_bytes() -> None:
    class Failing(Greeter):
        async def say_hello(self, message: HelloRequest) -> HelloReply:
            raise GRPCError(Status.ABORTED, "grüße, 100 %\n", b"\x08\x0a\xff")

    async with serve(Server([Failing()])) as channel:
        with pytest.raises(GRPCError) as caught:
            await GreeterStub(channel).say_hello(HelloRequest())
        assert caught.value.message == "grüße, 100 %\n"
        assert caught.value.details == b"\x08\x0a\xff"


async def test_unknown_method(channel: Channel) -> None:
    with pytest.raises(GRPCError, match="unknown method /x/Y") as caught:  # noqa: PT012
        async with channel.request("/x/Y", *HELLO[1:]) as call:
            await call.send_message(HelloRequest())
            await call.recv_message()
    assert caught.value.status is Status.UNIMPLEMENTED


async def test_a_method_that_is_not_overridden_is_unimplemented() -> None:
    from tests.helpers.greeter import GreeterBase

    class Lazy(GreeterBase):
        async def say_hellos(self, message):  # type: ignore[no-untyped-def, override]
            raise GRPCError(Status.UNAUTHENTICATED)

    async with serve(Server([Lazy()])) as channel:
        with pytest.raises(GRPCError, match="UNIMPLEMENTED"):
            await GreeterStub(channel).say_hello(HelloRequest())
        with pytest.raises(GRPCError, match="UNAUTHENTICATED"):
            async for _ in GreeterStub(channel).say_hellos(HelloRequest()):
                pass


async def test_interceptors() -> None:
    seen: list[str] = []

    async def outer(call: ServerStream[Any, Any], proceed: Callable[[], Awaitable[None]]) -> None:
        seen.append(f"before {call.method_name} {call.peer.addr()}")
        assert call.metadata is not None
        if call.metadata.get("key") != "sesame":
            raise GRPCError(Status.UNAUTHENTICATED, "who are you?")
        await proceed()
        seen.append("after")

    async def inner(call: ServerStream[Any, Any], proceed: Callable[[], Awaitable[None]]) -> None:
        seen.append("inner")
        await proceed()

    async with serve(Server([Greeter()], interceptors=[outer, inner])) as channel:
        with pytest.raises(GRPCError, match="who are you") as caught:
            await GreeterStub(channel).say_hello(HelloRequest())
        assert caught.value.status is Status.UNAUTHENTICATED
        await GreeterStub(channel, metadata={"key": "sesame"}).say_hello(HelloRequest())
    assert seen == ["before /greeter.v1.Greeter/SayHello None"] * 2 + ["inner", "after"]


async def test_a_method_served_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"two services have the method .*SayHello"):
        Server([Greeter(), Greeter()])


async def test_stop_lets_calls_finish(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    greeter = Greeter()
    server = Server([greeter])
    async with open_channel(memory_connector(server, nursery)) as channel:
        stub = GreeterStub(channel)
        async with trio.open_nursery() as calls:
            calls.start_soon(stub.say_hello, HelloRequest(name="sleep:5"))
            await trio.sleep(1)
            server.stop(grace=10)
            server.stop(grace=20)
        assert trio.current_time() == 5
        with pytest.raises(GRPCError) as caught:
            await stub.say_hello(HelloRequest(name="x"), timeout=1)
        assert caught.value.status in {Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED}
    assert server.statistics().connections == 0


async def test_stop_cancels_after_the_grace_period(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    greeter = Greeter()
    server = Server([greeter])
    async with open_channel(memory_connector(server, nursery)) as channel:
        async with trio.open_nursery() as calls:

            @calls.start_soon
            async def call() -> None:
                with pytest.raises(GRPCError, match="shutting down") as caught:
                    await GreeterStub(channel).say_hello(HelloRequest(name="sleep:50"))
                assert caught.value.status is Status.UNAVAILABLE

            await trio.sleep(1)
            server.stop(grace=10)
        assert trio.current_time() == pytest.approx(11)
    assert greeter.cancelled == 1


async def test_cancelling_the_server_closes_its_connections(
    autojump_clock: trio.testing.MockClock,
) -> None:
    greeter = Greeter()
    server = Server([greeter])
    async with trio.open_nursery() as outer:
        nursery = await outer.start(_nursery)
        async with open_channel(memory_connector(server, nursery)) as channel:

            @outer.start_soon
            async def stop() -> None:
                await trio.sleep(1)
                nursery.cancel_scope.cancel()

            with pytest.raises(GRPCError) as caught:
                await GreeterStub(channel).say_hello(HelloRequest(name="sleep:50"))
            assert caught.value.status is Status.UNAVAILABLE
    assert greeter.cancelled == 1
    assert server.statistics().connections == 0


async def _nursery(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


async def test_statistics() -> None:
    server = Server([Greeter()])
    async with serve(server) as channel:
        await GreeterStub(channel).say_hello(HelloRequest())
        with pytest.raises(GRPCError):
            await GreeterStub(channel).say_hello(HelloRequest(name="fail:ABORTED"))
        async with channel.request(*HELLOS) as call:
            await call.send_message(HelloRequest(name="wait"))
            await call.recv_initial_metadata()
            now = server.statistics()
    assert (now.connections, now.calls_running, now.calls_started) == (1, 1, 3)
    assert (now.calls_succeeded, now.calls_failed) == (1, 1)
    assert now.bytes_sent > 0
    assert server.statistics().stopping
