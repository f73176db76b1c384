"""What a server sends, and updates of its windows, are on the fast path as with h2 alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import hpack
import pytest
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from hyperframe.frame import HeadersFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from trio_dispatch.grpc._http2 import HTTP2


def serving(*, fast: bool) -> HTTP2:
    """A server's connection with two requests, of which the first is complete."""
    connection = HTTP2(client_side=False, stream_window=300, max_header_list_size=10_000)
    if not fast:
        hidden: Any = connection
        hidden._next_window_update = lambda: None
        hidden._frame_dispatch_table[WindowUpdateFrame] = partial(
            H2Connection._receive_window_update_frame, connection
        )
        for name, method in (("send_headers", "send_headers"), ("queue_data", "send_data")):
            setattr(hidden, name, partial(getattr(H2Connection, method), connection))
    connection.initiate_connection()
    received = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
    encoder = hpack.Encoder()
    for stream_id, flags in ((1, ("END_HEADERS", "END_STREAM")), (3, ("END_HEADERS",))):
        block = encoder.encode([(":method", "POST"), (":path", "/")])
        received += HeadersFrame(stream_id, block, flags=flags).serialize()
    connection.feed(received)
    receive(connection)
    connection.clear_outbound_data_buffer()
    return connection


def receive(connection: HTTP2) -> list[str]:
    """What happens by the frames that wait."""
    happened = []
    try:
        while (frame := connection.next_frame()) is not None:
            happened += [repr(event) for event in connection.receive_frame(frame)]
    except ProtocolError as exc:
        happened.append(repr(exc))
    return happened


UPDATES = st.lists(
    st.builds(
        WindowUpdateFrame,
        st.sampled_from([0, 1, 2, 3, 5]),
        window_increment=st.sampled_from([1, 100, 2**31 - 1]),
    ),
    max_size=6,
)


@given(UPDATES, st.integers(1, 12), st.sampled_from(["open", "answered", "reset"]))
def test_window_updates_mean_the_same(
    frames: list[WindowUpdateFrame], cut: int, state: str
) -> None:
    data = b"".join(frame.serialize() for frame in frames)
    results = []
    for connection in (serving(fast=True), serving(fast=False)):
        if state == "reset":
            connection.reset_stream(1)
        if state == "answered":
            connection.send_headers(1, [(":status", "200")], end_stream=True)
        if state != "open":
            connection.forget(1)
        happened = []
        for part in (data[:-cut], data[-cut:]):
            connection.feed(part)
            happened += receive(connection)
        windows = [stream.outbound_flow_control_window for stream in connection.streams.values()]
        own = connection.outbound_flow_control_window
        results.append((happened, windows, own, connection.data_to_send()))
    assert results[0] == results[1]


@pytest.mark.parametrize("size", [0, 10, 20_000, 50_000])
@pytest.mark.parametrize("stream_id", [1, 3])
def test_a_response_is_the_same(size: int, stream_id: int) -> None:
    """Also one with headers that do not fit into a frame."""
    results = []
    for connection in (serving(fast=True), serving(fast=False)):
        connection.send_headers(stream_id, [(":status", "200"), ("x", "y" * size)])
        connection.queue_data(stream_id, bytes(min(size, 16_384)))
        connection.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)
        state = connection.streams[stream_id].state_machine.state
        window = connection.outbound_flow_control_window
        results.append((connection.data_to_send(), state, window))
        with pytest.raises(ProtocolError):
            connection.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)
    assert results[0] == results[1]


def test_trailers_end_the_stream() -> None:
    connection = serving(fast=True)
    connection.send_headers(1, [(":status", "200")])
    with pytest.raises(ProtocolError, match="trailers"):
        connection.send_headers(1, [("grpc-status", "0")])
