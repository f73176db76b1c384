"""Durations as people write them: ``90m``, ``1h30m``, ``01:30:00``, ``2 days``, ``PT1H30M``."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

__all__ = ["format_duration", "parse_duration"]

_MOST = (1 << 32) - 1
_EXAMPLES = "say 90m, 1h30m, 01:30:00, '2 days', PT1H30M, 0 for a pulse, or forever"

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
_NUMBER = r"\d+(?:\.\d+)?"
_PART = re.compile(rf"({_NUMBER})\s*([a-z]+)\s*(?:,|and\b)?\s*")
_PARTS = re.compile(rf"(?:{_PART.pattern})+")
_CLOCK = re.compile(r"(\d+):([0-5]\d)(?::([0-5]\d))?")
_ISO = re.compile(
    rf"p(?:({_NUMBER})w)?(?:({_NUMBER})d)?(?:t(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s)?)?"
)


def parse_duration(text: str) -> timedelta | None:
    """The duration that a text means; None if that is for ever.

    ``1:30`` is an hour and a half, and ``0`` a pulse.  A day has 24 hours.

    Raises:
      ValueError: it means nothing, is no number of whole seconds, or more of them than the API
        can say.
    """
    words = " ".join(text.lower().split())
    if words in {"forever", "none", "for ever", "without end"}:
        return None
    if words in {"0", "pulse"}:
        return timedelta()
    seconds = _seconds(words)
    if seconds is None:
        hint = (
            f"say {text}s, {text}m or {text}h" if words.isascii() and words.isdigit() else _EXAMPLES
        )
        raise ValueError(f"{text!r} is no duration: {hint}")
    if seconds.denominator != 1:
        raise ValueError(f"{text!r} is no number of whole seconds: the API has nothing smaller")
    if seconds > _MOST:
        raise ValueError(f"{text!r} is more than 2**32 - 1 seconds: say forever")
    return timedelta(seconds=int(seconds))


def _seconds(words: str) -> Fraction | None:
    if match := _CLOCK.fullmatch(words):
        hours, minutes, seconds = match.groups(default="0")
        return Fraction(int(hours) * 3600 + int(minutes) * 60 + int(seconds))
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


def format_duration(duration: timedelta | None) -> str:
    """A duration in a form that `parse_duration` reads."""
    if duration is None:
        return "forever"
    rest = round(duration.total_seconds())
    if not rest:
        return "pulse"
    text = ""
    for unit, seconds in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        number, rest = divmod(rest, seconds)
        text += f"{number}{unit}" if number else ""
    return text
