"""The channel: connecting, disconnecting, reconnecting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
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
    MessageCodec,
    Server,
    Status,
    open_call,
    open_channel,
)
from trio_dispatch.grpc._strict_h2 import CONNECTION_WINDOW

HELLOS = ("/greeter.v1.Greeter/SayHellos", Cardinality.UNARY_STREAM, HelloRequest, HelloReply)


class Connectors:
    """A connector whose streams can be closed, and which can be made to fail."""

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self.streams: list[trio.abc.Stream] = []
        self.error: Exception | None = None
        self.attempts: list[float] = []
        self._connect = memory_connector(server, nursery)

    async def __call__(self) -> trio.abc.Stream:
        self.attempts.append(trio.current_time())
        if self.error is not None:
            raise self.error
        stream = await self._connect()
        self.streams.append(stream)
        return stream


@pytest.fixture
def connectors(greeter: Greeter, nursery: trio.Nursery) -> Connectors:
    return Connectors(Server([greeter]), nursery)


async def hello(channel: Channel, name: str = "x") -> HelloReply:
    return await GreeterStub(channel).say_hello(HelloRequest(name=name))


async def test_the_first_call_connects(connectors: Connectors) -> None:
    async with open_channel(connectors) as channel:
        await trio.testing.wait_all_tasks_blocked()
        assert not connectors.attempts
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(hello, channel)
        assert len(connectors.attempts) == 1


async def test_a_lost_connection_fails_its_calls_and_the_next_call_connects(
    connectors: Connectors, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_channel(connectors) as channel:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def call() -> None:
                with pytest.raises(GRPCError) as caught:
                    await hello(channel, "sleep:100")
                assert caught.value.status is Status.UNAVAILABLE

            await trio.testing.wait_all_tasks_blocked()
            await connectors.streams[0].aclose()
        start = trio.current_time()
        await hello(channel)
        assert trio.current_time() == start
        assert channel.statistics().connections_made == 2


async def test_a_failure_to_connect_is_unavailable_with_its_cause(connectors: Connectors) -> None:
    connectors.error = ConnectionRefusedError("nobody there")
    async with open_channel(connectors, authority="here:1") as channel:
        with pytest.raises(GRPCError, match=r"here:1.*nobody there") as caught:
            await hello(channel)
        assert caught.value.status is Status.UNAVAILABLE
        assert caught.value.__cause__ is connectors.error
        assert "nobody there" in (channel.statistics().last_error or "")


async def test_pauses_grow_after_failed_attempts(
    connectors: Connectors, autojump_clock: trio.testing.MockClock
) -> None:
    connectors.error = ConnectionRefusedError()
    async with open_channel(connectors) as channel:
        for _ in range(10):
            with pytest.raises(GRPCError):
                await hello(channel)
        times = connectors.attempts
        pauses = [later - earlier for earlier, later in pairwise(times)]
        for number, pause in enumerate(pauses):
            assert 0 <= pause <= min(0.25 * 2**number, 15)
        assert max(pauses) > 1
        connectors.error = None
        await hello(channel)
        assert channel.statistics().last_error is None


async def test_connect_timeout(autojump_clock: trio.testing.MockClock) -> None:
    async def never() -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async def silent() -> trio.abc.Stream:
        return trio.testing.memory_stream_pair()[0]

    for connector in (never, silent):
        async with open_channel(connector, connect_timeout=5) as channel:
            start = trio.current_time()
            with pytest.raises(GRPCError, match="within 5 s"):
                await hello(channel)
            assert trio.current_time() - start == pytest.approx(5)


async def test_leaving_the_block_ends_the_calls(connectors: Connectors) -> None:
    errors: list[GRPCError] = []
    async with trio.open_nursery() as nursery, open_channel(connectors) as channel:

        @nursery.start_soon
        async def call() -> None:
            with pytest.raises(GRPCError) as caught:
                await hello(channel, "sleep:inf")
            errors.append(caught.value)

        await trio.testing.wait_all_tasks_blocked()
    assert errors[0].status is Status.CANCELLED
    with pytest.raises(GRPCError, match="closed"):
        await hello(channel)


async def test_calls_work_in_the_finally_of_a_cancelled_block(
    connectors: Connectors,
) -> None:
    replies = []
    with trio.CancelScope() as scope:
        async with open_channel(connectors) as channel:
            try:
                scope.cancel()
                await hello(channel)
            finally:
                with trio.move_on_after(1, shield=True):
                    replies.append(await hello(channel))
    assert len(replies) == 1


async def test_an_exception_of_the_block_is_not_wrapped(connectors: Connectors) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with open_channel(connectors) as channel:
            await hello(channel)
            raise KeyError


async def test_the_writer_waits_for_a_slow_reader() -> None:
    sent = 0

    class Source(Greeter):
        async def say_hellos(self, message: HelloRequest) -> AsyncIterator[HelloReply]:
            nonlocal sent
            for _ in range(1000):
                yield HelloReply(message="x" * 10_000)
                sent += 10_000

    async with serve(Server([Source()])) as channel, channel.request(*HELLOS) as call:
        await call.send_message(HelloRequest())
        await trio.testing.wait_all_tasks_blocked()
        assert 200_000 < sent < 400_000
        # Other calls are not held up by it.
        await hello(channel)
        assert len([reply async for reply in call]) == 1000


async def test_a_message_larger_than_all_windows() -> None:
    size = 16 * 2**20
    async with serve(
        Server([Greeter()], max_message_size=2**30), max_message_size=2**30
    ) as channel:
        reply = await hello(channel, "x" * size)
        assert len(reply.message) == size + len("Hello ")


async def test_reading_returns_all_credit() -> None:
    read = 0
    async with serve(Server([Greeter()])) as channel, channel.request(*HELLOS) as call:
        await call.send_message(HelloRequest(name="forever"))
        async for reply in call:
            read += len(reply.message)
            if read > 1.1 * CONNECTION_WINDOW:
                break


async def test_a_call_may_bring_its_own_codec(connectors: Connectors) -> None:
    class Upper(MessageCodec):
        def decode(self, data: bytes, message_type: type[Any]) -> Any:
            message = super().decode(data, message_type)
            message.message = message.message.upper()
            return message

    async with open_channel(connectors) as channel:
        call = open_call(GreeterStub(channel).say_hello, HelloRequest(name="x"), codec=Upper())
        async with call as replies:
            reply = await replies.recv_message()
            assert reply is not None
            assert reply.message == "HELLO X"
        assert (await hello(channel)).message == "Hello x"
