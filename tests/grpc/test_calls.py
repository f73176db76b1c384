"""The four kinds of call, by betterproto2's and grpclib's own stubs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import grpclib.client
import pytest
import trio

from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from trio_dispatch.grpc import Cardinality, Channel, GRPCError, Status, current_call

CHAT = ("/greeter.v1.Greeter/Chat", Cardinality.STREAM_STREAM, HelloRequest, HelloReply)


async def test_unary_unary(channel: Channel) -> None:
    reply = await GreeterStub(channel).say_hello(HelloRequest(name="Trio"))
    assert reply == HelloReply(message="Hello Trio")


async def test_unary_stream(channel: Channel) -> None:
    replies = GreeterStub(channel).say_hellos(HelloRequest(name="count:100"))
    assert [reply.message async for reply in replies] == [str(n) for n in range(100)]


async def test_stream_unary(channel: Channel) -> None:
    requests = [HelloRequest(name=name) for name in "abc"]
    assert (await GreeterStub(channel).greet_all(requests)).message == "Hello a, b, c"


async def test_stream_unary_without_messages(channel: Channel) -> None:
    assert (await GreeterStub(channel).greet_all([])).message == "Hello "


async def test_stream_stream_in_turns(channel: Channel) -> None:
    async with channel.request(*CHAT) as call:
        for name in "abc":
            await call.send_message(HelloRequest(name=name))
            assert await call.recv_message() == HelloReply(message=f"Hello {name}")
        await call.end()
        assert await call.recv_message() is None


async def test_stream_stream_at_once(channel: Channel) -> None:
    async with channel.request(*CHAT) as call, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            for number in range(1000):
                await call.send_message(HelloRequest(name=str(number)), end=number == 999)

        replies = [reply.message async for reply in call]
    assert replies == [f"Hello {number}" for number in range(1000)]


async def test_grpclib_methods(channel: Channel) -> None:
    unary = grpclib.client.UnaryUnaryMethod(
        channel, "/greeter.v1.Greeter/SayHello", HelloRequest, HelloReply
    )
    stream = grpclib.client.StreamStreamMethod(channel, CHAT[0], HelloRequest, HelloReply)
    assert await unary(HelloRequest(name="x")) == HelloReply(message="Hello x")
    assert len(await stream([HelloRequest(name="x"), HelloRequest(name="y")])) == 2


async def test_status_of_a_unary_call(channel: Channel) -> None:
    stub = GreeterStub(channel)
    for status in list(Status)[1:]:
        with pytest.raises(GRPCError) as caught:
            await stub.say_hello(HelloRequest(name=f"fail:{status.name}"))
        assert caught.value.status is status
        assert caught.value.message == f"you asked for {status.name}"


async def test_status_after_messages(channel: Channel) -> None:
    got = []
    with pytest.raises(GRPCError) as caught:  # noqa: PT012
        async for reply in GreeterStub(channel).say_hellos(HelloRequest(name="fail-late:3")):
            got.append(reply.message)  # noqa: PERF401
    assert got == ["0", "1", "2"]
    assert caught.value.status is Status.ABORTED


async def test_leaving_an_iterator_resets_its_stream(channel: Channel) -> None:
    method = ("/greeter.v1.Greeter/SayHellos", Cardinality.UNARY_STREAM, HelloRequest, HelloReply)
    async with channel.request(*method) as call:
        await call.send_message(HelloRequest(name="forever"))
        async for _ in call:
            break
    assert channel.statistics().streams_open == 0
    await GreeterStub(channel).say_hello(HelloRequest(name="x"))


async def test_statistics(channel: Channel) -> None:
    stub = GreeterStub(channel)
    await stub.say_hello(HelloRequest(name="x"))
    with pytest.raises(GRPCError):
        await stub.say_hello(HelloRequest(name="fail:ABORTED"))
    statistics = channel.statistics()
    assert statistics.connected
    assert (statistics.calls_started, statistics.calls_succeeded) == (2, 1)
    assert statistics.calls_failed == 1
    assert statistics.streams_open == 0
    assert statistics.messages_sent == 2
    assert statistics.messages_received == 1


def test_no_current_call_outside_a_handler() -> None:
    with pytest.raises(RuntimeError, match="handler"):
        current_call()


async def test_aclosing(channel: Channel) -> None:
    async with aclosing(
        cast(
            AsyncGenerator[HelloReply, None],
            GreeterStub(channel)._unary_stream(
                "/greeter.v1.Greeter/SayHellos", HelloRequest(name="forever"), HelloReply
            ),
        )
    ) as replies:
        async for _ in replies:
            break
    assert channel.statistics().streams_open == 0
