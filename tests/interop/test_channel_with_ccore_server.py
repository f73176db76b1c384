"""Our channel with a gRPC server on C-core."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from grpclib.client import UnaryUnaryMethod

from tests.helpers.interop.peers import Peer, start_script, within
from tests.helpers.interop.programs.payloads import CCORE_ROOM, ROOM, SIZES, some_bytes
from tests.helpers.interop.raw import RawCodec, call, echo
from trio_dispatch.grpc import Channel, GRPCError, Status, open_channel


@asynccontextmanager
async def connected(
    *, options: dict[str, int] | None = None, gzip: bool = False, **ours: Any
) -> AsyncIterator[tuple[Channel, Peer]]:
    """Open a channel to a new server; the options are C-core's."""
    async with start_script("bytes_server") as server:
        port = await server.ask("serve", options=options or {}, gzip=gzip)
        url = f"grpc://127.0.0.1:{port}?ssl=false"
        async with open_channel(url, codec=RawCodec(), **ours) as channel:
            yield channel, server


@within(30)
async def test_four_kinds_of_call() -> None:
    async with connected() as (channel, _):
        assert await echo(channel, b"hello") == b"hello"

        async with call(channel, "Repeat", metadata={"count": "1000"}) as repeat:
            await repeat.send_message(b"hello")
            assert [message async for message in repeat] == [b"hello"] * 1000

        async with call(channel, "Join") as join:
            for number in range(1000):
                await join.send_message(b"%d " % number)
            await join.end()
            assert await join.recv_message() == b"".join(b"%d " % n for n in range(1000))

        async with call(channel, "Chat") as chat:
            for number in range(100):
                await chat.send_message(b"%d" % number)
                assert await chat.recv_message() == b"%d" % number
            await chat.end()
            assert await chat.recv_message() is None
        assert channel.statistics().connections_made == 1
        assert channel.statistics().calls_failed == 0


@within(30)
async def test_calls_without_messages() -> None:
    async with connected() as (channel, _):
        async with call(channel, "Repeat", metadata={"count": "0"}) as repeat:
            await repeat.send_message(b"hello")
            assert await repeat.recv_message() is None
        async with call(channel, "Join") as join:
            await join.send_request(end=True)
            assert await join.recv_message() == b""
        async with call(channel, "Chat") as chat:
            await chat.send_request(end=True)
            assert await chat.recv_message() is None


@within(45)
async def test_sizes() -> None:
    async with connected(options=CCORE_ROOM, max_message_size=ROOM) as (channel, _):
        for size in SIZES:
            message = some_bytes(size)
            assert await echo(channel, message) == message
        async with call(channel, "Chat") as chat, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send_all() -> None:
                for size in SIZES:
                    await chat.send_message(some_bytes(size), end=size == SIZES[-1])

            assert [len(message) async for message in chat] == SIZES


@within(30)
async def test_messages_that_are_too_long() -> None:
    async with connected() as (channel, _):
        with pytest.raises(GRPCError) as caught:
            await echo(channel, some_bytes(5 * 2**20))
        assert caught.value.status is Status.RESOURCE_EXHAUSTED
        assert await echo(channel) == b"x"
    async with connected(max_message_size=1000) as (channel, _):
        with pytest.raises(GRPCError) as caught:
            await echo(channel, some_bytes(1001))
        assert caught.value.status is Status.RESOURCE_EXHAUSTED
        assert await echo(channel, some_bytes(1000)) == some_bytes(1000)


@within(30)
@pytest.mark.parametrize("limit", [None, 10])
async def test_thousand_calls_at_once(limit: int | None) -> None:
    options = {} if limit is None else {"grpc.max_concurrent_streams": limit}
    async with connected(options=options) as (channel, _):
        answers: list[bytes | None] = []

        async def ask(number: int) -> None:
            answers.append(await echo(channel, b"%d" % number))

        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(ask, number)
        assert sorted(answers, key=lambda answer: int(answer or b"-1")) == [
            b"%d" % number for number in range(1000)
        ]
        statistics = channel.statistics()
        assert statistics.calls_failed == 0
        assert limit is not None or statistics.connections_made == 1
        assert statistics.streams_open == 0


@within(30)
async def test_metadata() -> None:
    sent = [
        ("echo-text", "some text, with: punctuation %"),
        ("echo-twice", "one"),
        ("echo-twice", "two"),
        ("echo-bytes-bin", bytes(range(256))),
        ("echo-none-bin", b""),
        ("echo-several-bin", b"\x00"),
        ("echo-several-bin", b"\xff\xff"),
    ]
    async with connected() as (channel, _), call(channel, "Echo", metadata=sent) as stream:
        await stream.send_message(b"x")
        await stream.recv_message()
        await stream.recv_trailing_metadata()
        for got in (stream.initial_metadata, stream.trailing_metadata):
            assert got is not None
            assert sorted(got.items(), key=repr) == sorted(sent, key=repr)


@within(30)
async def test_statuses() -> None:
    async with connected() as (channel, _):
        assert len(Status) == 17
        for status in set(Status) - {Status.OK, Status.DEADLINE_EXCEEDED}:
            metadata = {"status": str(status.value), "echo-a": "b"}
            with pytest.raises(GRPCError) as caught:
                await echo(channel, metadata=metadata)
            assert caught.value.status is status
            assert caught.value.message == f"100 % wröng: {status.value}"

            async with call(channel, "Repeat", metadata=metadata | {"count": "3"}) as repeat:
                await repeat.send_message(b"x")
                for _ in range(3):
                    assert await repeat.recv_message() == b"x"
                with pytest.raises(GRPCError) as caught:
                    await repeat.recv_message()
                assert caught.value.status is status
                assert repeat.trailing_metadata is not None
                assert repeat.trailing_metadata["echo-a"] == "b"


@within(5)
async def test_deadline_of_somebody_else() -> None:
    """DEADLINE_EXCEEDED from the server is a status like any other, while our deadline is far."""
    async with connected() as (channel, _):
        with pytest.raises(GRPCError) as caught:
            await echo(channel, metadata={"status": "4"})
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert caught.value.message == "100 % wröng: 4"


@within(30)
async def test_unknown_method() -> None:
    async with connected() as (channel, _):
        stub = UnaryUnaryMethod(channel, "/no.Such/Method", bytes, bytes)
        with pytest.raises(GRPCError) as caught:
            await stub(b"")
        assert caught.value.status is Status.UNIMPLEMENTED


@within(30)
async def test_deadlines() -> None:
    async with connected() as (channel, server):
        with pytest.raises(GRPCError) as caught:
            await echo(channel, metadata={"sleep": "60"}, timeout=0.2)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        await server.ask("until_idle")
        assert 0 < await server.ask("time_remaining") <= 0.201

        with trio.move_on_after(0.2) as scope:
            await echo(channel, metadata={"sleep": "60"})
        assert scope.cancelled_caught
        assert 0 < await server.ask("time_remaining") <= 0.201

        assert await echo(channel, timeout=20) == b"x"
        assert 15 < await server.ask("time_remaining") <= 20


@within(30)
async def test_stream_with_a_deadline() -> None:
    async with connected() as (channel, server):
        metadata = {"count": "2", "sleep": "60"}
        async with call(channel, "Repeat", metadata=metadata, timeout=0.3) as repeat:
            await repeat.send_message(b"x")
            assert await repeat.recv_message() == b"x"
            assert await repeat.recv_message() == b"x"
            with pytest.raises(GRPCError) as caught:
                await repeat.recv_message()
            assert caught.value.status is Status.DEADLINE_EXCEEDED
        await server.ask("until_idle")


@within(30)
async def test_we_leave_in_mid_stream() -> None:
    """Leaving the block and being cancelled both cancel the server's handler."""
    async with connected() as (channel, server):
        async with call(channel, "Repeat", metadata={"count": "1000000"}) as repeat:
            await repeat.send_message(some_bytes(1000))
            for _ in range(10):
                await repeat.recv_message()
        await server.ask("until_idle")
        assert channel.statistics().streams_open == 0
        assert await echo(channel) == b"x"
    async with connected() as (channel, server):
        with trio.CancelScope() as scope:
            async with call(channel, "Chat", metadata={"sleep": "60"}) as chat:
                await chat.send_message(b"x", end=True)
                assert await chat.recv_message() == b"x"
                await server.ask("until_sleeping")
                scope.cancel()
                await chat.recv_message()
        assert scope.cancelled_caught
        await server.ask("until_idle")
        assert await echo(channel) == b"x"


@within(30)
async def test_server_dies_in_mid_call() -> None:
    async with connected() as (channel, server), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def slow() -> None:
            with pytest.raises(GRPCError) as caught:
                await echo(channel, metadata={"sleep": "60"})
            assert caught.value.status is Status.UNAVAILABLE

        await server.ask("until_sleeping")
        await server.kill()


async def echo_for_ever(channel: Channel) -> None:
    while True:
        await echo(channel)


@within(30)
async def test_graceful_stop_of_the_server() -> None:
    """A running call finishes, and no other one begins."""
    async with connected() as (channel, server), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def slow() -> None:
            assert await echo(channel, b"slow", metadata={"sleep": "0.5"}) == b"slow"

        await server.ask("until_sleeping")
        await server.ask("stop", grace=20)
        with pytest.raises(GRPCError) as caught:
            await echo_for_ever(channel)  # until the server has come to stop
        # Cancelled by C-core, if it was sent before we knew of the stop.
        assert caught.value.status in (Status.UNAVAILABLE, Status.CANCELLED)


@within(30)
async def test_connections_that_grow_old() -> None:
    """The server sends GOAWAY repeatedly; no call fails."""
    options = {"grpc.max_connection_age_ms": 200, "grpc.max_connection_age_grace_ms": 10_000}
    async with connected(options=options) as (channel, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def long_call() -> None:
            assert await echo(channel, b"long", metadata={"sleep": "1"}) == b"long"

        async def call_until_renewed() -> None:
            while channel.statistics().connections_made < 5:
                assert await echo(channel) == b"x"

        for _ in range(10):
            nursery.start_soon(call_until_renewed)
    assert channel.statistics().calls_failed == 0


@within(30)
async def test_keepalive_notices_a_server_that_hangs() -> None:
    async with connected(keepalive_interval=0.2, keepalive_timeout=0.2) as (channel, server):
        assert await echo(channel) == b"x"
        server.send_signal(signal.SIGSTOP)
        began = trio.current_time()
        with pytest.raises(GRPCError) as caught:
            await echo(channel)
        assert caught.value.status is Status.UNAVAILABLE
        assert trio.current_time() - began < 2


@within(30)
async def test_keepalive_leaves_a_quiet_call_alone() -> None:
    """Both sides send pings, more than either would accept without a call."""
    options = {
        "grpc.http2.min_recv_ping_interval_without_data_ms": 10,
        "grpc.keepalive_time_ms": 50,
        "grpc.keepalive_timeout_ms": 1000,
        "grpc.http2.max_pings_without_data": 0,
    }
    async with connected(options=options, keepalive_interval=0.05) as (channel, _):
        assert await echo(channel, metadata={"sleep": "1"}) == b"x"
        assert channel.statistics().connections_made == 1


@within(30)
async def test_gzip() -> None:
    """Both sides compress their messages."""
    async with connected(gzip=True, compression="gzip") as (channel, _):
        message = b"a" * 100_000
        assert await echo(channel, message) == message
        assert channel.statistics().bytes_received < 50_000
        assert channel.statistics().bytes_sent < 50_000
        async with call(channel, "Repeat", metadata={"count": "10"}) as repeat:
            await repeat.send_message(message)
            assert [reply async for reply in repeat] == [message] * 10
