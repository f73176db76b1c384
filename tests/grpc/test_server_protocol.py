"""Our server with clients that behave well, break the protocol, or attack."""

from __future__ import annotations

import gzip
import ssl
import struct
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from grpclib.const import Handler
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.helpers.counting import counting
from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.greeting import Greeter, memory_connector
from tests.helpers.http2_peer import REQUEST, Peer, frame, hello, parse, played_client
from trio_dispatch.grpc import Limits, Server, ServerStream, open_channel

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def request(path: str = "SayHello", **changes: str) -> list[tuple[str, str]]:
    headers = [*REQUEST]
    headers[2] = (":path", f"/greeter.v1.Greeter/{path}")
    for name, value in changes.items():
        headers = [pair for pair in headers if pair[0].strip(":") != name.replace("_", "-")]
        if value:
            key = f":{name}" if name == "method" else name.replace("_", "-")
            headers.insert(0 if key[0] == ":" else len(headers), (key, value))
    return headers


async def status_of(peer: Peer, headers: Any, data: bytes | None = hello("x")) -> dict[str, str]:
    """The headers and trailers of the response, joined."""
    stream_id = peer.h2.get_next_available_stream_id()
    peer.h2.send_headers(stream_id, headers, end_stream=data is None)
    if data is not None:
        peer.h2.send_data(stream_id, data, end_stream=True)
    said: dict[str, str] = {}
    while True:
        await peer.flush()
        while peer.events:
            event = peer.events.pop(0)
            if isinstance(event, ResponseReceived | TrailersReceived):
                said |= dict(event.headers)  # type: ignore[arg-type]
            elif isinstance(event, StreamEnded):
                return said
        await peer.receive()


@pytest.fixture
def server(greeter: Greeter) -> Server:
    return Server([greeter], max_message_size=1000)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (request(method="GET"), {":status": "405"}),
        (request(content_type="text/html"), {":status": "415", "grpc-status": "2"}),
        (request(content_type=""), {":status": "415"}),
        (request(content_type="application/grpc+json"), {":status": "415"}),
        (request(content_type="application/grpc+proto"), {"grpc-status": "0"}),
        (request("Nothing"), {"grpc-status": "12"}),
        (request(grpc_encoding="snappy"), {"grpc-status": "12"}),
        (request(grpc_encoding="snappy"), {"grpc-accept-encoding": "identity,gzip"}),
        (request(grpc_timeout="soon"), {"grpc-status": "13"}),
        (request(grpc_timeout="1S"), {"grpc-status": "0"}),
        (request(some_bin="not base64"), {"grpc-status": "0"}),
    ],
)
async def test_requests(
    server: Server, nursery: trio.Nursery, headers: Any, expected: dict[str, str]
) -> None:
    peer = await played_client(server, nursery)
    said = await status_of(peer, headers)
    assert said.items() >= expected.items()
    # The connection still works.
    assert (await status_of(peer, request()))["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (None, "13", "without a message"),
        (b"", "13", "without a message"),
        (hello("x")[:-1], "13", "middle of a message"),
        (hello("x") + hello("ignored"), "0", ""),
        (frame(b"\x0a\x05abc"), "13", "cannot be decoded"),
        (frame(b"x" * 1001), "8", "1001"),
        (struct.pack(">BI", 0, 2**32 - 1), "8", "4294967295"),
        (frame(b"x", compressed=True), "13", "identity"),
    ],
)
async def test_messages(
    server: Server, nursery: trio.Nursery, data: bytes | None, status: str, message: str
) -> None:
    peer = await played_client(server, nursery)
    said = await status_of(peer, request(), data)
    assert said["grpc-status"] == status
    assert message in said.get("grpc-message", "")
    assert (await status_of(peer, request()))["grpc-status"] == "0"


async def test_gzip(server: Server, nursery: trio.Nursery) -> None:
    peer = await played_client(server, nursery)
    headers = request(grpc_encoding="gzip")
    data = frame(gzip.compress(hello("x")[5:]), True)
    assert (await status_of(peer, headers, data))["grpc-status"] == "0"
    bomb = frame(gzip.compress(b"x" * 1001), True)
    assert (await status_of(peer, headers, bomb))["grpc-status"] == "8"


async def test_a_client_that_resets_its_call(
    server: Server, greeter: Greeter, nursery: trio.Nursery
) -> None:
    peer = await played_client(server, nursery)
    peer.h2.send_headers(1, request())
    peer.h2.send_data(1, hello("sleep:inf"), end_stream=True)
    await peer.flush()
    await trio.testing.wait_all_tasks_blocked()
    assert greeter.running == 1
    peer.h2.reset_stream(1, ErrorCodes.CANCEL)
    await peer.flush()
    await trio.testing.wait_all_tasks_blocked()
    assert greeter.running == 0
    assert server.statistics().calls_running == 0


async def test_a_client_that_disconnects(
    server: Server, greeter: Greeter, nursery: trio.Nursery
) -> None:
    peer = await played_client(server, nursery)
    peer.h2.send_headers(1, request())
    peer.h2.send_data(1, hello("sleep:inf"), end_stream=True)
    await peer.flush()
    await trio.testing.wait_all_tasks_blocked()
    await peer.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert greeter.cancelled == 1
    assert server.statistics().connections == 0


async def test_a_client_that_sends_goaway_gets_its_replies(
    server: Server, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    peer = await played_client(server, nursery)
    peer.h2.send_headers(1, request())
    peer.h2.send_data(1, hello("sleep:5"), end_stream=True)
    state = peer.h2.state_machine.state
    peer.h2.close_connection()
    peer.h2.state_machine.state = state
    await peer.expect(TrailersReceived)
    await peer.goaway()


async def test_a_silent_client_is_disconnected(
    server: Server, greeter: Greeter, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    peer = await played_client(server, nursery)
    peer.h2.send_headers(1, request())
    peer.h2.send_data(1, hello("sleep:inf"), end_stream=True)
    await peer.flush()
    await trio.sleep(300 + 20 + 1 + 1)
    assert greeter.cancelled == 1
    assert server.statistics().connections == 0


async def test_an_early_answer_ends_the_request(server: Server, nursery: trio.Nursery) -> None:
    peer = await played_client(server, nursery)
    peer.h2.send_headers(1, request("Nothing"))
    event = await peer.expect(StreamReset)
    assert event.error_code == ErrorCodes.NO_ERROR
    assert server.statistics().calls_running == 0


# Floods.


def frames(*parts: Frame) -> bytes:
    return b"".join(part.serialize() for part in parts)


def rapid_reset(peer: Peer) -> bytes:
    for _ in range(2000):
        stream_id = peer.h2.get_next_available_stream_id()
        peer.h2.send_headers(stream_id, request())
        peer.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
    return peer.h2.data_to_send()


def too_many_calls(peer: Peer) -> bytes:
    peer.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 10**6
    peer.h2.remote_settings.acknowledge()
    for _ in range(2000):
        stream_id = peer.h2.get_next_available_stream_id()
        peer.h2.send_headers(stream_id, request())
        peer.h2.send_data(stream_id, hello("sleep:inf")[:8], end_stream=False)
    return peer.h2.data_to_send()


def open_stream(peer: Peer) -> bytes:
    peer.h2.send_headers(1, request("GreetAll"))
    return peer.h2.data_to_send()


def pings(peer: Peer) -> bytes:
    return frames(PingFrame(0, b"12345678")) * 10_000


def settings(peer: Peer) -> bytes:
    return frames(SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: 1})) * 10_000


def empty_data(peer: Peer) -> bytes:
    return open_stream(peer) + frames(DataFrame(1, b"")) * 10_000


def padded_data(peer: Peer) -> bytes:
    padded = DataFrame(1, b"", pad_length=1, flags=["PADDED"])
    return open_stream(peer) + frames(padded) * 10_000


def priorities(peer: Peer) -> bytes:
    return open_stream(peer) + frames(PriorityFrame(1, depends_on=3)) * 10_000


def unknown_frames(peer: Peer) -> bytes:
    return b"\0\0\0\xee\0\0\0\0\0" * 10_000


def continuations(peer: Peer) -> bytes:
    head = frames(HeadersFrame(1, b""))
    return head + frames(ContinuationFrame(1, b"")) * 10_000


def header_bomb(peer: Peer) -> bytes:
    # One long header in the table, then a byte for each reference to it.
    block = b"\x40\x01a\x7f\xb9\x16" + b"b" * 3000 + b"\xbe" * 10_000
    return frames(HeadersFrame(1, block, flags=["END_HEADERS"]))


def many_headers(peer: Peer) -> bytes:
    peer.h2.send_headers(1, request() + [(f"key-{n}", "x" * 100) for n in range(500)])
    return peer.h2.data_to_send()


def long_frame(peer: Peer) -> bytes:
    return (2**24 - 1).to_bytes(3, "big") + b"\0\0\0\0\0\1"


def bad_window(peer: Peer) -> bytes:
    return frames(SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: 2**31}))


CALM = {ErrorCodes.ENHANCE_YOUR_CALM}
FLOODS: list[tuple[Callable[[Peer], bytes], Iterable[ErrorCodes]]] = [
    (rapid_reset, CALM),
    (too_many_calls, CALM),
    (pings, CALM),
    (settings, CALM),
    (empty_data, CALM),
    (padded_data, CALM),
    (priorities, CALM),
    (unknown_frames, CALM),
    (continuations, {ErrorCodes.PROTOCOL_ERROR}),
    (header_bomb, CALM),
    (many_headers, CALM),
    (long_frame, {ErrorCodes.FRAME_SIZE_ERROR}),
    (bad_window, {ErrorCodes.FLOW_CONTROL_ERROR}),
]


@pytest.mark.parametrize(
    ("flood", "codes"), FLOODS, ids=lambda value: getattr(value, "__name__", "")
)
async def test_floods(
    server: Server,
    greeter: Greeter,
    nursery: trio.Nursery,
    flood: Callable[[Peer], bytes],
    codes: Iterable[ErrorCodes],
) -> None:
    peer = await played_client(server, nursery)
    received = bytearray()
    async with open_channel(memory_connector(server, nursery)) as channel:
        stub = GreeterStub(channel)
        await stub.say_hello(HelloRequest(name="before"))
        data = flood(peer)
        with trio.fail_after(60), counting() as work:
            async with trio.open_nursery() as flooding:

                @flooding.start_soon
                async def read() -> None:
                    async for data in peer.stream:
                        received.extend(data)

                @flooding.start_soon
                async def write() -> None:
                    try:
                        for start in range(0, len(data), 4096):
                            await peer.stream.send_all(data[start : start + 4096])
                            await stub.say_hello(HelloRequest(name="during"))
                    except trio.BrokenResourceError:
                        pass

        assert work.calls < 500_000
        await stub.say_hello(HelloRequest(name="after"))
        assert channel.statistics().calls_failed == 0
        assert channel.statistics().connections_made == 1
    with pytest.raises(EOFError):  # noqa: PT012
        peer.events += peer.h2.receive_data(bytes(received))
        while peer.events:
            event = peer.events.pop()
            if isinstance(event, ConnectionTerminated):
                assert event.error_code in set(codes)
                raise EOFError
    assert len(received) < 2**20
    assert greeter.running == 0


async def test_limits_allow_normal_use(
    server: Server, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    peer = await played_client(server, nursery)
    for _ in range(200):
        peer.h2.ping(b"12345678")
        stream_id = peer.h2.get_next_available_stream_id()
        peer.h2.send_headers(stream_id, request())
        peer.h2.reset_stream(stream_id)
        await peer.flush()
        await trio.sleep(0.1)
    assert (await status_of(peer, request()))["grpc-status"] == "0"


async def test_calls_beyond_the_limit_are_refused_one_by_one(
    greeter: Greeter, nursery: trio.Nursery
) -> None:
    server = Server([greeter], limits=Limits(concurrent_streams=2))
    peer = await played_client(server, nursery)
    peer.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100
    peer.h2.remote_settings.acknowledge()
    for stream_id in (1, 3, 5):
        peer.h2.send_headers(stream_id, request())
        peer.h2.send_data(stream_id, hello("sleep:inf"), end_stream=True)
    event = await peer.expect(StreamReset)
    assert (event.stream_id, event.error_code) == (5, ErrorCodes.REFUSED_STREAM)
    assert greeter.running == 2
    assert server.statistics().calls_refused == 1
    peer.h2.reset_stream(1)
    await peer.flush()
    await trio.testing.wait_all_tasks_blocked()
    assert (await status_of(peer, request()))["grpc-status"] == "0"


async def test_a_handler_counts_as_a_call_until_it_ends(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    class Stubborn(Greeter):
        async def say_hello(self, message: HelloRequest) -> HelloReply:
            with trio.CancelScope(shield=True):
                return await super().say_hello(message)
            raise AssertionError("a shielded scope is not cancelled")

    greeter = Stubborn()
    server = Server([greeter], limits=Limits(concurrent_streams=2))
    peer = await played_client(server, nursery)
    for stream_id in (1, 3, 5):
        peer.h2.send_headers(stream_id, request())
        peer.h2.send_data(stream_id, hello("sleep:0.05"), end_stream=True)
        await peer.flush()
        await trio.testing.wait_all_tasks_blocked()
        peer.h2.reset_stream(stream_id)
        await peer.flush()
    assert greeter.running == 2
    await trio.sleep(0.1)


@pytest.mark.parametrize("said", [b"", PREFACE[:10], PREFACE, PREFACE + b"\0\0\0"])
async def test_a_client_that_never_finishes_its_preface(
    server: Server, nursery: trio.Nursery, said: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(server.serve_stream, theirs)
    start = trio.current_time()
    await ours.send_all(said)
    received = b"".join([bytes(data) async for data in ours])
    assert trio.current_time() - start == pytest.approx(10)
    assert received[-len("within 10 s") :] == b"within 10 s"
    await trio.testing.wait_all_tasks_blocked()
    assert server.statistics().connections == 0


async def test_a_client_that_speaks_something_else(server: Server, nursery: trio.Nursery) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(server.serve_stream, theirs)
    await ours.send_all(b"GET / HTTP/1.1\r\n\r\n")
    async for _ in ours:
        pass
    await trio.testing.wait_all_tasks_blocked()
    assert server.statistics().connections == 0


async def test_a_client_that_never_finishes_its_tls_handshake(
    server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    ours, theirs = trio.testing.memory_stream_pair()
    tls = trio.SSLStream(theirs, context, server_side=True)
    start = trio.current_time()
    await server.serve_stream(tls)
    assert trio.current_time() - start == pytest.approx(10)
    assert await ours.receive_some() == b""


async def test_a_client_that_reads_nothing(server: Server, nursery: trio.Nursery) -> None:
    """Its replies are bounded by the windows, and by the queue of the connection."""
    ours, theirs = trio.testing.memory_stream_pair()
    pumping = trio.Event()

    async def wait() -> None:
        await pumping.wait()
        trio.testing.memory_stream_pump(theirs.send_stream, ours.receive_stream)

    theirs.send_stream.send_all_hook = wait
    nursery.start_soon(server.serve_stream, theirs)
    peer = Peer(ours, client_side=True, settings={SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
    peer.h2.increment_flow_control_window(2**31 - 1 - 65535)
    await peer.flush()
    for stream_id in range(1, 100, 2):
        peer.h2.send_headers(stream_id, request("SayHellos"))
        peer.h2.send_data(stream_id, hello("forever"), end_stream=True)
    await peer.flush()
    await trio.testing.wait_all_tasks_blocked()
    (connection,) = server._connections
    assert len(connection.calls) == 50
    assert connection.h2.outgoing_size < 200_000
    pumping.set()
    await peer.expect(DataReceived)


async def test_a_client_that_asks_much_and_reads_nothing(
    greeter: Greeter, nursery: trio.Nursery
) -> None:
    server = Server([greeter], limits=Limits(pings=1e9, free_work=1e9))
    ours, theirs = trio.testing.memory_stream_pair()
    theirs.send_stream.send_all_hook = trio.sleep_forever
    nursery.start_soon(server.serve_stream, theirs)
    peer = Peer(ours, client_side=True, settings={})
    await peer.flush()
    await trio.testing.wait_all_tasks_blocked()
    (connection,) = server._connections
    for _ in range(100):
        await ours.send_all(frames(PingFrame(0, b"12345678")) * 1000)
        await trio.testing.wait_all_tasks_blocked()
    assert connection.failure is not None
    assert "reads nothing" in connection.failure.message
    assert connection.h2.outgoing_size < 2**20 + 100_000


async def test_a_stopping_server_refuses_late_calls(
    server: Server, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    peer = await played_client(server, nursery)
    peer.h2.send_headers(1, request())
    peer.h2.send_data(1, hello("sleep:inf"), end_stream=True)
    await peer.flush()
    await trio.testing.wait_all_tasks_blocked()
    server.stop(grace=0.1)
    # The client has not read the GOAWAY yet.
    peer.h2.send_headers(3, request())
    peer.h2.send_data(3, hello("x"), end_stream=True)
    await peer.flush()
    received = b"".join([bytes(data) async for data in peer.stream])
    parts = [part for part in parse(received) if not isinstance(part, SettingsFrame)]
    goaway, reset, *_, bye = parts
    assert isinstance(goaway, GoAwayFrame)
    assert (goaway.last_stream_id, goaway.error_code) == (1, ErrorCodes.NO_ERROR)
    assert isinstance(reset, RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (3, ErrorCodes.REFUSED_STREAM)
    assert isinstance(bye, GoAwayFrame)
    assert bye.error_code == ErrorCodes.NO_ERROR


async def test_a_handler_is_always_cancelled_when_its_client_resets(
    nursery: trio.Nursery,
) -> None:
    """Even if the same read has just woken it to send more."""
    ended: list[type[BaseException]] = []

    class Watched(Greeter):
        def __mapping__(self) -> dict[str, Handler]:
            path = "/greeter.v1.Greeter/SayHellos"
            handlers = super().__mapping__()
            return {path: handlers[path]._replace(func=self.send)}

        async def send(self, call: ServerStream[HelloRequest, HelloReply]) -> None:
            await call.recv_message()
            try:
                while True:
                    await call.send_message(HelloReply(message="x" * 1000))
            except BaseException as exc:
                ended.append(type(exc))
                raise

    peer = await played_client(Server([Watched()]), nursery)
    peer.h2.send_headers(1, request("SayHellos"))
    peer.h2.send_data(1, hello("x"), end_stream=True)
    await peer.flush()
    await trio.testing.wait_all_tasks_blocked()
    window = WindowUpdateFrame(1, window_increment=100)
    await peer.send(frames(window, RstStreamFrame(1, ErrorCodes.CANCEL)))
    await trio.testing.wait_all_tasks_blocked()
    assert ended == [trio.Cancelled]
