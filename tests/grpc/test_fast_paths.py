"""The fast path of HPACK yields what hpack yields, and hpack logs no header."""

from __future__ import annotations

import logging
from typing import Any

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_dispatch.grpc._hpack import Decoder, Encoder, never_indexed

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
