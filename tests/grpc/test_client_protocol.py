"""Our client with a server that behaves well, or breaks the protocol."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    PingReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from hyperframe.frame import RstStreamFrame

from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.http2_peer import OK, RESPONSE, Peer, frame, hello, played_server
from trio_dispatch.grpc import Cardinality, Channel, GRPCError, Status, open_call

HELLOS = ("/greeter.v1.Greeter/SayHellos", Cardinality.UNARY_STREAM, HelloRequest, HelloReply)


async def say_hello(channel: Channel, name: str = "x") -> str:
    return (await GreeterStub(channel).say_hello(HelloRequest(name=name))).message


async def outcome(respond: Any, **options: Any) -> HelloReply | GRPCError:
    """The error of a unary call to which the server responds like that."""
    result: list[HelloReply | GRPCError] = []
    async with played_server(**options) as (channel, server), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def call() -> None:
            try:
                result.append(await GreeterStub(channel).say_hello(HelloRequest(name="x")))
            except GRPCError as error:
                result.append(error)

        peer = await server.connections.receive()
        stream_id = await peer.request()
        await respond(peer, stream_id)
    return result[0]


async def error_after(respond: Any, **options: Any) -> GRPCError:
    result = await outcome(respond, **options)
    assert isinstance(result, GRPCError), result
    return result


@pytest.mark.parametrize(
    ("http_status", "status"),
    [
        ("400", Status.INTERNAL),
        ("401", Status.UNAUTHENTICATED),
        ("403", Status.PERMISSION_DENIED),
        ("404", Status.UNIMPLEMENTED),
        ("429", Status.UNAVAILABLE),
        ("502", Status.UNAVAILABLE),
        ("503", Status.UNAVAILABLE),
        ("504", Status.UNAVAILABLE),
        ("418", Status.UNKNOWN),
        ("302", Status.UNKNOWN),
    ],
)
async def test_http_statuses(http_status: str, status: Status) -> None:
    async def respond(peer: Peer, stream_id: int) -> None:
        await peer.respond(
            stream_id, b"<html>", None, [(":status", http_status), ("content-type", "text/html")]
        )

    error = await error_after(respond)
    assert error.status is status
    assert http_status in str(error.message)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCodes.NO_ERROR, Status.INTERNAL),
        (ErrorCodes.PROTOCOL_ERROR, Status.INTERNAL),
        (ErrorCodes.INTERNAL_ERROR, Status.INTERNAL),
        (ErrorCodes.FLOW_CONTROL_ERROR, Status.INTERNAL),
        (ErrorCodes.SETTINGS_TIMEOUT, Status.INTERNAL),
        (ErrorCodes.STREAM_CLOSED, Status.UNKNOWN),
        (ErrorCodes.FRAME_SIZE_ERROR, Status.INTERNAL),
        (ErrorCodes.CANCEL, Status.CANCELLED),
        (ErrorCodes.COMPRESSION_ERROR, Status.INTERNAL),
        (ErrorCodes.CONNECT_ERROR, Status.INTERNAL),
        (ErrorCodes.ENHANCE_YOUR_CALM, Status.RESOURCE_EXHAUSTED),
        (ErrorCodes.INADEQUATE_SECURITY, Status.PERMISSION_DENIED),
        (ErrorCodes.HTTP_1_1_REQUIRED, Status.UNKNOWN),
        (12345, Status.UNKNOWN),
    ],
)
async def test_resets(code: int, status: Status) -> None:
    async def respond(peer: Peer, stream_id: int) -> None:
        peer.h2.reset_stream(stream_id, code)
        await peer.flush()

    error = await error_after(respond)
    assert error.status is status


@pytest.mark.parametrize(
    ("response", "status", "message"),
    [
        ({"trailers": None}, Status.UNKNOWN, "without trailers"),
        ({"trailers": [("x", "y")]}, Status.UNKNOWN, "without a grpc-status"),
        ({"trailers": [("grpc-status", "99")]}, Status.UNKNOWN, "'99'"),
        ({"trailers": [("grpc-status", "ok")]}, Status.UNKNOWN, "'ok'"),
        ({"trailers": OK, "data": b""}, Status.INTERNAL, "without a reply"),
        ({"data": hello("a") + hello("b")}, Status.INTERNAL, "more than one reply"),
        ({"data": hello("a")[:-1]}, Status.INTERNAL, "middle of a message"),
        ({"data": hello("a") + b"\0"}, Status.INTERNAL, "middle of a message"),
        ({"data": frame(b"\x0a\x05abc")}, Status.INTERNAL, "cannot be decoded"),
        ({"data": frame(b"\x0a\x01\xff")}, Status.INTERNAL, "cannot be decoded"),
        ({"data": frame(b"x", compressed=True)}, Status.INTERNAL, "grpc-encoding is identity"),
        ({"headers": [(":status", "200")]}, Status.UNKNOWN, "content-type is None"),
        (
            {"headers": [(":status", "200"), ("content-type", "application/grpc-web")]},
            Status.UNKNOWN,
            "application/grpc-web",
        ),
        ({"headers": [("content-type", "application/grpc")]}, Status.INTERNAL, "no :status"),
        (
            {"data": frame(b"nonsense", True), "headers": [*RESPONSE, ("grpc-encoding", "gzip")]},
            Status.INTERNAL,
            "not valid gzip",
        ),
        (
            {
                "data": frame(gzip.compress(b"x" * 100)[:-9], True),
                "headers": [*RESPONSE, ("grpc-encoding", "gzip")],
            },
            Status.INTERNAL,
            "gzip",
        ),
    ],
)
async def test_broken_responses(response: dict[str, Any], status: Status, message: str) -> None:
    async def respond(peer: Peer, stream_id: int) -> None:
        await peer.respond(stream_id, **{"data": hello("x"), **response})

    error = await error_after(respond)
    assert message in str(error.message)
    assert error.status is status


async def test_the_status_takes_precedence_over_invalid_messages() -> None:
    async def respond(peer: Peer, stream_id: int) -> None:
        trailers = [
            ("grpc-status", "5"),
            ("grpc-message", "n%C3%B6"),
            ("grpc-status-details-bin", "CAU"),
        ]
        await peer.respond(stream_id, b"", trailers)

    error = await error_after(respond)
    assert (error.status, error.message, error.details) == (Status.NOT_FOUND, "nö", b"\x08\x05")


async def test_a_status_in_a_response_that_is_not_200() -> None:
    async def respond(peer: Peer, stream_id: int) -> None:
        peer.h2.send_headers(stream_id, [(":status", "503"), ("grpc-status", "8")], end_stream=True)
        await peer.flush()

    assert (await error_after(respond)).status is Status.RESOURCE_EXHAUSTED


async def test_gzip() -> None:
    async def respond(peer: Peer, stream_id: int) -> None:
        payload = gzip.compress(hello("zip")[5:])
        await peer.respond(
            stream_id, frame(payload, True), headers=[*RESPONSE, ("grpc-encoding", "gzip")]
        )

    assert await outcome(respond) == HelloReply(message="zip")


async def test_a_gzip_bomb() -> None:
    async def respond(peer: Peer, stream_id: int) -> None:
        payload = gzip.compress(b"\0" * 10_000_000)
        await peer.respond(
            stream_id, frame(payload, True), headers=[*RESPONSE, ("grpc-encoding", "gzip")]
        )

    error = await error_after(respond)
    assert error.status is Status.RESOURCE_EXHAUSTED


async def test_a_message_that_is_too_long_fails_by_its_prefix() -> None:
    async def respond(peer: Peer, stream_id: int) -> None:
        peer.h2.send_headers(stream_id, RESPONSE)
        peer.h2.send_data(stream_id, frame(b"x" * 1001)[:5])
        event = await peer.expect(StreamReset)
        assert event.error_code == ErrorCodes.CANCEL

    error = await error_after(respond, max_message_size=1000)
    assert error.status is Status.RESOURCE_EXHAUSTED
    assert "1001" in str(error.message)


async def test_unknown_frames_are_ignored() -> None:
    async def respond(peer: Peer, stream_id: int) -> None:
        peer.h2.send_headers(stream_id, [(":status", "103"), ("link", "x")])
        unknown = b"\0\0\3\xee\0\0\0\0\0abc" + b"\0\0\3\xee\0\0\0\0\1abc"
        await peer.send(unknown)
        peer.h2.advertise_alternative_service(b'h2=":8000"', origin=b"localhost")
        headers = [*RESPONSE, ("x-bin", "not base64!"), ("y", "\xff")]
        await peer.respond(stream_id, hello("fine"), headers=headers)

    assert await outcome(respond) == HelloReply(message="fine")


async def test_an_early_answer_and_a_reset_without_error() -> None:
    async with played_server() as (channel, server), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def play() -> None:
            peer = await server.connections.receive()
            event = await peer.expect(RequestReceived)
            await peer.respond(event.stream_id, hello("early"))
            peer.h2.reset_stream(event.stream_id, ErrorCodes.NO_ERROR)
            await peer.flush()

        async with open_call(GreeterStub(channel).greet_all) as call:
            await call.send_request()
            await trio.testing.wait_all_tasks_blocked()
            await call.send_message(HelloRequest(name="dropped" * 100_000))
            assert await call.recv_message() == HelloReply(message="early")


async def test_cancelling_sends_cancel_and_ignores_late_frames(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with played_server() as (channel, server), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def play() -> None:
            peer = await server.connections.receive()
            stream_id = await peer.request()
            await peer.stream.send_all(peer.h2.data_to_send())
            # The answer crosses the reset.
            peer.h2.send_headers(stream_id, RESPONSE)
            late = peer.h2.data_to_send()
            for _ in range(10):
                peer.h2.send_data(stream_id, b"x" * 1000)
            peer.h2.send_headers(stream_id, OK, end_stream=True)
            late += peer.h2.data_to_send()
            data = await peer.stream.receive_some()
            reset = RstStreamFrame(stream_id, error_code=ErrorCodes.CANCEL).serialize()
            assert reset in bytes(data)
            peer.events += peer.h2.receive_data(data)
            await peer.send(late)
            await peer.respond(await peer.request(), hello("alive"))

        with trio.move_on_after(0.01):
            await say_hello(channel)
        assert await say_hello(channel) == "alive"
        assert channel.statistics().connections_made == 1


async def test_goaway_lets_calls_finish_and_new_ones_go_elsewhere() -> None:
    async with played_server() as (channel, server), trio.open_nursery() as nursery:
        replies = []

        @nursery.start_soon
        async def first() -> None:
            replies.append(await say_hello(channel))

        old = await server.connections.receive()
        stream_id = await old.request()
        state = old.h2.state_machine.state
        old.h2.close_connection(last_stream_id=stream_id)
        old.h2.state_machine.state = state
        await old.flush()
        await trio.testing.wait_all_tasks_blocked()

        @nursery.start_soon
        async def second() -> None:
            replies.append(await say_hello(channel))

        new = await server.connections.receive()
        await new.respond(await new.request(), hello("second"))
        await trio.testing.wait_all_tasks_blocked()
        assert channel.statistics().connections == 2
        await old.respond(stream_id, hello("first"))
        await trio.testing.wait_all_tasks_blocked()
        assert replies == ["second", "first"]
        assert channel.statistics().connections == 1
        assert channel.statistics().calls_failed == 0


@pytest.mark.parametrize("refuse", ["goaway", "reset"])
async def test_an_unprocessed_call_is_repeated(refuse: str) -> None:
    async with played_server() as (channel, server), trio.open_nursery() as nursery:
        replies = []

        @nursery.start_soon
        async def call() -> None:
            replies.append(await say_hello(channel))

        peer = await server.connections.receive()
        stream_id = await peer.request()
        if refuse == "goaway":
            peer.h2.close_connection(last_stream_id=0)
            await peer.flush()
            peer = await server.connections.receive()
        else:
            peer.h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
        await peer.respond(await peer.request(), hello("again"))
        await trio.testing.wait_all_tasks_blocked()
        assert replies == ["again"]


async def test_a_call_that_is_refused_repeatedly_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with played_server() as (channel, server), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def play() -> None:
            peer = await server.connections.receive()
            for _ in range(7):
                peer.h2.reset_stream(await peer.request(), ErrorCodes.REFUSED_STREAM)
                await peer.flush()

        with pytest.raises(GRPCError) as caught:
            await say_hello(channel)
        assert caught.value.status is Status.UNAVAILABLE


async def test_a_call_that_waits_for_a_stream_can_be_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        played_server(settings={"MAX_CONCURRENT_STREAMS": 1}) as (channel, server),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(say_hello, channel)
        peer = await server.connections.receive()
        stream_id = await peer.request()
        with trio.move_on_after(0.01) as scope:
            await say_hello(channel)
        assert scope.cancelled_caught
        await peer.respond(stream_id, hello("x"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(say_hello, channel)
        await peer.respond(await peer.request(), hello("x"))


async def test_keepalive_notices_a_dead_server(autojump_clock: trio.testing.MockClock) -> None:
    async with played_server(keepalive_interval=10, keepalive_timeout=5) as (channel, server):
        start = trio.current_time()
        with pytest.raises(GRPCError, match="ping for 5 s") as caught:
            await say_hello(channel)
        assert caught.value.status is Status.UNAVAILABLE
        assert trio.current_time() - start <= 15
        await trio.testing.wait_all_tasks_blocked()
        assert channel.statistics().connections == 0
        del server


async def test_keepalive_leaves_a_live_server_alone(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        played_server(keepalive_interval=10, keepalive_timeout=5) as (channel, server),
        trio.open_nursery() as nursery,
    ):
        pings = 0

        @nursery.start_soon
        async def play() -> None:
            nonlocal pings
            peer = await server.connections.receive()
            stream_id = await peer.request()
            with trio.move_on_after(1005):
                while True:
                    await peer.expect(PingReceived)
                    pings += 1
            await peer.respond(stream_id, hello("patient"))
            # Without calls there are no pings.
            with trio.move_on_after(1000) as scope:
                await peer.expect(PingReceived)
            assert scope.cancelled_caught

        assert await say_hello(channel) == "patient"
    assert 60 <= pings <= 100


async def test_too_many_pings(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        played_server(keepalive_interval=10, keepalive_timeout=5) as (channel, server),
        trio.open_nursery() as nursery,
    ):
        times = []

        @nursery.start_soon
        async def play() -> None:
            for _ in range(2):
                peer = await server.connections.receive()
                await peer.request()
                start = trio.current_time()
                await peer.expect(PingReceived)
                times.append(trio.current_time() - start)
                peer.h2.close_connection(
                    ErrorCodes.ENHANCE_YOUR_CALM, additional_data=b"too_many_pings"
                )
                await peer.flush()
                await peer.stream.aclose()

        for _ in range(2):
            with pytest.raises(GRPCError) as caught:
                await say_hello(channel)
            assert caught.value.status is Status.UNAVAILABLE
    assert times == [pytest.approx(10), pytest.approx(20)]


async def test_a_server_that_breaks_http2(caplog: pytest.LogCaptureFixture) -> None:
    async with played_server() as (channel, server), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def play() -> None:
            peer = await server.connections.receive()
            await peer.request()
            await peer.send(b"\0\0\0\0\0\0\0\0\x63")  # DATA on a stream that there is not
            event = await peer.goaway()
            assert event.error_code == ErrorCodes.PROTOCOL_ERROR

        with pytest.raises(GRPCError, match="broke HTTP/2") as caught:
            await say_hello(channel)
        assert caught.value.status is Status.UNAVAILABLE
        assert caught.value.__cause__ is not None


async def test_a_server_that_does_not_speak_http2() -> None:
    async def connect() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return ours

    from trio_dispatch.grpc import open_channel

    async with open_channel(connect) as channel:
        with pytest.raises(GRPCError, match="speaks HTTP/1") as caught:
            await say_hello(channel)
        assert caught.value.status is Status.UNAVAILABLE


async def test_a_reset_call_returns_its_credit() -> None:
    async with played_server() as (channel, server), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def play() -> None:
            peer = await server.connections.receive()
            sent = 0
            for _ in range(40):
                stream_id = await peer.request()
                peer.h2.send_headers(stream_id, RESPONSE)
                await peer.flush()
                for _ in range(12):
                    peer.h2.send_data(stream_id, frame(b"x" * 16_000))
                    sent += 16_005
                await peer.flush()
                await peer.expect(StreamReset)
            assert sent > 4 * 2**20
            assert peer.h2.outbound_flow_control_window > 2 * 2**20

        for _ in range(40):
            async with channel.request(*HELLOS) as call:
                await call.send_message(HelloRequest(name="x"))
                await call.recv_initial_metadata()
                await trio.testing.wait_all_tasks_blocked()


async def test_the_credit_of_padding_is_returned() -> None:
    async def respond(peer: Peer, stream_id: int) -> None:
        peer.h2.send_headers(stream_id, RESPONSE)
        for _ in range(2000):
            while peer.h2.local_flow_control_window(stream_id) < 300:
                await peer.expect(WindowUpdated)
            peer.h2.send_data(stream_id, b"", pad_length=255)
            await peer.flush()
        peer.h2.send_data(stream_id, hello("padded"))
        peer.h2.send_headers(stream_id, OK, end_stream=True)
        await peer.flush()

    assert await outcome(respond) == HelloReply(message="padded")


async def test_small_windows() -> None:
    settings = {"INITIAL_WINDOW_SIZE": 10}
    async with (
        played_server(settings=settings) as (channel, server),
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def play() -> None:
            peer = await server.connections.receive()
            event = await peer.expect(RequestReceived)
            assert event.stream_id is not None
            received = b""
            while len(received) < len(hello("y" * 100)):
                data = await peer.expect(DataReceived)
                assert data.data is not None
                received += data.data
                peer.h2.increment_flow_control_window(len(data.data), event.stream_id)
                await peer.flush()
            await peer.expect(StreamEnded)
            await peer.respond(event.stream_id, hello("z"))

        assert await say_hello(channel, "y" * 100) == "z"
