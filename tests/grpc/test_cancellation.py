"""Cancelling calls at every point."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trio.testing

from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.greeting import Greeter, serve
from trio_dispatch.grpc import Cardinality, Channel, GRPCError, Limits, Server, Status
from trio_dispatch.grpc._strict_h2 import CONNECTION_WINDOW

HELLOS = ("/greeter.v1.Greeter/SayHellos", Cardinality.UNARY_STREAM, HelloRequest, HelloReply)
CHAT = ("/greeter.v1.Greeter/Chat", Cardinality.STREAM_STREAM, HelloRequest, HelloReply)


async def test_cancelling_a_call_cancels_its_handler(channel: Channel, greeter: Greeter) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(GreeterStub(channel).say_hello, HelloRequest(name="sleep:inf"))
        await trio.testing.wait_all_tasks_blocked()
        assert greeter.running == 1
        nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert greeter.cancelled == 1
    assert channel.statistics().streams_open == 0
    assert channel.statistics().connections_made == 1
    assert (await GreeterStub(channel).say_hello(HelloRequest(name="x"))).message == "Hello x"


async def test_receiving_may_be_cancelled_and_tried_again(channel: Channel) -> None:
    async with channel.request(*CHAT) as call:
        for name in "abc":
            with trio.move_on_after(0) as scope:
                await call.recv_message()
            assert scope.cancelled_caught
            await call.send_message(HelloRequest(name=name))
            await trio.testing.wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await call.recv_message()
            assert await call.recv_message() == HelloReply(message=f"Hello {name}")


async def test_cancel(channel: Channel, greeter: Greeter) -> None:
    async with channel.request(*HELLOS) as call:
        await call.send_message(HelloRequest(name="wait"))
        await call.recv_initial_metadata()
        assert call.initial_metadata == {"state": "waiting"}
        await call.cancel()
        with pytest.raises(GRPCError, match="CANCELLED"):
            await call.recv_message()
    await trio.testing.wait_all_tasks_blocked()
    assert greeter.cancelled == 1


async def test_cancelling_within_a_message_ends_the_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    gate = trio.Event()

    class Slow(Greeter):
        async def chat(self, messages: AsyncIterator[HelloRequest]) -> AsyncIterator[HelloReply]:
            await gate.wait()
            async for message in messages:
                yield HelloReply(message=message.name)

    async with serve(Server([Slow()])) as channel:
        async with channel.request(*CHAT) as call:
            with trio.move_on_after(0.01) as scope:
                await call.send_message(HelloRequest(name="x" * 1_000_000))
            assert scope.cancelled_caught
            with pytest.raises(GRPCError, match="CANCELLED"):
                await call.send_message(HelloRequest(name="y"))
        assert channel.statistics().streams_open == 0


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when the current task reaches its n-th checkpoint."""

    def __init__(self, scope: trio.CancelScope, checkpoint: int) -> None:
        self._scope = scope
        self._task = trio.lowlevel.current_task()
        self._left = checkpoint

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def unary(channel: Channel) -> None:
    await GreeterStub(channel).say_hello(HelloRequest(name="sleep:0.1"))


async def server_stream(channel: Channel) -> None:
    async with channel.request(*HELLOS) as call:
        await call.send_message(HelloRequest(name="count:5"))
        async for _ in call:
            pass


async def client_stream(channel: Channel) -> None:
    await GreeterStub(channel).greet_all([HelloRequest(name=name) for name in "abc"])


async def chat(channel: Channel) -> None:
    async with channel.request(*CHAT) as call:
        for name in "abc":
            await call.send_message(HelloRequest(name=name * 100_000))
            await call.recv_message()
        await call.end()
        await call.recv_trailing_metadata()


@pytest.mark.parametrize("work", [unary, server_stream, client_stream, chat])
@pytest.mark.parametrize("warm", [True, False])
async def test_cancelled_at_every_checkpoint(
    work: Callable[[Channel], Awaitable[None]],
    warm: bool,
    autojump_clock: trio.testing.MockClock,
) -> None:
    checkpoint = 0
    finished = False
    while not finished:
        checkpoint += 1
        assert checkpoint < 200
        greeter = Greeter()
        async with serve(Server([greeter])) as channel:
            if warm:
                await unary(channel)
            with trio.CancelScope() as scope:
                instrument = CancelAt(scope, checkpoint)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await work(channel)
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            finished = not scope.cancelled_caught
            await trio.testing.wait_all_tasks_blocked()
            statistics = channel.statistics()
            assert statistics.streams_open == 0
            assert greeter.running == 0
            await unary(channel)
            assert channel.statistics().connections_made == 1
    assert checkpoint >= 2


async def test_calls_cancelled_at_random_points(autojump_clock: trio.testing.MockClock) -> None:
    await cancel_at_random(1000)


@pytest.mark.long
async def test_ten_thousand_calls_cancelled_at_random_points(
    autojump_clock: trio.testing.MockClock,
) -> None:
    await cancel_at_random(10_000)


async def cancel_at_random(calls: int) -> None:
    dice = random.Random(1)
    greeter = Greeter()
    works = [unary, server_stream, client_stream, chat]
    limits = Limits(resets=1e6, free_work=1e6)
    async with serve(Server([greeter], limits=limits)) as channel:
        await unary(channel)
        tasks = trio.lowlevel.current_statistics().tasks_living

        async def one(limit: trio.CapacityLimiter) -> None:
            async with limit:
                with trio.move_on_after(dice.uniform(0, 0.12)) as scope:
                    if dice.random() < 0.5:
                        instrument = CancelAt(scope, dice.randrange(1, 12))
                        trio.lowlevel.add_instrument(instrument)
                        try:
                            await dice.choice(works)(channel)
                        finally:
                            trio.lowlevel.remove_instrument(instrument)
                    else:
                        await dice.choice(works)(channel)

        limit = trio.CapacityLimiter(20)
        async with trio.open_nursery() as nursery:
            for _ in range(calls):
                nursery.start_soon(one, limit)
        await trio.testing.wait_all_tasks_blocked()
        statistics = channel.statistics()
        assert statistics.streams_open == 0
        assert statistics.connections_made == 1
        assert statistics.calls_failed > calls / 10
        assert statistics.calls_succeeded > calls / 100
        assert greeter.running == 0
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        (connection,) = channel._pool.connections
        assert not connection.h2.streams
        assert not connection.blocked
        # The rest of the window is returned with later data.  It is counted here, and by h2 for
        # closed streams.
        manager = connection.h2._inbound_flow_control_window_manager
        owed = connection._credit + manager._bytes_processed
        assert connection.h2.inbound_flow_control_window + owed == CONNECTION_WINDOW
        await chat(channel)


async def test_an_abandoned_generator_is_finalized(channel: Channel, greeter: Greeter) -> None:
    replies = GreeterStub(channel)._unary_stream(
        HELLOS[0], HelloRequest(name="forever"), HelloReply
    )
    await replies.__anext__()
    assert channel.statistics().streams_open == 1
    with pytest.warns(ResourceWarning, match="aclosing"):
        del replies
    await trio.testing.wait_all_tasks_blocked()
    assert channel.statistics().streams_open == 0
    with pytest.raises(GRPCError) as caught:
        await GreeterStub(channel).say_hello(HelloRequest(name="fail:NOT_FOUND"))
    assert caught.value.status is Status.NOT_FOUND
