"""How databases keep the values of a `Row` that their own types cannot hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

__all__ = ["from_signed", "nanos_of_text", "text_of_nanos", "to_signed"]

_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NEVER = "never"
"""The end of a dispatch without an end; as a text it sorts after every year."""


def text_of_nanos(nanos: int | None) -> str:
    """Return nanoseconds since 1970 as a text that sorts as they do; None sorts last.

    The years 1 to 9999 in nanoseconds exceed 64 bits.
    """
    if nanos is None:
        return _NEVER
    seconds, rest = divmod(nanos, _SECOND)
    return f"{_second_text(seconds)}.{rest:09}Z"


@lru_cache(maxsize=1024)
def _second_text(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def nanos_of_text(text: str) -> int | None:
    """Undo `text_of_nanos`.

    Raises:
      ValueError: the text has another form.
    """
    if text == _NEVER:
        return None
    delta = datetime.fromisoformat(f"{text[:19]}+00:00") - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * _SECOND + int(text[20:29])


def to_signed(number: int) -> int:
    """Return an unsigned number of 64 bits as a signed one: the upper half is negative."""
    return number if number < 1 << 63 else number - (1 << 64)


def from_signed(number: int) -> int:
    """Undo `to_signed`."""
    return number if number >= 0 else number + (1 << 64)
