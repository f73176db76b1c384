"""`open_call`: any kind of call by the methods of betterproto2's stubs."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing

from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.greeting import Greeter
from trio_dispatch.grpc import Channel, GRPCError, open_call


async def test_both_directions(channel: Channel) -> None:
    async with open_call(GreeterStub(channel).chat) as call:
        for name in "abc":
            await call.send_message(HelloRequest(name=name))
            assert await call.recv_message() == HelloReply(message=f"Hello {name}")


async def test_a_stream_of_requests(channel: Channel) -> None:
    async with open_call(GreeterStub(channel).greet_all) as call:
        for name in "abc":
            await call.send_message(HelloRequest(name=name))
        await call.end()
        assert await call.recv_message() == HelloReply(message="Hello a, b, c")


async def test_leaving_a_stream_of_replies(channel: Channel) -> None:
    stub = GreeterStub(channel)
    async with open_call(stub.say_hellos, HelloRequest(name="forever")) as replies:
        async for _ in replies:
            break
    assert channel.statistics().streams_open == 0


async def test_a_single_reply(channel: Channel) -> None:
    async with open_call(GreeterStub(channel).say_hello, HelloRequest(name="x")) as call:
        assert await call.recv_message() == HelloReply(message="Hello x")


async def test_the_options_of_the_stub_are_used(
    channel: Channel, greeter: Greeter, autojump_clock: trio.testing.MockClock
) -> None:
    stub = GreeterStub(channel, timeout=5)
    cases: list[tuple[dict[str, Any], float]] = [({}, 5), ({"timeout": 2.0}, 2)]
    for options, expected in cases:
        start = trio.current_time()
        with pytest.raises(GRPCError, match="DEADLINE_EXCEEDED"):
            async with open_call(stub.say_hellos, HelloRequest(name="wait"), **options) as call:
                await call.recv_message()
        assert trio.current_time() - start == pytest.approx(expected)


@pytest.mark.parametrize(
    ("method", "args", "message"),
    [
        ("chat", [HelloRequest()], "takes a stream"),
        ("say_hello", [], "takes a request"),
        ("_send_messages", [], "expected a method"),
    ],
)
async def test_misuse(channel: Channel, method: str, args: list[Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        open_call(getattr(GreeterStub(channel), method), *args)
    with pytest.raises(TypeError, match="expected a method"):
        open_call(print)  # type: ignore[arg-type]
