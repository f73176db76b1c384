"""Clients that try to make a server slow, or use up its memory."""

from __future__ import annotations

import contextlib
import gzip
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes
from hyperframe.frame import (
    AltSvcFrame,
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.helpers.conformance import wire
from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.greeting import Greeter, memory_connector
from tests.helpers.http2_peer import REQUEST, Peer, frame, hello, played_client
from trio_dispatch.grpc import (
    GRPCError,
    Health,
    Limits,
    Proceed,
    Server,
    ServerStream,
    open_channel,
)
from trio_dispatch.grpc._framing import Message

MIB = 2**20
PATH = "/greeter.v1.Greeter/SayHello"


def request(path: str = PATH, *more: tuple[str, str]) -> Any:
    return [*REQUEST[:2], (":path", path), *REQUEST[3:], *more]


def texts(event: Any) -> dict[str, str]:
    """The headers of an event."""
    return dict(event.headers)


async def status_of(peer: Peer, stream_id: int) -> dict[str, str]:
    """The headers and trailers of a response, joined, until its status."""
    received: dict[str, str] = {}
    while "grpc-status" not in received:
        event = await peer.expect(ResponseReceived | TrailersReceived)  # type: ignore[arg-type]
        if event.stream_id == stream_id:
            received |= texts(event)
    return received


async def send(peer: Peer, stream_id: int, data: bytes, *, end: bool) -> int:
    """Send as much of the data as flow control allows; the number of bytes."""
    sent = 0
    while sent < len(data):
        size = min(peer.h2.local_flow_control_window(stream_id), 16_384, len(data) - sent)
        if not size:
            break
        last = sent + size == len(data)
        peer.h2.send_data(stream_id, data[sent : sent + size], end_stream=end and last)
        sent += size
    await peer.flush()
    return sent


async def test_a_long_name_is_not_echoed_in_full(nursery: trio.Nursery) -> None:
    peer = await played_client(Server([Greeter(), Health()]), nursery)
    name = b"x" * 4000
    data = frame(b"\x0a" + bytes([len(name) & 127 | 128, len(name) >> 7]) + name)
    peer.h2.send_headers(1, request("/grpc.health.v1.Health/Check"))
    peer.h2.send_data(1, data, end_stream=True)
    status = await status_of(peer, 1)
    assert status["grpc-status"] == "5"
    assert len(status["grpc-message"]) < 200
    peer.h2.send_headers(3, request("/" + "y" * 10_000))
    peer.h2.end_stream(3)
    assert len((await status_of(peer, 3))["grpc-message"]) < 1100


async def test_health_checks_are_short(nursery: trio.Nursery) -> None:
    peer = await played_client(Server([Health()]), nursery)
    peer.h2.send_headers(1, request("/grpc.health.v1.Health/Check"))
    peer.h2.send_data(1, frame(bytes(5000))[:100])
    assert (await status_of(peer, 1))["grpc-status"] == "8"


async def test_a_request_is_refused_before_its_message_comes(nursery: trio.Nursery) -> None:
    async def refuse(call: ServerStream[Any, Any], proceed: Proceed) -> None:
        if "key" not in call.metadata:
            call.max_request_size = 100
        await proceed()

    peer = await played_client(Server([Greeter()], interceptors=[refuse]), nursery)
    peer.h2.send_headers(1, request())
    peer.h2.send_data(1, frame(bytes(101))[:50])
    assert (await status_of(peer, 1))["grpc-status"] == "8"
    peer.h2.send_headers(3, request(PATH, ("key", "x")))
    peer.h2.send_data(3, hello("x" * 120), end_stream=True)
    assert (await status_of(peer, 3))["grpc-status"] == "0"


async def test_half_sent_requests_wait_for_memory(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Their memory is bounded; they fail after a time; short calls go on meanwhile."""
    server = Server([Greeter()], limits=Limits(unfinished_requests=32 * MIB))
    peer = await played_client(server, nursery)
    message = frame(bytes(3 * MIB))[:-1]
    sent = dict.fromkeys(range(1, 100, 2), 0)
    for stream_id in sent:
        peer.h2.send_headers(stream_id, request())
    for _ in range(3):
        for stream_id in sent:
            sent[stream_id] += await send(peer, stream_id, message[sent[stream_id] :], end=False)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.1):
            while True:
                await peer.receive()
    (connection,) = server._connections
    held = sum(stream.messages.size for stream in connection.streams.values())
    assert held < 12 * MIB
    assert server._service.unfinished_requests.reserved <= 8 * MIB
    async with open_channel(memory_connector(server, nursery)) as channel:
        await GreeterStub(channel).say_hello(HelloRequest(name="x"))
        await GreeterStub(channel).say_hello(HelloRequest(name="x" * MIB))
    await trio.sleep(130)
    assert (await status_of(peer, 1))["grpc-status"] == "4"
    assert server.statistics().calls_running == 0
    assert server._service.unfinished_requests.reserved == 0


class Terse(Greeter):
    """Replies with a short message, however long the request is."""

    async def say_hello(self, message: HelloRequest) -> HelloReply:
        return HelloReply(message="Hello")


async def test_long_requests_that_wait_for_memory_succeed(nursery: trio.Nursery) -> None:
    # Long replies that the client has not read yet would meet a limit of their own.
    server = Server([Terse()], limits=Limits(unfinished_requests=1))
    async with open_channel(memory_connector(server, nursery), max_message_size=2**30) as channel:
        stub = GreeterStub(channel)
        async with trio.open_nursery() as calls:
            for _ in range(20):
                calls.start_soon(stub.say_hello, HelloRequest(name="x" * 2 * MIB))
        assert channel.statistics().calls_succeeded == 20


class Talkative(Greeter):
    """Replies with a long message."""

    async def say_hello(self, message: HelloRequest) -> HelloReply:
        return HelloReply(message="x" * MIB)

    async def say_hellos(self, message: HelloRequest) -> AsyncIterator[HelloReply]:
        while True:
            yield HelloReply(message="x" * MIB)


@pytest.mark.parametrize("method", ["SayHello", "SayHellos"])
async def test_unread_replies_are_bounded_and_time_out(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, method: str
) -> None:
    server = Server([Talkative()], limits=Limits(unread_replies=16 * MIB))
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
    peers = [await played_client(server, nursery, settings=settings) for _ in range(3)]
    for peer in peers:
        for stream_id in range(1, 60, 2):
            peer.h2.send_headers(stream_id, request(f"/greeter.v1.Greeter/{method}"))
            peer.h2.send_data(stream_id, hello("x"), end_stream=True)
        await peer.flush()
    await trio.testing.wait_all_tasks_blocked()
    assert server._service.unread_replies.reserved <= 16 * MIB
    assert server.statistics().calls_running <= 15
    refused = peers[0]
    for _ in range(20):
        await refused.receive()
    headers = [texts(event) for event in refused.events if isinstance(event, TrailersReceived)]
    assert "8" in {fields["grpc-status"] for fields in headers}
    await trio.sleep(31)
    assert server.statistics().calls_running == 0
    assert server._service.unread_replies.reserved == 0


def test_the_error_of_a_gzip_bomb_does_not_keep_what_was_inflated() -> None:
    message = Message(gzip.compress(bytes(10_000)), "gzip", limit=5_000)
    with pytest.raises(GRPCError, match="5000") as caught:
        message.content()
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    kept = [value for frame in frames for value in frame.f_locals.values()]
    assert all(len(value) < 5_000 for value in kept if isinstance(value, bytes))


async def test_a_gzip_bomb_is_not_inflated(nursery: trio.Nursery) -> None:
    peer = await played_client(Server([Greeter(), Health()]), nursery)
    bomb = frame(gzip.compress(b"\x10\x00" * 2 * MIB), compressed=True)
    gzipped = ("grpc-encoding", "gzip")
    for stream_id, path in ((1, "/grpc.health.v1.Health/Check"), (3, PATH)):
        peer.h2.send_headers(stream_id, request(path, gzipped))
        peer.h2.send_data(stream_id, bomb, end_stream=True)
        status = await status_of(peer, stream_id)
        assert status["grpc-status"] in {"8", "13"}
        assert "elements" in status["grpc-message"] or "limit is 4096" in status["grpc-message"]


async def test_requests_with_many_elements_are_refused_while_others_are_served(
    nursery: trio.Nursery,
) -> None:
    server = Server([Greeter()], limits=Limits(message_elements=1000))
    peer = await played_client(server, nursery)
    for stream_id, count in ((1, 1000), (3, 1001)):
        peer.h2.send_headers(stream_id, request())
        await send(peer, stream_id, frame(b"\x10\x00" * count + bytes([0x0A, 0]) * 2000), end=True)
        status = await status_of(peer, stream_id)
        assert ("too many elements" in status.get("grpc-message", "")) == (count > 1000)


# Floods.


def frames(part: Frame, count: int) -> bytes:
    return part.serialize() * count


FLOODS = {
    "settings acknowledgements": frames(SettingsFrame(0, flags=["ACK"]), 3600),
    "ping acknowledgements": frames(PingFrame(0, bytes(8), flags=["ACK"]), 1900),
    "window updates": frames(WindowUpdateFrame(0, window_increment=1), 2500),
    "window updates of a stream": frames(WindowUpdateFrame(1, window_increment=1), 2500),
    "goaways": frames(GoAwayFrame(0, 1), 1900),
    "altsvc": frames(AltSvcFrame(0, b"", b"xy"), 2000),
    "small data": frames(DataFrame(1, b"\0"), 20_000),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_every_kind_of_frame_is_counted(
    nursery: trio.Nursery,
    name: str,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server([Greeter()])
    peer = await played_client(server, nursery)
    peer.h2.send_headers(1, request("/greeter.v1.Greeter/GreetAll"))
    # The beginning of a long message.
    peer.h2.send_data(1, frame(bytes(100_000))[:100])
    await peer.flush()
    with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
        for _ in range(10):
            await peer.stream.send_all(FLOODS[name])
            await trio.sleep(1)
    assert server.statistics().connections == 0
    assert "connection closed" in caplog.text


# Each makes the server reset a stream (CVE-2025-8671).
BLOCK = wire.block(REQUEST)
RESETS: dict[str, Callable[[int], bytes]] = {
    "resets of the client": lambda n: wire.headers(n, BLOCK) + wire.reset(n),
    "window overflow": lambda n: wire.headers(n, BLOCK) + wire.window_update(n, 2**31 - 1),
    "increment of zero": lambda n: wire.headers(n, BLOCK) + wire.window_update(n, 0),
    "data after the end": lambda n: wire.headers(n, BLOCK, end=True) + wire.data(n, b"x"),
    "headers after the end": lambda n: wire.headers(n, BLOCK, end=True) + wire.headers(n, BLOCK),
    "malformed request": lambda n: wire.headers(n, BLOCK + wire.literal("connection", "x")),
    "malformed trailers": lambda n: wire.headers(n, BLOCK) + wire.headers(n, b"\x82", end=True),
    "wrong content-length": lambda n: wire.headers(
        n, BLOCK + wire.literal("content-length", "1"), end=True
    ),
    "short priority": lambda n: wire.headers(n, BLOCK) + wire.frame(wire.PRIORITY, n, b"x"),
}


@pytest.mark.parametrize("name", RESETS)
async def test_every_reset_that_the_client_causes_is_counted(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, name: str
) -> None:
    greeter = Greeter()
    peer = await played_client(Server([greeter]), nursery)
    with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
        for stream_id in range(1, 2000, 2):
            await peer.stream.send_all(RESETS[name](stream_id))
            await trio.sleep(0.001)
    assert 400 < stream_id < 1000
    assert greeter.running == 0


async def test_data_on_a_stream_that_was_reset_is_counted(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    peer = await played_client(Server([Greeter()]), nursery)
    await peer.send(wire.headers(1, BLOCK + wire.literal("connection", "x")))
    with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
        for _ in range(2000):
            await peer.stream.send_all(wire.data(1, b"x") * 10)
            await trio.sleep(0.001)


async def test_window_updates_of_a_client_that_reads_are_not_limited(
    nursery: trio.Nursery,
) -> None:
    server = Server([Greeter()], limits=Limits(window_updates=0))
    peer = await played_client(server, nursery)
    peer.h2.send_headers(1, request("/greeter.v1.Greeter/SayHellos"))
    peer.h2.send_data(1, hello("count:3000"), end_stream=True)
    updates = b"".join(frames(WindowUpdateFrame(n, window_increment=100), 1) for n in (0, 1, 1))
    received: list[Event] = []
    while not any(isinstance(event, TrailersReceived) for event in received):
        await peer.receive()
        received += peer.events
        assert not any(isinstance(event, ConnectionTerminated) for event in received)
        await peer.send(updates * sum(isinstance(event, DataReceived) for event in peer.events))
        peer.events.clear()


async def test_header_blocks_are_bounded_before_they_are_complete(nursery: trio.Nursery) -> None:
    peer = await played_client(Server([Greeter()]), nursery)
    parts: list[Frame] = [HeadersFrame(1, bytes(16_000))]
    parts.append(ContinuationFrame(1, bytes(1000)))
    await peer.send(b"".join(part.serialize() for part in parts))
    assert (await peer.goaway()).error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_other_tasks_run_between_the_frames_of_a_read(nursery: trio.Nursery) -> None:
    server = Server([Greeter()], limits=Limits(resets=1e9))
    peer = await played_client(server, nursery)
    for _ in range(600):
        stream_id = peer.h2.get_next_available_stream_id()
        peer.h2.send_headers(stream_id, request())
        peer.h2.reset_stream(stream_id)
    data = peer.h2.data_to_send()
    assert len(data) < 32_768
    await peer.stream.send_all(data)
    handled = []
    (connection,) = server._connections
    while connection.h2.highest_inbound_stream_id < 1199:
        handled.append(connection.h2.highest_inbound_stream_id)
        await trio.lowlevel.checkpoint()
    steps = [later - earlier for earlier, later in pairwise(handled)]
    # The connection may run twice between two runs of this task.
    assert max(steps) <= 400


# Connections.


async def test_connections_beyond_the_limit_are_closed_at_once(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server([Greeter()], limits=Limits(connections=2))
    peers = [await played_client(server, nursery) for _ in range(2)]
    for _ in range(3):
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        assert await ours.receive_some() == b""
    assert server.statistics().connections_refused == 3
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1
    await peers[0].stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    await played_client(server, nursery)


async def test_calls_beyond_the_limit_leave_some_to_every_connection(
    nursery: trio.Nursery,
) -> None:
    greeter = Greeter()
    server = Server([greeter], limits=Limits(calls=20))
    hog = await played_client(server, nursery)
    for stream_id in range(1, 80, 2):
        hog.h2.send_headers(stream_id, request())
        hog.h2.send_data(stream_id, hello("sleep:inf"), end_stream=True)
    event = await hog.expect(StreamReset)
    assert event.error_code == ErrorCodes.REFUSED_STREAM
    await trio.testing.wait_all_tasks_blocked()
    assert greeter.running == 20
    async with open_channel(memory_connector(server, nursery)) as channel:
        await GreeterStub(channel).say_hello(HelloRequest(name="x"))
    assert server.statistics().calls_refused == 20


async def test_calls_that_do_not_finish_their_message_leave_some_to_every_connection(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server([Greeter()], limits=Limits(unfinished_calls=20))
    slow = [await played_client(server, nursery) for _ in range(2)]
    for peer in slow:
        for stream_id in range(1, 100, 2):
            await peer.send(wire.headers(stream_id, BLOCK) + wire.data(stream_id, b"\0\0"))
        await trio.sleep(5)  # refused calls have to keep to the pace
    assert server.statistics().calls_running == 25
    async with open_channel(memory_connector(server, nursery)) as channel:
        for _ in range(10):
            await GreeterStub(channel).say_hello(HelloRequest(name="x"))
    for peer in slow:
        await peer.stream.aclose()
    await trio.sleep(5)
    assert not server._service.unfinished


# Turns.


async def test_a_call_does_not_wait_for_the_frames_of_others(nursery: trio.Nursery) -> None:
    """Connections with hundreds of frames handle a few of them, then it is the turn of others."""
    server = Server([Greeter()], limits=Limits(resets=1e9, free_work=1e9))
    flood = b"".join(wire.headers(n, BLOCK) + wire.reset(n) for n in range(1, 200, 2))
    transports = []
    for _ in range(10):
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        await ours.send_all(wire.PREFACE + wire.settings())
        transports.append(theirs)
    async with open_channel(memory_connector(server, nursery)) as channel:
        await GreeterStub(channel).say_hello(HelloRequest(name="before"))
        for transport in transports:
            transport.receive_stream.put_data(flood)
        await GreeterStub(channel).say_hello(HelloRequest(name="during"))
        connections = [c for c in server._connections if c.h2.highest_inbound_stream_id > 1]
        handled = [connection.h2.highest_inbound_stream_id for connection in connections]
        # Without turns it would be all ten connections' 199.
        assert sum(handled) < 1500
        await trio.testing.wait_all_tasks_blocked()
    assert server.statistics().calls_started == 1002


async def test_frames_without_use_share_a_part_of_the_time(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Beyond what is free for each of them, connections wait, and one that waits again is ended."""
    server = Server([Greeter()])
    peers = [await played_client(server, nursery) for _ in range(5)]
    began = trio.current_time()
    for peer in peers:
        await peer.stream.send_all(wire.frame(wire.UNKNOWN) * 400)
    await trio.sleep(0.01)
    # How far ahead of the pace they are depends on the order of their turns.
    assert server._service.pace.delay(0) > 0
    async with open_channel(memory_connector(server, nursery)) as channel:
        await GreeterStub(channel).say_hello(HelloRequest(name="x"))
        assert trio.current_time() - began < 0.02
    for _ in range(20):
        for peer in peers:
            with contextlib.suppress(trio.BrokenResourceError):
                await peer.stream.send_all(wire.frame(wire.UNKNOWN) * 400)
        await trio.sleep(0.1)
    assert server.statistics().connections == 0


# Clients that do not read.


async def deaf_client(server: Server, nursery: trio.Nursery) -> Peer:
    """Open a connection on which the client reads nothing after the server's settings."""
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(server.serve_stream, theirs)
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1}
    peer = Peer(ours, client_side=True, settings=settings)
    await peer.send(wire.window_update(0, 2**31 - 1 - 65_535))
    await trio.testing.wait_all_tasks_blocked()
    theirs.send_stream.send_all_hook = trio.sleep_forever
    return peer


async def test_no_replies_are_made_for_a_client_that_does_not_read(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server([Talkative()])
    peer = await deaf_client(server, nursery)
    for first in range(1, 41, 10):
        for stream_id in range(first, first + 10, 2):
            await peer.send(request_bytes(stream_id))
        await trio.testing.wait_all_tasks_blocked()
    # The replies of the first ones wait, the others have not begun.
    (connection,) = server._connections
    assert len(connection.calls) == 20
    assert server._service.unread_replies.reserved <= 5 * MIB + 50
    await trio.sleep(31)
    await peer.send(wire.ping())
    await trio.sleep(1.1)
    assert server.statistics().connections == 0
    assert server._service.unread_replies.reserved == 0


async def test_a_reply_that_never_had_room_ends_with_headers_of_its_own(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Its deadline passes while other replies fill the connection."""
    server = Server([Talkative()])
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(server.serve_stream, theirs)
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1}
    peer = Peer(ours, client_side=True, settings=settings)
    peer.h2.increment_flow_control_window(2**31 - 1 - 65_535)
    await peer.flush()
    await trio.testing.wait_all_tasks_blocked()
    reading = trio.Event()

    async def read() -> None:
        await reading.wait()
        trio.testing.memory_stream_pump(theirs.send_stream, ours.receive_stream)

    theirs.send_stream.send_all_hook = read
    # The first reply is being written, and the second one waits to be.
    for stream_id, more in ((1, ()), (3, ()), (5, [("grpc-timeout", "1S")])):
        peer.h2.send_headers(stream_id, request(PATH, *more))
        peer.h2.send_data(stream_id, hello("x"), end_stream=True)
        await peer.flush()
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(2)
    reading.set()
    status = await status_of(peer, 5)
    assert (status[":status"], status["grpc-status"]) == ("200", "4")


def request_bytes(stream_id: int, *more: tuple[str, str]) -> bytes:
    block = wire.block([*REQUEST, *more])
    return wire.headers(stream_id, block) + wire.data(stream_id, hello("x"), end=True)


async def test_a_peer_cannot_make_a_connection_keep_more_than_its_own_limits(
    nursery: trio.Nursery,
) -> None:
    """The compression table, the frames, and what is known of streams that were closed."""
    server = Server([Greeter()], limits=Limits(resets=1e9, free_work=1e9))
    settings = {
        SettingCodes.HEADER_TABLE_SIZE: 2**32 - 1,
        SettingCodes.MAX_FRAME_SIZE: 2**24 - 1,
        SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1,
    }
    peer = await played_client(server, nursery, settings=settings)
    for stream_id in range(1, 2201, 2):
        await peer.stream.send_all(wire.headers(stream_id, BLOCK) + wire.reset(stream_id))
        await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked()
    (connection,) = server._connections
    assert connection.h2.encoder.header_table_size == 4096
    assert len(connection.h2._closed_streams) <= 1000
    assert not connection.h2.streams


# Metadata.


async def test_metadata_is_never_indexed_and_never_logged(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = Server([Greeter()])
    async with open_channel(memory_connector(server, nursery)) as channel:
        stub = GreeterStub(channel)
        for _ in range(3):
            await stub.say_hello(HelloRequest(name="x"), metadata={"key": "secret-1"})
            await stub.say_hello(HelloRequest(name="x"), metadata={"sig": "secret-2"})
        (connection,) = channel._pool.connections
        entries = connection.h2.encoder.header_table.dynamic_entries
        assert {b"key", b"sig"}.isdisjoint(name for name, _ in entries)
    assert "secret" not in caplog.text
    server.stop(grace=0)


async def test_a_handler_may_set_trailing_metadata(nursery: trio.Nursery) -> None:
    from trio_dispatch.grpc import GRPCError, Status, current_call, open_call

    class Priced(Greeter):
        async def say_hello(self, message: HelloRequest) -> HelloReply:
            current_call().set_trailing_metadata({"cost": "1"})
            if not message.name:
                raise GRPCError(Status.ABORTED, "no name")
            return HelloReply()

    async with open_channel(memory_connector(Server([Priced()]), nursery)) as channel:
        for name in ("x", ""):
            call = open_call(GreeterStub(channel).say_hello, HelloRequest(name=name))
            try:
                async with call:
                    await call.recv_message()
            except GRPCError:
                assert not name
            assert call.trailing_metadata == {"cost": "1"}
