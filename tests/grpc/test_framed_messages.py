"""Messages that are framed once and sent on many calls, also without waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
import trio
from grpclib.const import Handler
from grpclib.exceptions import ProtocolError
from h2.events import DataReceived, StreamEnded
from h2.settings import SettingCodes

from tests.helpers.greeter import HelloReply, HelloRequest
from tests.helpers.http2_peer import REQUEST, Peer, frame, hello, played_client
from trio_dispatch.grpc import Cardinality, Server, ServerStream, frame_messages

Serve = Callable[[ServerStream[HelloRequest, HelloReply]], Awaitable[None]]


class Streaming:
    """A service with one method."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve

    def __mapping__(self) -> dict[str, Handler]:
        return {
            "/greeter.v1.Greeter/SayHello": Handler(
                self._serve, Cardinality.UNARY_STREAM, HelloRequest, HelloReply
            )
        }


async def call(serve: Serve, nursery: trio.Nursery, **settings: int) -> Peer:
    """Make a call of this handler."""
    by_code: dict[SettingCodes, Any] = {SettingCodes[name]: settings[name] for name in settings}
    peer = await played_client(Server([Streaming(serve)]), nursery, settings=by_code)
    peer.h2.send_headers(1, REQUEST)
    peer.h2.send_data(1, hello("x"), end_stream=True)
    await peer.flush()
    return peer


async def received(peer: Peer) -> bytes:
    """The messages of the call, until it has ended."""
    data = b""
    while True:
        while peer.events:
            match peer.events.pop(0):
                case DataReceived(data=some):
                    assert some is not None
                    data += some
                case StreamEnded():
                    return data
        await peer.receive()


async def test_framed_messages_are_sent_in_order(nursery: trio.Nursery) -> None:
    """Long ones are divided into frames."""
    long = frame_messages([b"l" * 50_000])

    async def serve(stream: ServerStream[HelloRequest, HelloReply]) -> None:
        assert not stream.send_framed_nowait(long)
        await stream.send_framed(frame_messages([b"first", b"second"]))
        assert stream.send_framed_nowait(long)
        assert stream.send_framed_nowait(frame_messages([b"last"]))
        assert stream.messages_sent == 4

    peer = await call(serve, nursery)
    expected = [b"first", b"second", b"l" * 50_000, b"last"]
    assert await received(peer) == b"".join(map(frame, expected))


async def test_nothing_is_sent_without_room_in_the_window(nursery: trio.Nursery) -> None:
    async def serve(stream: ServerStream[HelloRequest, HelloReply]) -> None:
        await stream.send_initial_metadata()
        assert not stream.send_framed_nowait(frame_messages([bytes(100)]))
        assert stream.send_framed_nowait(frame_messages([bytes(10)]))
        async with trio.open_nursery() as sending:
            # It sends what the window permits, and waits with the rest.
            sending.start_soon(stream.send_framed, frame_messages([bytes(100)]))
            await trio.testing.wait_all_tasks_blocked()
            assert not stream.send_framed_nowait(frame_messages([b""]))
            window.set()

    window = trio.Event()
    peer = await call(serve, nursery, INITIAL_WINDOW_SIZE=100)
    await window.wait()
    peer.h2.increment_flow_control_window(1000, 1)
    await peer.flush()
    assert await received(peer) == frame(bytes(10)) + frame(bytes(100))


async def test_nothing_is_sent_when_the_call_has_ended(nursery: trio.Nursery) -> None:
    message = frame_messages([b"late"])

    async def serve(stream: ServerStream[HelloRequest, HelloReply]) -> None:
        await stream.send_initial_metadata()
        await stream.send_trailing_metadata()
        assert not stream.send_framed_nowait(message)
        with pytest.raises(ProtocolError, match="has ended"):
            await stream.send_framed(message)

    peer = await call(serve, nursery)
    assert await received(peer) == b""


async def test_other_tasks_run_after_16_messages(nursery: trio.Nursery) -> None:
    """A handler that never waits does not keep the others from running."""
    sent_before: list[int] = []

    async def serve(stream: ServerStream[HelloRequest, HelloReply]) -> None:
        async def look() -> None:
            while True:
                sent_before.append(stream.messages_sent)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as watching:
            watching.start_soon(look)
            for _ in range(100):
                await stream.send_framed(frame_messages([b"x"]))
            watching.cancel_scope.cancel()

    peer = await call(serve, nursery)
    assert await received(peer) == frame(b"x") * 100
    steps = {after - before for before, after in pairwise(sent_before)}
    # Trio runs the tasks of a step in any order.
    assert max(steps) in {16, 32}


async def test_messages_are_sent_while_the_handler_waits(nursery: trio.Nursery) -> None:
    """Also those after which no other task has run."""

    async def serve(stream: ServerStream[HelloRequest, HelloReply]) -> None:
        for _ in range(3):
            await stream.send_framed(frame_messages([b"x"]))
        await trio.sleep_forever()

    peer = await call(serve, nursery)
    data = b""
    while data != frame(b"x") * 3:
        await peer.receive()
        data = b"".join(e.data or b"" for e in peer.events if isinstance(e, DataReceived))
