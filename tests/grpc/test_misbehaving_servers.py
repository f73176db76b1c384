"""The misbehaving servers of gRPC's interoperability tests, and our client.

They are those of ``doc/negative-http2-interop-test-descriptions.md`` of gRPC.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from h2.errors import ErrorCodes
from h2.events import Event, PingAckReceived, RequestReceived, StreamEnded

from tests.helpers.conformance import wire
from tests.helpers.greeter import GreeterStub, HelloRequest
from tests.helpers.http2_peer import OK, RESPONSE, Peer, PlayedServer, frame, played_server
from trio_dispatch.grpc import GRPCError, Status

REQUEST = HelloRequest(name="x" * 271_828)
TEXT = "y" * 1024
REPLY = frame(b"\x0a\x80\x08" + TEXT.encode())


@asynccontextmanager
async def misbehaving_server(**settings: int) -> AsyncIterator[tuple[GreeterStub, PlayedServer]]:
    async with played_server(settings={"INITIAL_WINDOW_SIZE": 2**20, **settings}) as (
        channel,
        server,
    ):
        yield GreeterStub(channel), server


async def accept(server: PlayedServer) -> Peer:
    peer = await server.connections.receive()
    peer.h2.increment_flow_control_window(2**24)
    return peer


async def test_goaway(nursery: trio.Nursery) -> None:
    """A second call uses a new connection, without the caller having to do anything."""
    async with misbehaving_server() as (stub, server):

        @nursery.start_soon
        async def serve() -> None:
            peer = await accept(server)
            stream_id = await peer.request()
            # The GOAWAY comes while the call is under way; its reply still comes.
            await peer.send(wire.frame(wire.GOAWAY, 0, stream_id.to_bytes(4, "big") + bytes(4)))
            await peer.respond(stream_id, REPLY)
            second = await accept(server)
            await second.respond(await second.request(), REPLY)

        for _ in range(2):
            assert (await stub.say_hello(REQUEST)).message == TEXT


@pytest.mark.parametrize("part", ["after_header", "during_data", "after_data"])
async def test_rst(nursery: trio.Nursery, part: str) -> None:
    """RST_STREAM with NO_ERROR before the status: the call has failed."""
    async with misbehaving_server() as (stub, server):

        @nursery.start_soon
        async def serve() -> None:
            peer = await accept(server)
            stream_id = await peer.request()
            peer.h2.send_headers(stream_id, RESPONSE)
            size = {"after_header": 0, "during_data": len(REPLY) // 2, "after_data": len(REPLY)}
            if size[part]:
                peer.h2.send_data(stream_id, REPLY[: size[part]])
            peer.h2.reset_stream(stream_id, ErrorCodes.NO_ERROR)
            await peer.flush()

        with pytest.raises(GRPCError) as caught:
            await stub.say_hello(REQUEST)
        assert caught.value.status is not Status.OK


async def test_ping(nursery: trio.Nursery) -> None:
    """Each PING is acknowledged, whatever is sent between them."""
    async with misbehaving_server() as (stub, server):
        acknowledged: list[bytes] = []

        @nursery.start_soon
        async def serve() -> None:
            peer = await accept(server)
            stream_id = await peer.request()
            peer.h2.ping(bytes(8))
            peer.h2.send_headers(stream_id, RESPONSE)
            peer.h2.ping(bytes([1]) * 8)
            peer.h2.send_data(stream_id, REPLY)
            peer.h2.ping(bytes([2]) * 8)
            peer.h2.send_headers(stream_id, OK, end_stream=True)
            peer.h2.ping(bytes([3]) * 8)
            for _ in range(4):
                event = await peer.expect(PingAckReceived)
                acknowledged.append(event.ping_data)
            nursery.cancel_scope.cancel()

        assert (await stub.say_hello(REQUEST)).message == TEXT
        await trio.sleep_forever()
    assert acknowledged == [bytes([number]) * 8 for number in range(4)]


async def test_max_streams(nursery: trio.Nursery) -> None:
    """The client has no more streams open on a connection than the server allows."""
    most = 0

    async def serve(peer: Peer) -> None:
        nonlocal most
        is_open: set[int] = set()
        while not peer.closed:
            await peer.receive()
            events: list[Event] = [*peer.events]
            peer.events.clear()
            for event in events:
                if isinstance(event, RequestReceived):
                    is_open.add(event.stream_id)
                    most = max(most, len(is_open))
                elif isinstance(event, StreamEnded):
                    is_open.discard(event.stream_id)
                    await peer.respond(event.stream_id, REPLY)

    async with misbehaving_server(MAX_CONCURRENT_STREAMS=1) as (stub, server):

        @nursery.start_soon
        async def accept_all() -> None:
            while True:
                nursery.start_soon(serve, await accept(server))

        assert (await stub.say_hello(REQUEST)).message == TEXT
        async with trio.open_nursery() as calls:
            for _ in range(10):
                calls.start_soon(stub.say_hello, REQUEST)
        assert most == 1
        nursery.cancel_scope.cancel()
