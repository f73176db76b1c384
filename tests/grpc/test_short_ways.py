"""What takes a shorter way than h2's and hpack's comes to the same."""

from __future__ import annotations

import random
from typing import Any

import hpack
import pytest
from h2.exceptions import ProtocolError
from h2.frame_buffer import FrameBuffer
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    ContinuationFrame,
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

from trio_dispatch.grpc._hpack import Decoder, Encoder, passing_header
from trio_dispatch.grpc._http2 import HTTP2, _Data, _Frames

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
# A block of headers to send, or the new size of the table.
STEPS = st.lists(HEADERS | st.sampled_from([0, 40, 100, 4096]), max_size=30)


@given(STEPS)
def test_headers_survive_whatever_becomes_of_the_table(steps: list[Any]) -> None:
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


def test_a_block_that_adds_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, decoder = Encoder(), Decoder()
    headers = [(b":path", b"/a.B/C"), (b"te", b"trailers")]
    for _ in range(2):
        block = encoder.encode(headers)
        decoded = decoder.decode(block, raw=True)
    monkeypatch.setattr(hpack.Encoder, "add", None)
    monkeypatch.setattr(hpack.Decoder, "decode", None)
    assert encoder.encode(headers) == block
    assert decoder.decode(block, raw=True) == decoded


def test_passing_headers_stay_out_of_the_table() -> None:
    encoder, reference = Encoder(), hpack.Decoder()
    headers = [("x", "1"), ("y", "2")]
    reference.decode(encoder.encode(headers))
    for number in range(100):
        reference.decode(encoder.encode([*headers, passing_header("grpc-timeout", f"{number}m")]))
    assert [name for name, _ in encoder.header_table.dynamic_entries] == [b"y", b"x"]


def test_what_is_remembered_is_bounded() -> None:
    decoder = Decoder()
    for number in range(1000):
        # A literal that does not go into the table: each block is another one.
        value = str(number).encode()
        decoder.decode(b"\x00\x01x" + bytes([len(value)]) + value, raw=True)
        assert len(decoder._memory._results) <= 32
    decoder.decode(b"\x00\x01y\x7f\x81\x03" + b"z" * 512, raw=True)
    assert max(map(len, decoder._memory._results)) < 512


def some_frames(dice: random.Random) -> bytes:
    """Frames of all kinds, some of which make no sense."""
    frames: list[Frame] = []
    for _ in range(dice.randint(1, 12)):
        data = DataFrame(dice.choice([1, 3]), data=dice.randbytes(dice.randint(0, 40)))
        if dice.random() < 0.3:
            data.flags.add("END_STREAM")
        if dice.random() < 0.2:
            data.flags.add("PADDED")
            data.pad_length = dice.randint(0, 5)
        headers = HeadersFrame(1, data=b"\x82")
        if dice.random() < 0.7:
            headers.flags.add("END_HEADERS")
        rest = ContinuationFrame(1, data=b"\x84", flags=["END_HEADERS"])
        others = [headers, rest, PingFrame(0), WindowUpdateFrame(0, window_increment=1)]
        frames.append(dice.choice([data, data, data, *others]))
    raw = bytearray(b"".join(frame.serialize() for frame in frames))
    if dice.random() < 0.3:
        raw[dice.randrange(len(raw))] = dice.randrange(256)
    return bytes(raw)


def as_seen(frame: Any) -> tuple[Any, ...]:
    """What of a frame h2 looks at."""
    if isinstance(frame, (DataFrame, _Data)):
        ends = "END_STREAM" in frame.flags
        return "DATA", frame.stream_id, frame.data, ends, frame.flow_controlled_length
    return type(frame), frame.stream_id, frame.serialize()


def divide(buffer: FrameBuffer, pieces: list[bytes]) -> list[Any]:
    """The frames of a buffer that is fed piece by piece, and what goes wrong in the end."""
    buffer.max_frame_size = 64
    seen: list[Any] = []
    for piece in pieces:
        buffer.add_data(piece)
        try:
            seen.extend(as_seen(frame) for frame in buffer)
        except (ProtocolError, HyperframeError) as exc:
            return [*seen, type(exc), str(exc)]
    return [*seen, bytes(buffer._data)]


@given(st.integers(0, 2**32))
def test_frames_are_those_of_h2(seed: int) -> None:
    dice = random.Random(seed)
    raw = some_frames(dice)
    size = dice.choice([1, 7, 50, len(raw)])
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    assert divide(_Frames(), pieces) == divide(FrameBuffer(), pieces)


def some_data(dice: random.Random, stream_id: int) -> bytes:
    """Frames of a response: as they should be, or something left out, doubled or too long."""
    headers = HeadersFrame(stream_id, data=hpack.Encoder().encode([(":status", "200")]))
    headers.flags.add("END_HEADERS")
    if dice.random() < 0.3:
        length = str(dice.randint(0, 300))
        headers.data = hpack.Encoder().encode([(":status", "200"), ("content-length", length)])
    frames: list[Frame] = [headers] if dice.random() < 0.9 else []
    for _ in range(dice.randint(0, 4)):
        data = DataFrame(stream_id, data=bytes(dice.choice([0, 1, 100, 16_384])))
        if dice.random() < 0.1:
            data.flags.add("END_STREAM")
        frames.append(data)
    if dice.random() < 0.2:
        frames.insert(dice.randint(0, len(frames)), RstStreamFrame(stream_id, error_code=2))
    return b"".join(frame.serialize() for frame in frames)


def client(short: bool) -> HTTP2:
    h2 = HTTP2(client_side=True, max_header_list_size=10_000)
    if not short:
        h2._frame_dispatch_table[_Data] = h2._receive_data_frame  # type: ignore[index]
    h2.initiate_connection()
    h2.receive_data(SettingsFrame(0).serialize())
    for stream_id in (1, 3):
        h2.send_headers(stream_id, [(":method", "POST"), (":path", "/")], end_stream=stream_id == 3)
    return h2


def received(h2: HTTP2, raw: bytes) -> list[str]:
    try:
        said = [repr(vars(event)) + type(event).__name__ for event in h2.receive_data(raw)]
    except ProtocolError as exc:
        return [type(exc).__name__, str(exc)]
    windows = [
        (number, stream.inbound_flow_control_window) for number, stream in h2.streams.items()
    ]
    return [*said, repr(windows), str(h2.inbound_flow_control_window), h2.data_to_send().hex()]


@given(st.integers(0, 2**32))
def test_data_is_received_as_by_h2(seed: int) -> None:
    dice = random.Random(seed)
    ours, theirs = client(short=True), client(short=False)
    if dice.random() < 0.2:
        ours.reset_stream(1)
        theirs.reset_stream(1)
    for _ in range(dice.randint(1, 5)):
        raw = some_data(dice, dice.choice([1, 1, 3, 5]))
        assert received(ours, raw) == received(theirs, raw)
