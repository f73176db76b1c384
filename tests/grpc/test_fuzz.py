"""Random bytes, random frames and damaged recordings, for the server and for the client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
import trio
import trio.testing
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.effort import cases
from tests.helpers.greeter import GreeterStub, HelloRequest
from tests.helpers.greeting import Greeter, memory_connector
from tests.helpers.http2_peer import OK, REQUEST, RESPONSE, hello, played_server
from trio_dispatch.grpc import GRPCError, Server, open_channel

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
fuzzed = settings(max_examples=cases(40, long=1000))

streams = st.sampled_from([1, 1, 1, 3, 3, 5, 2, 7, 2**31 - 1])
small = st.binary(max_size=40)
blocks = (
    st.sampled_from(
        [
            Encoder().encode(headers)
            for headers in (REQUEST, RESPONSE, OK, [*RESPONSE, *OK], [(":status", "100")], [])
        ]
    )
    | small
)
codes = st.integers(0, 20) | st.integers(0, 2**32 - 1)


def flags(*names: str) -> st.SearchStrategy[Any]:
    return st.lists(st.sampled_from(names), unique=True)


ends = flags("END_STREAM", "END_HEADERS")
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(HeadersFrame, streams, blocks, flags=ends),
    st.builds(HeadersFrame, streams, blocks, flags=st.just(["END_HEADERS"])),
    st.builds(ContinuationFrame, streams, blocks, flags=flags("END_HEADERS")),
    st.builds(
        DataFrame,
        streams,
        small | st.sampled_from([hello("x"), hello("count:9")]),
        flags=flags("END_STREAM"),
    ),
    st.builds(RstStreamFrame, streams, codes),
    st.builds(
        SettingsFrame,
        st.just(0),
        st.dictionaries(st.integers(0, 10), st.integers(0, 2**32 - 1), max_size=3),
    ),
    st.builds(SettingsFrame, st.just(0), flags=st.just(["ACK"])),
    st.builds(PingFrame, st.just(0), st.binary(min_size=8, max_size=8), flags=flags("ACK")),
    st.builds(GoAwayFrame, st.just(0), streams, codes, small),
    st.builds(WindowUpdateFrame, st.just(0) | streams, st.integers(1, 2**31 - 1)),
    st.builds(PriorityFrame, streams, streams),
    st.builds(
        PushPromiseFrame, streams, st.sampled_from([2, 4]), blocks, flags=flags("END_HEADERS")
    ),
)
sequences = st.lists(frames, max_size=25).map(
    lambda parts: b"".join(part.serialize() for part in parts)
)


def damaged(recording: bytes) -> st.SearchStrategy[bytes]:
    """The recording with some bytes changed, removed or inserted."""
    change = st.tuples(st.integers(0, len(recording)), st.integers(0, 20), st.binary(max_size=20))

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        data = recording
        for at, skip, insert in changes:
            data = data[:at] + insert + data[at + skip :]
        return data

    return st.lists(change, min_size=1, max_size=4).map(apply)


@cache
def recordings() -> tuple[bytes, bytes]:
    """The bytes that a client sends in a short session, and those of the server."""
    said: tuple[bytearray, bytearray] = (bytearray(), bytearray())

    async def record() -> None:
        server = Server([Greeter()])
        async with trio.open_nursery() as nursery:
            connect = memory_connector(server, nursery)

            async def recorded() -> trio.abc.Stream:
                stream: Any = await connect()
                send, receive = stream.send_all, stream.receive_some

                async def send_all(data: bytes) -> None:
                    said[0].extend(data)
                    await send(data)

                async def receive_some(size: int | None = None) -> bytes:
                    data: bytes = await receive(size)
                    said[1].extend(data)
                    return data

                stream.send_all, stream.receive_some = send_all, receive_some
                return stream  # type: ignore[no-any-return]

            async with open_channel(recorded) as channel:
                await session(channel)
            server.stop(grace=0)

    trio.run(record)
    return bytes(said[0]), bytes(said[1])


async def session(channel: Any) -> None:
    stub = GreeterStub(channel)
    for call in (
        lambda: stub.say_hello(HelloRequest(name="x" * 50)),
        lambda: stub.greet_all([HelloRequest(name=name) for name in "abc"]),
        lambda: drain(stub.say_hellos(HelloRequest(name="count:5"))),
        lambda: stub.say_hello(HelloRequest(name="fail:ABORTED")),
    ):
        with suppress(GRPCError):
            await call()


async def drain(messages: Any) -> None:
    async for _ in messages:
        pass


def run(test: Callable[[], Awaitable[None]]) -> None:
    trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))


def server_survives(data: bytes, pieces: int) -> None:
    """Send this to a server, which must end or serve the connection, and serve others."""

    async def test() -> None:
        greeter = Greeter()
        server = Server([greeter])
        async with trio.open_nursery() as nursery:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve_stream, theirs)
            try:
                for start in range(0, len(data), pieces):
                    await ours.send_all(data[start : start + pieces])
                    await trio.lowlevel.checkpoint()
            except trio.BrokenResourceError:
                pass
            for connection in server._connections:
                assert connection.h2.outgoing_size < 2**20
                assert len(connection.h2.incoming_buffer._data) <= 2**14 + 9
            async with open_channel(memory_connector(server, nursery)) as channel:
                await GreeterStub(channel).say_hello(HelloRequest(name="x"))
            with trio.fail_after(1000):
                async for _ in ours:
                    pass
            assert greeter.running == 0
            server.stop(grace=0)

    run(test)


def client_survives(data: bytes, pieces: int) -> None:
    """Answer a client with this: its calls must end, and a later one on a new connection works."""

    async def test() -> None:
        sent = False

        async def connect() -> trio.abc.Stream:
            nonlocal sent
            if sent:
                return await memory_connector(server, nursery)()
            sent = True
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(play, theirs)
            return ours

        async def play(stream: trio.StapledStream[Any, Any]) -> None:
            try:
                for start in range(0, len(data), pieces):
                    await stream.send_all(data[start : start + pieces])
                    await trio.lowlevel.checkpoint()
                await trio.sleep(100)
                await stream.aclose()
            except trio.BrokenResourceError:
                pass

        server = Server([Greeter()])
        async with trio.open_nursery() as nursery:
            async with open_channel(connect) as channel:
                with trio.fail_after(1000):
                    await session(channel)
                    await trio.sleep(500)
                    await GreeterStub(channel).say_hello(HelloRequest(name="x"))
                assert channel.statistics().streams_open == 0
                assert channel.statistics().connections <= 1
            server.stop(grace=0)

    run(test)


pieces = st.sampled_from([1, 7, 100, 10**6])


@pytest.mark.parametrize("survives", [server_survives, client_survives])
@pytest.mark.parametrize("after_preface", [True, False])
@given(data=st.binary(max_size=300), size=pieces)
@fuzzed
def test_random_bytes(survives: Any, after_preface: bool, data: bytes, size: int) -> None:
    start = SettingsFrame(0).serialize()
    if survives is server_survives:
        start = PREFACE + start
    survives((start if after_preface else b"") + data, size)


@pytest.mark.parametrize("survives", [server_survives, client_survives])
@given(data=sequences, size=pieces)
@fuzzed
def test_random_frames(survives: Any, data: bytes, size: int) -> None:
    start = SettingsFrame(0).serialize()
    survives((PREFACE + start if survives is server_survives else start) + data, size)


@given(data=st.data(), size=pieces)
@fuzzed
def test_damaged_requests(data: st.DataObject, size: int) -> None:
    server_survives(data.draw(damaged(recordings()[0])), size)


@given(data=st.data(), size=pieces)
@fuzzed
def test_damaged_responses(data: st.DataObject, size: int) -> None:
    client_survives(data.draw(damaged(recordings()[1])), size)


def test_whole_recordings() -> None:
    requests, responses = recordings()
    server_survives(requests, 10**6)
    client_survives(responses, 10**6)


async def test_an_error_that_h2_does_not_expect(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with played_server() as (channel, server), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def play() -> None:
            peer = await server.connections.receive()
            await peer.request()
            (connection,) = channel._pool.connections
            monkeypatch.setattr(connection.h2, "receive_frame", {}.__getitem__)
            await peer.send(PingFrame(0, bytes(8)).serialize())

        with pytest.raises(GRPCError, match="INTERNAL"):
            await GreeterStub(channel).say_hello(HelloRequest())
    assert "cannot handle" in caplog.text
