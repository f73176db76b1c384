"""Dispatches to draw, and a decoder of PNG."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import strategies as st

from trio_dispatch import Dispatch, Frequency, RecurrenceRule, TargetIds
from trio_dispatch.testing import make_dispatch

BEGIN = datetime(2026, 6, 15, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NASTY = [
    "<script>alert(1)</script>",
    "</script><!--",
    "\"'&amp;]]>",
    "two\nlines\r\x1b[31mred\x1b[0m\x00\x7f\x9b",
    "\ufffe \u202e gnirts",
    "電池の充電",
    "🔋" * 40,
    "e\u0301" * 50,
    "",
    "a" * 300,
]
"""Types that a picture must render harmless."""


def documentation() -> ModuleType:
    """Return the module that draws the pictures of the documentation."""
    path = Path(__file__).parents[2] / "docs" / "pictures" / "make.py"
    spec = importlib.util.spec_from_file_location("documentation_pictures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def minutely(id: int = 1, **fields: Any) -> Dispatch:
    """Return a dispatch that has run for 20 seconds of each minute for 300 days."""
    defaults: dict[str, Any] = {
        "start_time": BEGIN - 300 * DAY,
        "duration": timedelta(seconds=20),
        "recurrence": RecurrenceRule(Frequency.MINUTELY),
    }
    return make_dispatch(id, **(defaults | fields))


_some = st.lists(st.integers(0, 23), max_size=3, unique=True).map(tuple)
RULES = st.none() | st.builds(
    RecurrenceRule,
    st.sampled_from([Frequency.MINUTELY, Frequency.HOURLY, Frequency.DAILY, Frequency.WEEKLY]),
    interval=st.sampled_from([1, 1, 2, 3, 7, 25]),
    byhours=_some,
    byminutes=_some,
)
DURATIONS = st.sampled_from(
    [None, timedelta(), timedelta(seconds=30), MINUTE, 5 * MINUTE, HOUR, 7 * HOUR, 26 * HOUR]
)


@st.composite
def dispatches(draw: st.DrawFn, most: int = 8) -> list[Dispatch]:
    """Generate dispatches around `BEGIN`, of two types and three targets."""
    return [
        make_dispatch(
            id,
            type=draw(st.sampled_from(["A", "B"])),
            target=draw(st.sampled_from([TargetIds(1), TargetIds(1, 2), None])),
            start_time=BEGIN + draw(st.integers(-4000, 600)) * MINUTE,
            duration=draw(DURATIONS),
            recurrence=draw(RULES),
            active=draw(st.sampled_from([True, True, True, False])),
            dry_run=draw(st.booleans()),
        )
        for id in range(draw(st.integers(0, most)))
    ]


@dataclass
class Image:
    """The pixels of a PNG: rows of four bytes each, red, green, blue and alpha."""

    width: int
    height: int
    rows: list[bytes]

    def column(self, x: int) -> set[bytes]:
        """Return the colours in a column."""
        return {row[4 * x : 4 * x + 4] for row in self.rows}


def decode_png(data: bytes) -> Image:
    """Decode a PNG with 8 bits each of red, green, blue and alpha, not interlaced."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    place, packed, width, height = 8, b"", 0, 0
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        content = data[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, place + 8 + length)
        assert checksum == zlib.crc32(kind + content)
        if kind == b"IHDR":
            width, height, *form = struct.unpack(">IIBBBBB", content)
            assert form == [8, 6, 0, 0, 0]
        if kind == b"IDAT":
            packed += content
        place += 12 + length
    raw = zlib.decompress(packed)
    size = 4 * width
    assert len(raw) == height * (size + 1)
    rows: list[bytes] = []
    above = bytes(size)
    for number in range(height):
        start = number * (size + 1)
        above = _unfilter(raw[start], raw[start + 1 : start + 1 + size], above)
        rows.append(above)
    return Image(width, height, rows)


def _unfilter(kind: int, line: bytes, above: bytes) -> bytes:
    row = bytearray(line)
    for place in range(len(row)):
        left = row[place - 4] if place >= 4 else 0
        up = above[place]
        corner = above[place - 4] if place >= 4 else 0
        row[place] = (row[place] + _predicted(kind, left, up, corner)) & 255
    return bytes(row)


def _predicted(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 4:
        guess = left + up - corner
        return min((left, up, corner), key=lambda each: abs(guess - each))
    return (0, left, up, (left + up) // 2)[kind]
