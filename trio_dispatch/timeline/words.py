"""Texts of a picture: times, spans and payloads, and the width of a text."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo

from ..model.dispatch import Dispatch
from ..model.payload import Payload, PlainJSON

__all__ = [
    "DAYS",
    "MONTHS",
    "WIDEST",
    "cells",
    "clean",
    "moment_text",
    "natural_key",
    "payload_text",
    "pixels",
    "shorten",
    "span_text",
    "zone_text",
]

# strftime would follow the locale.
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

# Control characters, format characters and separators: invisible, or with an effect.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_NOT_XML = {"\ufffe", "\uffff"}


def clean(text: str) -> str:
    """Return the text in one line, without characters that a terminal or XML does not accept."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        "\ufffd" if unicodedata.category(each) in _UNSEEN or each in _NOT_XML else each
        for each in text
    )


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers within texts as numbers, and ignores case."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part.casefold())
        for part in re.split(r"(\d+)", text)
        if part
    ]


def payload_text(dispatch: Dispatch) -> str:
    """Return the payload as JSON, or an empty text for an empty payload."""
    if not dispatch.payload:
        return ""
    content = Payload(dispatch.payload).to_dict()
    return clean(json.dumps(_short_numbers(content), ensure_ascii=False))


def _short_numbers(value: PlainJSON) -> PlainJSON:
    """Return the value with whole numbers as integers: 5 rather than 5.0."""
    if isinstance(value, dict):
        return {key: _short_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_short_numbers(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


# Times.


def moment_text(moment: datetime, zone: tzinfo) -> str:
    """Return a moment as date and time in a zone."""
    local = _local(moment, zone)
    return f"{_date(local)}, {_time(local)}"


def span_text(start: datetime, end: datetime | None, zone: tzinfo) -> str:
    """Return a time range as text; a common day is written once."""
    if end is None:
        return f"{moment_text(start, zone)} without end"
    if start == end:
        return moment_text(start, zone)
    first, last = _local(start, zone), _local(end, zone)
    if first.date() == last.date():
        return f"{_date(first)}, {_time(first)} to {_time(last)}"
    return f"{_date(first)}, {_time(first)} to {_date(last)}, {_time(last)}"


def zone_text(zone: tzinfo) -> str:
    """Return the name of a zone."""
    return clean(str(zone)) if zone is not UTC else "UTC"


def _local(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment


def _date(local: datetime) -> str:
    return f"{DAYS[local.weekday()]} {local.day} {MONTHS[local.month - 1][:3]} {local.year}"


def _time(local: datetime) -> str:
    return f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"


# Widths.

# Of Roboto, in hundredths of an em, from the space to the tilde.
_WIDTHS = (
    25, 26, 32, 62, 56, 73, 62, 17, 34, 35, 43, 57, 20, 28, 26, 41, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 24, 21, 51, 55, 52, 47, 90, 65, 62, 65, 66, 57, 55, 68, 71, 27, 55, 63, 54, 87, 71, 69,
    63, 69, 62, 59, 60, 65, 64, 89, 63, 60, 60, 27, 41, 27, 42, 45, 31, 54, 56, 52, 56, 53, 35, 56,
    55, 24, 24, 51, 24, 88, 55, 57, 56, 57, 34, 52, 33, 55, 48, 75, 50, 47, 50, 34, 24, 34, 68,
)  # fmt: skip

WIDEST = 1.2
"""The width of the widest common sans-serif fonts, compared with Roboto."""


def cells(text: str) -> int:
    """Return the columns that a text takes in a terminal."""
    return sum(map(_cells, text)) if not text.isascii() else len(text)


def pixels(text: str, size: float) -> float:
    """Return the width of a text in Roboto of a size, or a little more for letters beyond ASCII."""
    return size * sum(map(_ems, text))


def shorten(text: str, room: float, width: Callable[[str], float]) -> str:
    """Return the text, or as much of its beginning as the room allows, and an ellipsis."""
    if width(text) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width(text[:middle].rstrip() + "…") <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…" if low else ""


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _ems(character: str) -> float:
    place = ord(character) - 32
    if 0 <= place < len(_WIDTHS):
        return _WIDTHS[place] / 100
    return 1.05 if _cells(character) == 2 else 0.8
