"""Our decoder compared with Google's: both reject the same messages, and read the same content of
all others, also after ours has encoded them again.

The protobuf package on PyPI is Google's runtime in C.  It accepts field number 0 within an unknown
group, which is invalid.  So the runtime in C++ decides about messages that only ours rejects.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.effort import cases
from tests.helpers.interop.cpp import (
    OURS,
    Every,
    GooglesDecoder,
    cpp_takes,
    encoded_again,
    our_meaning,
)
from tests.helpers.interop.odd_messages import Choices, odd_message
from trio_dispatch.api import wire
from trio_dispatch.api.wire import Struct
from trio_dispatch.protobuf._wire_format import varint

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden_messages.json").read_text())
CLASSES = [
    Every,
    wire.Dispatch,
    wire.ListMicrogridDispatchesResponse,
    wire.UpdateMicrogridDispatchRequest,
]
EXAMPLES = cases(100, long=25_000)  # of each class


@pytest.fixture(scope="module")
def googles() -> Iterator[GooglesDecoder]:
    decoder = GooglesDecoder()
    yield decoder
    decoder.close()


def check(googles: GooglesDecoder, cls: Any, data: bytes) -> None:
    ours, theirs = our_meaning(cls, data), googles.meaning(cls, data)
    if ours is None and theirs is not None and not cpp_takes(cls, data):
        return
    assert ours == theirs, f"{cls.__name__}: {data.hex()}"
    if ours is not None:
        again = encoded_again(cls, data)
        assert googles.meaning(cls, again) == theirs, f"{cls.__name__}: {data.hex()}"


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["name"])
def test_golden_messages(googles: GooglesDecoder, row: dict[str, Any]) -> None:
    cls, data = getattr(wire, row["message"].rpartition(".")[2]), bytes.fromhex(row["hex"])
    assert (googles.meaning(cls, data) is None) == ("error" in row)
    check(googles, cls, data)


@pytest.mark.parametrize("cls", CLASSES)
@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.integers(0, 300).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_odd_messages(googles: GooglesDecoder, cls: Any, choices: bytes) -> None:
    check(googles, cls, odd_message(Choices(choices), cls))


@pytest.mark.parametrize("cls", CLASSES)
def test_odd_messages_are_of_both_kinds(googles: GooglesDecoder, cls: Any) -> None:
    """Some are invalid, some are valid, and most have content."""
    rng = random.Random(1)
    messages = [odd_message(Choices(rng.randbytes(rng.randrange(300))), cls) for _ in range(300)]
    meanings = [googles.meaning(cls, data) for data in messages]
    assert sum(meaning is None for meaning in meanings) > 60
    assert sum(meaning not in {None, "[[], []]"} for meaning in map(json.dumps, meanings)) > 60


def field(number: int, content: bytes, length_in: int = 1) -> bytes:
    """A delimited field, with its length in at least this number of bytes."""
    length = varint(len(content))
    if len(length) < length_in:
        padding = b"\x80" * (length_in - len(length) - 1) + b"\x00"
        length = length[:-1] + bytes([length[-1] | 0x80]) + padding
    return varint(number << 3 | 2) + length + content


NESTED = field(16, b"\x08\x01")
TRUNCATED_PIECE, THE_REST = field(16, b"\x08"), field(16, b"\x01")
PIECES = {
    "two pieces": NESTED + field(16, b"\x10\x02"),
    "three pieces": NESTED * 3,
    "a piece that is cut in the middle of a field": TRUNCATED_PIECE + THE_REST,
    "the last piece is cut": NESTED + TRUNCATED_PIECE,
    "the middle piece is cut": NESTED + TRUNCATED_PIECE + NESTED,
    "pieces of pieces": field(16, NESTED + NESTED) + field(16, NESTED),
    "pieces of pieces, one cut": field(16, NESTED + TRUNCATED_PIECE) + field(16, NESTED),
    "a message in a oneof gives way": field(43, b"\x08\x01") + field(42, b"a"),
    "one that is cut gives way": field(43, b"\x08") + field(42, b"a"),
    "one gives way to another": field(43, b"\x08\x01") + field(45, b"\x10\x01"),
    "one that is cut gives way to another": field(43, b"\x08") + field(45, b"\x10\x01"),
    "one in pieces gives way": field(43, b"\x08\x01") * 2 + field(42, b"a"),
    "one in pieces, of which one is cut, gives way": field(43, b"\x08") * 2 + field(42, b"a"),
    "one gives way and comes again": field(43, b"\x08\x01") + b"\xc8\x02\x01" + field(43, b""),
    "an entry of a map with more in it": field(52, b"\x08\x01\x12\x01a\x78\x01"),
    "the same, cut": field(52, b"\x08\x01\x12\x01a\x78"),
    "an entry of a map without a key": field(52, b"\x12\x01a"),
    "an entry of a map without a message": field(51, b"\x0a\x01a"),
    "an entry of a map in pieces": field(51, b"\x0a\x01a" + field(2, b"\x08\x01") * 2),
    "a key that comes twice": field(52, b"\x08\x01\x12\x01a") + field(52, b"\x08\x01\x12\x01b"),
    "a string that is not UTF-8 gives way": b"\x72\x01\xff\x72\x01a",
    "a key that is not UTF-8": field(51, b"\x0a\x01\xff"),
    "bytes that are not UTF-8": b"\x7a\x01\xff",
    "a list that is cut": b"\xaa\x01\x02\x01\x80",
    "a list of halves": b"\xf2\x01\x05aaaab",
    "a group that does not begin": b"\x9c\x06",
    "a group that does not end": b"\x9b\x06",
    "a group that ends as another": b"\x9b\x06\xa4\x06",
    "wire type 6": b"\x0e\x00",
    "wire type 7": b"\x0f\x00",
    "field number 0": b"\x00\x00",
    "field number 0 as a string": b"\x02\x00",
    "field number 0 as a group": b"\x03\x04",
}


@pytest.mark.parametrize("data", PIECES.values(), ids=PIECES.keys())
def test_special_cases(googles: GooglesDecoder, data: bytes) -> None:
    check(googles, Every, data)
    check(googles, Every, field(16, data))
    check(googles, Every, field(51, field(2, data)))
    check(googles, Every, field(43, data) + b"\xc8\x02\x01")


@pytest.mark.parametrize("cls", [Every, wire.Dispatch])
def test_number_0_in_a_group(googles: GooglesDecoder, cls: Any) -> None:
    data = b"\x9b\x06\x05\x31\x32\x33\x34\x9c\x06"
    assert googles.meaning(cls, data) is not None
    assert not cpp_takes(cls, data)
    assert our_meaning(cls, data) is None
    assert cpp_takes(cls, data.replace(b"\x05", b"\x0d"))


@pytest.mark.parametrize("width", range(1, 12))
def test_wide_varints(googles: GooglesDecoder, width: int) -> None:
    """Tags, lengths and values that are longer than needed, of known and unknown fields."""

    def wide(value: int) -> bytes:
        sevens = [value >> (7 * n) & 0x7F for n in range(width)]
        return bytes([*(seven | 0x80 for seven in sevens[:-1]), sevens[-1]])

    for number in (1, 7, 14):
        check(googles, Every, wide(number << 3) + b"\x01")
        check(googles, Every, varint(number << 3) + wide(1))
    check(googles, Every, wide(14 << 3 | 2) + b"\x01a")
    check(googles, Every, b"\x72" + wide(1) + b"a")
    check(googles, Every, b"\xfa\x06" + wide(1) + b"a")
    check(googles, Every, b"\xf8\x06" + wide(1))
    check(googles, Every, b"\xaa\x01" + wide(width) + wide(1))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 17, 21, 22, 25, 27, 111])
def test_bits_beyond_those_of_the_type(googles: GooglesDecoder, number: int) -> None:
    for last in (0, 1, 2, 4, 64, 127):
        check(googles, Every, varint(number << 3) + b"\x80" * 9 + bytes([last]))
        check(googles, Every, varint(number << 3) + b"\xff" * 9 + bytes([last]))
    for value in (2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**33, 2**63, 2**64 - 1):
        check(googles, Every, varint(number << 3) + varint(value))


@pytest.mark.parametrize("depth", [1, 49, 98, 99, 100, 101, 102, 300, 3000])
def test_depth(googles: GooglesDecoder, depth: int) -> None:
    """Nested messages and groups, and JSON, which takes three messages a level."""
    messages = b""
    for _ in range(depth):
        messages = field(16, messages)
    check(googles, Every, messages)
    groups = b"\x9b\x06" * depth + b"\x9c\x06" * depth
    check(googles, Every, groups)
    for _ in range(50):
        groups = field(16, groups)
    check(googles, Every, groups)
    struct = b""
    for _ in range(depth // 3 + 1):
        struct = field(1, b"\x0a\x01a" + field(2, field(5, struct)))
    check(googles, Struct, struct)
    check(googles, wire.Dispatch, field(2, field(7, struct)))


@pytest.mark.parametrize(
    "piece",
    [b"\xf8\x06\x01", NESTED, field(52, b"\x08\x01\x78\x01")],
    ids=["unknown", "pieces", "map"],
)
def test_much_of_little_takes_no_more_than_its_length(piece: bytes) -> None:
    """Twenty times the input takes twenty times as long, not four hundred times."""

    def seconds(count: int) -> float:
        data = piece * count
        began = time.process_time()
        assert our_meaning(Every, data[: len(piece)]) is not None
        OURS.decode(data, Every)
        return time.process_time() - began

    seconds(100)
    assert seconds(80_000) < 90 * min(seconds(4_000) for _ in range(3))
