"""Durations as people write them: ``90m``, ``1h30m``, ``01:30:00``, ``2 days``, ``PT1H30M``."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

from ..model.validation import MAX_SECONDS

_EXAMPLES = "use 90m, 1h30m, 01:30:00, '2 days', PT1H30M, 0 for a pulse, or forever"
_FOREVER = {"forever", "none", "for ever", "without end"}

_UNITS = {
    unit: seconds
    for units, seconds in (
        ("s sec secs second seconds", 1),
        ("m min mins minute minutes", 60),
        ("h hr hrs hour hours", 3600),
        ("d day days", 86_400),
        ("w week weeks", 604_800),
    )
    for unit in units.split()
}
_NUMBER = r"\d{1,400}(?:\.\d{1,400})?"
_PART = re.compile(rf"({_NUMBER})\s*([a-z]+)\s*(?:,|and\b)?\s*", re.ASCII)
_PARTS = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_CLOCK = re.compile(r"(\d{1,400}):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_ISO = re.compile(
    rf"p(?:({_NUMBER})w)?(?:({_NUMBER})d)?(?:t(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s)?)?",
    re.ASCII,
)


def parse_duration(text: str) -> timedelta | None:
    """Return the duration that a text means; None for ever.

    ``1:30`` is an hour and a half, and ``0`` a pulse.  A day has 24 hours.

    Raises:
      ValueError: the text is not a duration, not a whole number of seconds, or too long for the
        API.
    """
    words = " ".join(text.lower().split())
    if words in _FOREVER:
        return None
    if words in {"0", "pulse"}:
        return timedelta()
    seconds = _seconds(words)
    if seconds is None:
        number = words.isascii() and words.isdigit()
        hint = f"use {words}s, {words}m or {words}h" if number else _EXAMPLES
        raise ValueError(f"{text!r} is not a duration: {hint}")
    if seconds.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of seconds")
    if seconds > MAX_SECONDS:
        raise ValueError(f"{text!r} is more than 2**32 - 1 seconds: use forever")
    return timedelta(seconds=int(seconds))


def _seconds(words: str) -> Fraction | None:
    if match := _CLOCK.fullmatch(words):
        hours, minutes, seconds = map(int, match.groups(default="0"))
        return Fraction(hours * 3600 + minutes * 60 + seconds)
    if (match := _ISO.fullmatch(words)) and any(match.groups()):
        numbers = map(Fraction, match.groups(default="0"))
        units = (604_800, 86_400, 3600, 60, 1)
        return sum((n * unit for n, unit in zip(numbers, units, strict=True)), Fraction())
    if not _PARTS.fullmatch(words):
        return None
    total = Fraction()
    for number, unit in _PART.findall(words):
        if unit not in _UNITS:
            return None
        total += Fraction(number) * _UNITS[unit]
    return total
