"""Messages that are sent with gzip."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
from h2.events import DataReceived, RequestReceived, ResponseReceived, StreamEnded, TrailersReceived
from trio.testing import MockClock

from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.greeting import Greeter, serve
from tests.helpers.http2_peer import REQUEST, Peer, frame, hello, played_client, played_server
from trio_dispatch.grpc import (
    Channel,
    Compression,
    GRPCError,
    Server,
    Status,
    current_call,
    open_call,
    open_channel,
)
from trio_dispatch.grpc._framing import frame_compressed

LONG = "x" * 5000
INVALID: Any = "deflate"


def messages_in(data: bytes) -> list[tuple[bool, bytes]]:
    """Whether each message is compressed, and its content."""
    found = []
    while data:
        compressed, length = struct.unpack_from(">BI", data)
        payload, data = data[5 : 5 + length], data[5 + length :]
        found.append((bool(compressed), gzip.decompress(payload) if compressed else payload))
    return found


def as_text(headers: Any) -> dict[str, str]:
    return dict(headers)


async def whole_request(peer: Peer) -> tuple[dict[str, str], list[tuple[bool, bytes]]]:
    headers = as_text((await peer.expect(RequestReceived)).headers)
    data = b""
    while True:
        await peer.flush()
        while not peer.events:
            await peer.receive()
        event = peer.events.pop(0)
        if isinstance(event, DataReceived):
            data += event.data
            peer.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            assert event.stream_id is not None
            await peer.respond(event.stream_id, hello("done"))
            return headers, messages_in(data)


async def sent_by(
    make: Callable[[Channel], Awaitable[Any]], **options: Any
) -> tuple[dict[str, str], list[tuple[bool, bytes]]]:
    """What a call to a server that takes everything has sent."""
    async with played_server(**options) as (channel, server), trio.open_nursery() as nursery:
        nursery.start_soon(make, channel)
        return await whole_request(await server.connections.receive())


def say(
    *names: str, compression: Compression | None = None
) -> Callable[[Channel], Awaitable[object]]:
    async def make(channel: Channel) -> None:
        call = open_call(GreeterStub(channel).greet_all, compression=compression)
        async with call:
            for number, name in enumerate(names, 1):
                await call.send_message(HelloRequest(name=name), end=number == len(names))
            await call.recv_message()

    return make


@pytest.mark.parametrize("channel", ["gzip", "identity"])
@pytest.mark.parametrize("call", ["gzip", "identity", None])
async def test_the_call_decides_then_the_channel(channel: str, call: Compression | None) -> None:
    headers, messages = await sent_by(say(LONG, compression=call), compression=channel)
    expected = call or channel
    assert headers.get("grpc-encoding", "identity") == expected
    assert messages == [(expected == "gzip", bytes(HelloRequest(name=LONG)))]


async def test_the_default_is_no_compression() -> None:
    headers, [(compressed, _)] = await sent_by(say(LONG))
    assert "grpc-encoding" not in headers
    assert not compressed


async def test_only_what_becomes_shorter_is_compressed() -> None:
    names = ("short", LONG, "", "y" * 200_000)
    headers, messages = await sent_by(say(*names), compression="gzip")
    assert headers["grpc-encoding"] == "gzip"
    assert [compressed for compressed, _ in messages] == [False, True, False, True]
    assert [content for _, content in messages] == [bytes(HelloRequest(name=n)) for n in names]


def test_a_message_that_becomes_longer_is_not_compressed() -> None:
    noise = random.Random(0).randbytes(5000)
    assert messages_in(frame_compressed(noise)) == [(False, noise)]


async def test_message_by_message() -> None:
    async def make(channel: Channel) -> None:
        async with open_call(GreeterStub(channel).greet_all, compression="gzip") as call:
            await call.send_message(HelloRequest(name=LONG))
            call.compression = "identity"
            await call.send_message(HelloRequest(name=LONG))
            call.compression = "gzip"
            await call.send_message(HelloRequest(name=LONG), end=True)
            await call.recv_message()

    _, messages = await sent_by(make)
    assert [compressed for compressed, _ in messages] == [True, False, True]


async def test_a_request_that_has_not_announced_it_is_not_compressed() -> None:
    async def make(channel: Channel) -> None:
        async with open_call(GreeterStub(channel).greet_all) as call:
            await call.send_message(HelloRequest(name=LONG))
            call.compression = "gzip"
            await call.send_message(HelloRequest(name=LONG), end=True)
            await call.recv_message()

    headers, messages = await sent_by(make)
    assert "grpc-encoding" not in headers
    assert [compressed for compressed, _ in messages] == [False, False]


async def test_a_server_that_does_not_support_it() -> None:
    async with played_server(compression="gzip") as (channel, server):
        errors: list[GRPCError] = []

        async def make() -> None:
            with pytest.raises(GRPCError) as caught:
                await GreeterStub(channel).say_hello(HelloRequest(name=LONG))
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(make)
            peer = await server.connections.receive()
            trailers = [("grpc-status", "12"), ("grpc-accept-encoding", "identity")]
            await peer.respond(await peer.request(), trailers=trailers)
    assert errors[0].status is Status.UNIMPLEMENTED


# The server.


class Long(Greeter):
    """Replies at length, and compresses as the request's name says."""

    async def say_hello(self, message: HelloRequest) -> HelloReply:
        match message.name.split(":"):
            case ["fail", _]:
                return await super().say_hello(message)
            case ["short"]:
                return HelloReply(message="short")
            case ["gzip" | "identity" as compression]:
                current_call().compression = compression
        return HelloReply(message=LONG)

    async def say_hellos(self, message: HelloRequest) -> AsyncIterator[HelloReply]:
        yield HelloReply(message=LONG)
        current_call().compression = "identity"
        yield HelloReply(message=LONG)
        current_call().compression = "gzip"
        yield HelloReply(message=LONG)


async def reply(
    server: Server, name: str, *, accept: str | None = "gzip", method: str = "SayHello"
) -> tuple[dict[str, str], list[tuple[bool, bytes]]]:
    """The headers and the messages of the response."""
    headers = [*REQUEST]
    headers[2] = (":path", f"/greeter.v1.Greeter/{method}")
    if accept is not None:
        headers.append(("grpc-accept-encoding", accept))
    async with trio.open_nursery() as nursery:
        peer = await played_client(server, nursery)
        peer.h2.send_headers(1, headers)
        peer.h2.send_data(1, hello(name), end_stream=True)
        got: dict[str, str] = {}
        data = b""
        while "grpc-status" not in got:
            await peer.flush()
            while not peer.events:
                await peer.receive()
            event = peer.events.pop(0)
            if isinstance(event, ResponseReceived | TrailersReceived):
                got |= as_text(event.headers)
            elif isinstance(event, DataReceived):
                data += event.data
        nursery.cancel_scope.cancel()
    return got, messages_in(data)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("gzip", True),
        ("identity, deflate, gzip", True),
        ("identity,deflate", False),
        ("", False),
        (None, False),
        ("gzipped", False),
    ],
)
async def test_a_reply_is_compressed_if_the_client_accepts_that(
    accept: str | None, expected: bool
) -> None:
    headers, messages = await reply(Server([Long()], compression="gzip"), "x", accept=accept)
    assert headers.get("grpc-encoding") == ("gzip" if expected else None)
    assert messages == [(expected, bytes(HelloReply(message=LONG)))]


async def test_replies_are_not_compressed_by_default() -> None:
    headers, [(compressed, _)] = await reply(Server([Long()]), "x")
    assert "grpc-encoding" not in headers
    assert not compressed


@pytest.mark.parametrize("server", ["gzip", "identity"])
@pytest.mark.parametrize("handler", ["gzip", "identity"])
async def test_the_handler_decides(server: Compression, handler: Compression) -> None:
    headers, [(compressed, _)] = await reply(Server([Long()], compression=server), handler)
    assert headers.get("grpc-encoding", "identity") == handler
    assert compressed == (handler == "gzip")


async def test_a_short_reply_is_not_compressed() -> None:
    _, messages = await reply(Server([Long()], compression="gzip"), "short")
    assert messages == [(False, bytes(HelloReply(message="short")))]


async def test_replies_one_by_one() -> None:
    server = Server([Long()], compression="gzip")
    _, messages = await reply(server, "x", method="SayHellos")
    assert [compressed for compressed, _ in messages] == [True, False, True]
    _, messages = await reply(Server([Long()]), "x", method="SayHellos")
    assert [compressed for compressed, _ in messages] == [False, False, False]


async def test_an_error_announces_no_encoding() -> None:
    headers, messages = await reply(Server([Long()], compression="gzip"), "fail:ABORTED")
    assert headers["grpc-status"] == "10"
    assert "grpc-encoding" not in headers
    assert messages == []


# Both.


async def test_long_messages_in_both_directions(autojump_clock: MockClock) -> None:
    server = Server([Greeter()], compression="gzip")
    async with serve(server, compression="gzip") as channel:
        for length in (1000, 10_000, 100_000, 3_000_000):
            name = "x" * length
            made = await GreeterStub(channel).say_hello(HelloRequest(name=name))
            assert made.message == f"Hello {name}"
        statistics = channel.statistics()
    assert statistics.bytes_sent < 10_000
    assert statistics.bytes_received < 10_000


async def test_a_compressed_request_counts_by_its_length_when_it_is_not() -> None:
    server = Server([Greeter()], max_message_size=50_000)
    async with serve(server, compression="gzip") as channel:
        with pytest.raises(GRPCError, match="RESOURCE_EXHAUSTED"):
            await GreeterStub(channel).say_hello(HelloRequest(name="x" * 60_000))


async def test_an_unknown_compression_is_an_error() -> None:
    with pytest.raises(ValueError, match="'deflate'"):
        Server([], compression=INVALID)
    async with serve(Server([])) as channel:
        with pytest.raises(ValueError, match="'deflate'"):
            open_call(GreeterStub(channel).say_hello, HelloRequest(), compression=INVALID)
    with pytest.raises(ValueError, match="'deflate'"):
        async with open_channel("grpc://localhost", compression=INVALID):
            pass


def test_the_helper_reads_what_is_not_compressed() -> None:
    assert messages_in(frame(b"abc") + frame(gzip.compress(b"d"), True)) == [
        (False, b"abc"),
        (True, b"d"),
    ]
