"""Fast paths yield what the ordinary paths yield: HPACK, DATA frames, messages of one frame."""

from __future__ import annotations

import logging
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import hpack
import pytest
from grpclib.exceptions import GRPCError
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from h2.exceptions import ProtocolError
from hyperframe.frame import (
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from trio_dispatch.grpc._framing import MessageBuffer, frame_message
from trio_dispatch.grpc._hpack import Decoder, Encoder, never_indexed
from trio_dispatch.grpc._http2 import HTTP2

NAMES = [b":path", b"content-type", b"user-agent", b"x", b"y"]
VALUES = [b"", b"/", b"/index.html", b"1", b"a" * 60, b"b" * 700]
HEADERS = st.lists(
    st.builds(
        lambda cls, name, value: cls(name, value),
        st.sampled_from([hpack.HeaderTuple, hpack.NeverIndexedHeaderTuple]),
        st.sampled_from(NAMES),
        st.sampled_from(VALUES),
    ),
    min_size=1,
    max_size=5,
)
# A header block to send, or the new size of the table.
STEPS = st.lists(HEADERS | st.sampled_from([0, 40, 100, 4096]), max_size=30)


@given(STEPS)
def test_headers_arrive_unchanged_whatever_happens_to_the_table(steps: list[Any]) -> None:
    encoder, decoder, reference = Encoder(), Decoder(), hpack.Decoder()
    for step in steps:
        if isinstance(step, int):
            encoder.header_table_size = step
            continue
        block = encoder.encode(step)
        assert list(decoder.decode(block, raw=True)) == step
        assert reference.decode(block, raw=True) == step
        assert decoder.header_table.dynamic_entries == reference.header_table.dynamic_entries
        assert decoder.header_table_size == reference.header_table_size


def test_a_block_that_leaves_the_table_unchanged_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder, decoder = Encoder(), Decoder()
    headers = [(b":path", b"/a.B/C"), (b"te", b"trailers")]
    for _ in range(2):
        block = encoder.encode(headers)
        decoded = decoder.decode(block, raw=True)
    monkeypatch.setattr(hpack.Encoder, "add", None)
    monkeypatch.setattr(hpack.Decoder, "decode", None)
    assert encoder.encode(headers) == block
    assert decoder.decode(block, raw=True) == decoded


def test_never_indexed_headers_stay_out_of_the_table() -> None:
    encoder, reference = Encoder(), hpack.Decoder()
    headers = [("x", "1"), ("y", "2")]
    reference.decode(encoder.encode(headers))
    for number in range(100):
        block = encoder.encode([*headers, never_indexed("key", f"{number}m")])
        decoded = list(reference.decode(block))
        assert isinstance(decoded[-1], hpack.NeverIndexedHeaderTuple)
    assert [name for name, _ in encoder.header_table.dynamic_entries] == [b"y", b"x"]
    assert [name for name, _ in reference.header_table.dynamic_entries] == [b"y", b"x"]


def test_the_memory_for_blocks_is_bounded() -> None:
    decoder = Decoder()
    for number in range(1000):
        # A literal that does not go into the table: each block is a different one.
        value = str(number).encode()
        decoder.decode(b"\x00\x01x" + bytes([len(value)]) + value, raw=True)
        assert len(decoder._blocks) <= 32
    decoder.decode(b"\x00\x01y\x7f\x81\x03" + b"z" * 512, raw=True)
    assert max(map(len, decoder._blocks)) < 512


def test_hpack_logs_no_header(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("hpack", "hpack.hpack", "hpack.table"):
        caplog.set_level(logging.DEBUG, name)
    encoder, decoder = Encoder(), Decoder()
    for headers in ([("key", "secret")], [never_indexed("key", "secret")]):
        decoder.decode(encoder.encode(headers, huffman=False), raw=True)
    decoder.header_table_size = 0
    assert caplog.records == []


def data_frame(stream_id: int, size: int, padding: int, flags: tuple[str, ...]) -> DataFrame:
    padded = ("PADDED",) if padding else ()
    return DataFrame(stream_id, bytes(size), pad_length=padding, flags=(*flags, *padded))


# What is received on the streams 1 and 3.  A client has ended 3 on its side, a server has received
# its end; 5 and 7 do not exist yet.
SIZES = st.sampled_from([0, 1, 20, 64, 99, 100, 101, 150])
STREAM_IDS = st.sampled_from([1, 1, 1, 3, 3, 5, 7, 2, 2**31 + 1])
FLAGS = st.sampled_from([(), (), (), ("END_STREAM",)])
# Literals that are not indexed leave the table unchanged.
BLOCKS = {
    name: b"".join(
        b"\0" + b"".join(bytes([len(text)]) + text for text in header) for header in headers
    )
    for name, headers in {
        "request": [(b":path", b"/a.B/C"), (b"te", b"trailers")],
        "response": [(b":status", b"200"), (b"content-type", b"application/grpc")],
        "interim response": [(b":status", b"103")],
        "with a length": [(b":status", b"200"), (b"content-length", b"120")],
        "trailers": [(b"grpc-status", b"0")],
    }.items()
}
RECEIVED = st.lists(
    st.one_of(
        st.builds(data_frame, STREAM_IDS, SIZES, st.sampled_from([0, 0, 0, 7]), FLAGS),
        st.builds(
            lambda stream_id, block, flags: HeadersFrame(
                stream_id, block, flags=("END_HEADERS", *flags)
            ),
            STREAM_IDS,
            # The last one is not remembered.
            st.sampled_from([*BLOCKS.values(), b"\0\1x\1y"]),
            FLAGS,
        ),
        st.sampled_from([RstStreamFrame(1, error_code=8), PingFrame(0, bytes(8))]),
    ),
    max_size=12,
)


def open_connection(content_length: bytes | None, *, client_side: bool = True) -> HTTP2:
    """A connection with two streams, whose response or request has begun; windows of 300 bytes."""
    connection = HTTP2(client_side=client_side, stream_window=300, max_header_list_size=10_000)
    connection.initiate_connection()
    headers = [(b":status", b"200")] if client_side else [(b":path", b"/")]
    if content_length is not None:
        headers.append((b"content-length", content_length))
    received = b"" if client_side else b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    received += SettingsFrame(0).serialize() + SettingsFrame(0, flags=("ACK",)).serialize()
    for stream_id in (1, 3):
        flags = ["END_HEADERS"]
        if client_side:
            connection.send_headers(stream_id, [(":path", "/")], end_stream=stream_id == 3)
        elif stream_id == 3 and content_length is None:
            flags.append("END_STREAM")
        block = hpack.Encoder().encode(headers)
        received += HeadersFrame(stream_id, block, flags=flags).serialize()
    connection.feed(received)
    while (frame := connection.next_frame()) is not None:
        connection.receive_frame(frame)
    for block in BLOCKS.values():
        connection.decoder.decode(block, raw=True)
    connection._inbound_flow_control_window_manager.current_window_size = 400
    connection.clear_outbound_data_buffer()
    return connection


def receive(connection: HTTP2, *, fast: bool) -> tuple[list[Any], int]:
    """What has happened, and the number of frames that took a fast path."""
    happened: list[Any] = []
    plain = 0
    try:
        while True:
            data = connection.next_plain_data() if fast else None
            if data is not None:
                plain += 1
                stream_id, content, ended = data
                happened.append((stream_id, content, len(content)))
                if ended:
                    happened.append(repr(StreamEnded(stream_id=stream_id)))
                continue
            events = connection.next_plain_headers() if fast else None
            if events is not None:
                plain += 1
                happened += map(repr, events)
                continue
            frame = connection.next_frame()
            if frame is None:
                break
            for event in connection.receive_frame(frame):
                if isinstance(event, DataReceived):
                    size = event.flow_controlled_length
                    happened.append((event.stream_id, event.data, size))
                else:
                    happened.append(repr(event))
    except ProtocolError as exc:
        happened.append(repr(exc))
    return happened, plain


@given(RECEIVED, st.sampled_from([None, b"120"]), st.integers(1, 200), st.booleans())
def test_plain_frames_mean_the_same_on_the_fast_paths(
    frames: list[Frame], content_length: bytes | None, cut: int, client_side: bool
) -> None:
    data = b"".join(frame.serialize() for frame in frames)
    fast, slow = (open_connection(content_length, client_side=client_side) for _ in range(2))
    for connection in (fast, slow):
        connection.feed(data[:-cut])
    assert receive(fast, fast=True)[0] == receive(slow, fast=False)[0]
    for connection in (fast, slow):
        connection.feed(data[-cut:])
    assert receive(fast, fast=True)[0] == receive(slow, fast=False)[0]
    assert fast.data_to_send() == slow.data_to_send()
    assert window(fast, 0) == window(slow, 0)
    assert fast.streams.keys() == slow.streams.keys()
    for stream_id, stream in fast.streams.items():
        assert window(fast, stream_id) == window(slow, stream_id)
        assert vars(stream.state_machine) == vars(slow.streams[stream_id].state_machine)


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 3, 5, 7]), st.sampled_from([1, 99, 2**31 - 1]))),
    st.booleans(),
)
def test_windows_open_as_with_h2_alone(updates: list[tuple[int, int]], client_side: bool) -> None:
    results = []
    for fast in (True, False):
        connection = open_connection(None, client_side=client_side)
        if not fast:
            connection._frame_dispatch_table[WindowUpdateFrame] = partial(
                H2Connection._receive_window_update_frame, connection
            )
        for stream_id, increment in updates:
            connection.feed(WindowUpdateFrame(stream_id, increment).serialize())
        happened, _ = receive(connection, fast=fast)
        windows = [each.outbound_flow_control_window for each in connection.streams.values()]
        windows.append(connection.outbound_flow_control_window)
        results.append((happened, windows, connection.data_to_send()))
    assert results[0] == results[1]


def window(connection: HTTP2, stream_id: int) -> int | None:
    if stream_id == 0:
        return connection._inbound_flow_control_window_manager.current_window_size
    stream = connection.streams.get(stream_id)
    return None if stream is None else stream._inbound_window_manager.current_window_size


def test_plain_frames_take_the_fast_paths() -> None:
    client = open_connection(None)
    client.feed(b"".join(data_frame(1, 20, 0, ()).serialize() for _ in range(3)))
    trailers = HeadersFrame(1, BLOCKS["trailers"], flags=("END_HEADERS", "END_STREAM"))
    client.feed(trailers.serialize())
    happened, plain = receive(client, fast=True)
    assert (happened[:3], plain) == ([(1, bytes(20), 20)] * 3, 4)
    server = open_connection(None, client_side=False)
    server.feed(HeadersFrame(5, BLOCKS["request"], flags=("END_HEADERS",)).serialize())
    server.feed(data_frame(5, 20, 0, ("END_STREAM",)).serialize())
    happened, plain = receive(server, fast=True)
    assert (len(happened), plain) == (3, 2)


@given(
    st.lists(st.sampled_from([0, 1, 58, 59, 60, 200]), max_size=8),
    st.sets(st.integers(0, 8)),
    st.sets(st.integers(0, 500), max_size=4),
    st.integers(0, 255),
)
def test_messages_are_the_same_however_they_are_cut(
    sizes: list[int], joints: set[int], cuts: set[int], takes: int
) -> None:
    """Pieces are whole messages, several of them, or parts; messages are taken in between."""
    messages = [bytes([number]) * size for number, size in enumerate(sizes)]
    framed = [*map(frame_message, messages)]
    ends = [*accumulate(map(len, framed))]
    cuts |= {end for number, end in enumerate(ends) if number not in joints}
    buffer = MessageBuffer(200)
    taken: list[bytes] = []
    for number, (begin, end) in enumerate(pairwise(sorted({0, *cuts, *ends[-1:]}))):
        buffer.feed(b"".join(framed)[begin:end])
        while buffer.ready and takes >> number & 1:
            taken.append(buffer.take().content())
        assert buffer.size == min(end, ends[-1] if ends else 0) - sum(
            map(len, framed[: len(taken)])
        )
    while buffer.ready:
        taken.append(buffer.take().content())
    assert taken == messages
    assert buffer.size == 0


def test_a_long_message_in_one_piece_is_refused() -> None:
    buffer = MessageBuffer(100)
    for size in (100, 101):
        buffer.feed(frame_message(bytes(size)))
    assert buffer.take().content() == bytes(100)
    assert buffer.ready
    with pytest.raises(GRPCError, match="101 bytes"):
        buffer.take()


@pytest.mark.parametrize("size", [0, 10, 16_384, 16_385, 40_000])
@pytest.mark.parametrize("end", [True, False])
def test_a_request_is_the_same_as_with_h2_alone(size: int, end: bool) -> None:
    """Also one with headers or a message that do not fit into a frame."""
    results = []
    for fast in (True, False):
        connection = open_connection(None)
        send_headers = connection.send_headers
        if not fast:
            send_headers = partial(H2Connection.send_headers, connection)
        send_headers(5, [(":method", "POST"), ("x", "y" * size), never_indexed("z", "1")])
        if fast:
            assert connection.queue_data(5, bytes(size), end_stream=end)
        else:
            for begin in range(0, max(size, 1), 16_384):
                last = begin + 16_384 >= size
                connection.send_data(5, bytes(min(size - begin, 16_384)), end_stream=end and last)
        stream = connection.streams[5]
        windows = connection.outbound_flow_control_window, stream.outbound_flow_control_window
        results.append((connection.data_to_send(), stream.state_machine.state, windows))
        if end:
            with pytest.raises(ProtocolError):
                send_headers(5, [("trailer", "1")], end_stream=True)
        with pytest.raises(ProtocolError):
            send_headers(4, [(":method", "POST")])
    assert results[0] == results[1]


@pytest.mark.parametrize("ended", [True, False])
def test_a_response_is_the_same_as_with_h2_alone(ended: bool) -> None:
    results = []
    for fast in (True, False):
        connection = open_connection(None, client_side=False)
        send_headers = connection.send_headers
        if not fast:
            send_headers = partial(H2Connection.send_headers, connection)
        stream_id = 3 if ended else 1
        machine = connection.streams[stream_id].state_machine
        send_headers(stream_id, [(":status", "200")])
        states = [dict(vars(machine))]
        send_headers(stream_id, [("grpc-status", "0")], end_stream=True)
        states.append(dict(vars(machine)))
        with pytest.raises(ProtocolError):
            send_headers(stream_id, [("grpc-status", "0")], end_stream=True)
        results.append((connection.data_to_send(), states))
    assert results[0] == results[1]
