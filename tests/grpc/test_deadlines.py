"""Deadlines, by Trio's clock."""

from __future__ import annotations

import grpclib.metadata
import pytest
import trio
import trio.testing

from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.greeting import Greeter
from trio_dispatch.grpc import Cardinality, Channel, Deadline, GRPCError, Status, current_call
from trio_dispatch.grpc._deadline import decode_timeout, encode_timeout

HELLOS = ("/greeter.v1.Greeter/SayHellos", Cardinality.UNARY_STREAM, HelloRequest, HelloReply)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "1n"),
        (1e-9, "1n"),
        (0.05, "50000000n"),
        (0.1, "100000u"),
        (5.0, "5000000u"),
        (5.0000001, "5000001u"),
        (100.0, "100000m"),
        (86_400.0, "86400000m"),
        (100_000.0, "100000S"),
        (1e9, "16666667M"),
        (1e13, "99999999H"),
    ],
)
def test_a_timeout_is_rounded_up(seconds: float, expected: str) -> None:
    assert encode_timeout(seconds) == expected
    assert len(expected) <= 9


def test_malformed_timeouts() -> None:
    assert decode_timeout([("grpc-timeout", "2M")]) == 120.0
    for value in ("", "5", "S", "-5S", "123456789S", "5s", "5S "):
        with pytest.raises(ValueError, match="grpc-timeout"):
            decode_timeout([("grpc-timeout", value)])


async def test_explicit_timeout(
    channel: Channel, greeter: Greeter, autojump_clock: trio.testing.MockClock
) -> None:
    start = trio.current_time()
    with pytest.raises(GRPCError) as caught:
        await GreeterStub(channel).say_hello(HelloRequest(name="sleep:100"), timeout=5)
    assert caught.value.status is Status.DEADLINE_EXCEEDED
    assert trio.current_time() - start == pytest.approx(5)
    await trio.testing.wait_all_tasks_blocked()
    assert greeter.cancelled == 1
    assert channel.statistics().streams_open == 0


async def test_explicit_deadline(channel: Channel, autojump_clock: trio.testing.MockClock) -> None:
    deadline = Deadline.from_timeout(5)
    await trio.sleep(3)
    start = trio.current_time()
    with pytest.raises(GRPCError) as caught:
        await GreeterStub(channel).say_hello(HelloRequest(name="sleep:100"), deadline=deadline)
    assert caught.value.status is Status.DEADLINE_EXCEEDED
    assert trio.current_time() - start == pytest.approx(2)
    with pytest.raises(GRPCError, match="DEADLINE_EXCEEDED"):
        await GreeterStub(channel).say_hello(HelloRequest(name="late"), deadline=deadline)


async def test_a_deadline_of_grpclib(channel: Channel) -> None:
    deadline = grpclib.metadata.Deadline.from_timeout(100)
    reply = await GreeterStub(channel).say_hello(HelloRequest(name="x"), deadline=deadline)
    assert reply.message == "Hello x"


async def test_trio_cancels_at_the_deadline_of_the_scope(
    channel: Channel, greeter: Greeter, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(5):
            await GreeterStub(channel).say_hello(HelloRequest(name="sleep:100"))
    await trio.testing.wait_all_tasks_blocked()
    assert greeter.cancelled == 1


async def test_trio_cancels_even_if_the_server_notices_first(
    channel: Channel, greeter: Greeter, autojump_clock: trio.testing.MockClock
) -> None:
    async def say_hello(message: HelloRequest) -> HelloReply:
        await trio.sleep(4.9)
        raise GRPCError(Status.DEADLINE_EXCEEDED)

    greeter.say_hello = say_hello  # type: ignore[method-assign]
    start = trio.current_time()
    with trio.move_on_after(5) as scope:
        await GreeterStub(channel).say_hello(HelloRequest())
    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(5)


async def test_a_deadline_applied_by_the_server_is_an_error(
    channel: Channel, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(GRPCError, match="DEADLINE_EXCEEDED"), trio.fail_after(5):
        await GreeterStub(channel).say_hello(HelloRequest(name="fail:DEADLINE_EXCEEDED"))
    assert trio.current_time() == 0


async def test_without_our_deadline_the_servers_is_an_error(channel: Channel) -> None:
    with pytest.raises(GRPCError, match="DEADLINE_EXCEEDED"):
        await GreeterStub(channel).say_hello(HelloRequest(name="fail:DEADLINE_EXCEEDED"))


async def test_the_earlier_deadline_is_sent(
    channel: Channel, greeter: Greeter, autojump_clock: trio.testing.MockClock
) -> None:
    seen = []

    async def say_hello(message: HelloRequest) -> HelloReply:
        deadline = current_call().deadline
        seen.append(None if deadline is None else round(deadline.time_remaining(), 3))
        return HelloReply()

    greeter.say_hello = say_hello  # type: ignore[method-assign]
    stub = GreeterStub(channel)
    await stub.say_hello(HelloRequest())
    await stub.say_hello(HelloRequest(), timeout=7)
    with trio.move_on_after(3):
        await stub.say_hello(HelloRequest(), timeout=7)
        await stub.say_hello(HelloRequest(), timeout=2)
    assert seen == [None, 7.0, 3.0, 2.0]


async def test_a_stream_of_replies_sends_only_the_explicit_timeout(
    channel: Channel, greeter: Greeter, autojump_clock: trio.testing.MockClock
) -> None:
    async with channel.request(*HELLOS) as call:
        with trio.move_on_after(5) as scope:
            await call.send_message(HelloRequest(name="wait"))
            await call.recv_initial_metadata()
            scope.deadline += 100
            await trio.sleep(50)
        assert not scope.cancelled_caught
        assert greeter.running == 1
    await trio.testing.wait_all_tasks_blocked()
    assert greeter.cancelled == 1
    start = trio.current_time()
    with pytest.raises(GRPCError, match="DEADLINE_EXCEEDED"):  # noqa: PT012
        async with channel.request(*HELLOS, timeout=5) as call:
            await call.send_message(HelloRequest(name="wait"))
            await call.recv_message()
    assert trio.current_time() - start == pytest.approx(5)
