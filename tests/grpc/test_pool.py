"""The connections of a channel: how many there are, and how long."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from h2.settings import SettingCodes

from tests.helpers.greeter import GreeterStub, HelloRequest
from tests.helpers.greeting import Greeter, memory_connector
from tests.helpers.http2_peer import hello, played_server
from trio_dispatch.grpc import Channel, GRPCError, Limits, Server, Status, open_channel


async def say_hello(channel: Channel, name: str = "x", **options: Any) -> str:
    return (await GreeterStub(channel).say_hello(HelloRequest(name=name), **options)).message


async def test_streams_beyond_the_servers_limit_get_further_connections(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    greeter = Greeter()
    server = Server([greeter], limits=Limits(concurrent_streams=10))
    async with open_channel(memory_connector(server, nursery)) as channel:
        async with trio.open_nursery() as calls:
            for _ in range(35):
                calls.start_soon(partial(say_hello, channel, "sleep:50"))
            await trio.sleep(1)
            assert greeter.running == 35
            assert channel.statistics().connections == 4
            # Calls are not held up by those that last.
            assert await say_hello(channel) == "Hello x"
            calls.cancel_scope.cancel()
        (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert "allows 10 streams at a time" in record.getMessage()
        await say_hello(channel)
        await trio.sleep(31)
        assert channel.statistics().connections == 1
        assert channel.statistics().connections_made == 4
        await say_hello(channel)
        assert channel.statistics().connections_made == 4
    server.stop(grace=0)


async def test_a_single_connection_is_kept_when_idle(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server([Greeter()])
    async with open_channel(memory_connector(server, nursery)) as channel:
        await say_hello(channel)
        await trio.sleep(1000)
        await say_hello(channel)
        assert channel.statistics().connections_made == 1
    server.stop(grace=0)


async def test_calls_wait_for_a_stream_while_another_connection_is_being_made() -> None:
    async with (
        played_server(settings={"MAX_CONCURRENT_STREAMS": 2}) as (channel, server),
        trio.open_nursery() as nursery,
    ):
        connect, made = server.connect, 0

        async def only_one() -> trio.abc.Stream:
            nonlocal made
            made += 1
            if made > 1:
                await trio.sleep_forever()
            return await connect()

        channel._pool.dialer.connector = only_one
        replies: list[str] = []

        async def call(name: str) -> None:
            replies.append(await say_hello(channel, name))

        for name in "abcde":
            nursery.start_soon(call, name)
        peer = await server.connections.receive()
        first, second = await peer.request(), await peer.request()
        await trio.testing.wait_all_tasks_blocked()
        assert not peer.events
        assert channel.statistics().streams_open == 2
        await peer.respond(first, hello("x"))
        third = await peer.request()
        await trio.testing.wait_all_tasks_blocked()
        assert not peer.events
        peer.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 10})
        await peer.flush()
        rest = [await peer.request(), await peer.request()]
        for stream_id in (second, third, *rest):
            await peer.respond(stream_id, hello("x"))
        await trio.testing.wait_all_tasks_blocked()
        assert len(replies) == 5
        assert made == 2


async def test_a_call_fails_when_no_further_connection_can_be_made(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server([Greeter()], limits=Limits(concurrent_streams=1))
    connect, made = memory_connector(server, nursery), 0

    async def only_one() -> trio.abc.Stream:
        nonlocal made
        made += 1
        if made > 1:
            raise ConnectionRefusedError("too many")
        return await connect()

    async with open_channel(only_one) as channel, trio.open_nursery() as calls:
        calls.start_soon(partial(say_hello, channel, "sleep:1000"))
        await trio.sleep(1)
        with trio.fail_after(60), pytest.raises(GRPCError, match="too many") as caught:
            await say_hello(channel)
        assert caught.value.status is Status.UNAVAILABLE
        calls.cancel_scope.cancel()
    server.stop(grace=0)
