"""Times as people write them.

Nothing here reads a clock: `now` and the time zone are passed in.  What is printed can be read.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from ._durations import parse_duration

__all__ = [
    "OffsetChange",
    "find_offset_change",
    "format_moment",
    "format_near",
    "format_offset",
    "parse_absolute",
    "parse_moment",
]

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EXAMPLES = (
    "say now, 'in 10 minutes', '5 minutes ago', 8:00, 'tomorrow 8:00', 'monday 14:00', "
    "'2026-12-01 08:00' or 2026-12-01T08:00Z"
)
_DAY = timedelta(days=1)
_NEAR = {"yesterday": -_DAY, "today": timedelta(), "tomorrow": _DAY}

_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
_DATE = r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
_ABSOLUTE = re.compile(rf"{_DATE}(?:(?:t|\s(?:at\s)?){_CLOCK})?")
_DAY_WORD = re.compile(rf"(?P<word>[a-z]+)(?:\s(?:at\s)?{_CLOCK})?")
_ONLY_CLOCK = re.compile(_CLOCK)
_UTC = re.compile(r"(.*\d) ?z|(.+) ?utc")
_OFFSET = re.compile(r"(.*:\d\d(?:\.\d+)?) ?([+-]\d\d:?\d\d)")


def parse_moment(text: str, *, now: datetime, zone: tzinfo) -> datetime:
    """The moment that a text means, in UTC.

    A time of day alone, and a day of the week, mean the next one; a day without a time its
    beginning.  What counts from now is cut to the whole second; only ``now`` itself is not.

    Args:
      zone: Where days begin and clocks are read, unless the text ends with ``Z``, ``UTC`` or an
        offset such as ``+01:00``.

    Raises:
      ValueError: it means nothing, or a time that a change of the clocks leaves out or repeats.
    """
    words = _words(text)
    if words == "now":
        return now
    try:
        if words.startswith("in "):
            return now.replace(microsecond=0) + _span(words[3:], text)
        if words.endswith(" ago"):
            return now.replace(microsecond=0) - _span(words[:-4], text)
        words, zone = _split_zone(words, zone)
        moment = _next(words, text, now, zone) or _absolute(words, text, zone)
    except OverflowError:
        raise ValueError(f"{text!r} is not within the years 1 to 9999") from None
    if moment is None:
        raise ValueError(f"{text!r} is no time: {_EXAMPLES}")
    return moment


def parse_absolute(text: str, *, zone: tzinfo) -> datetime:
    """The moment that a text means whenever it is read, in UTC: a date, with or without a time.

    Raises:
      ValueError: it means nothing, or not the same on every day.
    """
    try:
        moment = _absolute(*_split_text(text, zone))
    except OverflowError:
        raise ValueError(f"{text!r} is not within the years 1 to 9999") from None
    if moment is None:
        raise ValueError(
            f"{text!r} is no date and time: say 2026-12-01T08:00Z or '2026-12-01 08:00'"
        )
    return moment


def _split_text(text: str, zone: tzinfo) -> tuple[str, str, tzinfo]:
    words, zone = _split_zone(_words(text), zone)
    return words, text, zone


def _words(text: str) -> str:
    return " ".join(text.lower().split())


def _span(words: str, text: str) -> timedelta:
    try:
        span = parse_duration(words)
    except ValueError:
        span = None
    if span is None:
        raise ValueError(f"{text!r} is no time: {_EXAMPLES}")
    return span


def _split_zone(words: str, zone: tzinfo) -> tuple[str, tzinfo]:
    """The text without the zone that it ends with, and that zone."""
    if match := _UTC.fullmatch(words):
        return (match[1] or match[2]).rstrip(), UTC
    if match := _OFFSET.fullmatch(words):
        offset = datetime.strptime(match[2], "%z").tzinfo
        assert offset is not None
        return match[1], offset
    return words, zone


def _next(words: str, text: str, now: datetime, zone: tzinfo) -> datetime | None:
    """The moment of a time of day or of a day of the week; None if it is neither."""
    today = now.astimezone(zone).date()
    if match := _ONLY_CLOCK.fullmatch(words):
        return _first_of(today, _DAY, _clock(match, text), now, zone)
    match = _DAY_WORD.fullmatch(words)
    if match is None:
        return None
    moment, word = _clock(match, text), match["word"]
    if word in _NEAR:
        return _resolve(datetime.combine(today + _NEAR[word], moment), zone)
    for number, name in enumerate(_WEEKDAYS):
        if len(word) >= 2 and name.startswith(word):
            day = today + timedelta((number - today.weekday()) % 7)
            return _first_of(day, 7 * _DAY, moment, now, zone)
    return None


def _first_of(
    day: date, step: timedelta, moment: time, now: datetime, zone: tzinfo
) -> datetime | None:
    """A time of day on a day, or if that is over a step later."""
    local = datetime.combine(day, moment)
    # By the clock on the wall: an hour that is repeated is not over after its first turn.
    if local < now.astimezone(zone).replace(tzinfo=None):
        local += step
    return _resolve(local, zone)


def _absolute(words: str, text: str, zone: tzinfo) -> datetime | None:
    match = _ABSOLUTE.fullmatch(words)
    if match is None:
        return None
    try:
        day = date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError as exc:
        raise ValueError(f"{text!r} is no time: {exc}") from None
    return _resolve(datetime.combine(day, _clock(match, text)), zone)


def _clock(match: re.Match[str], text: str) -> time:
    fraction = int((match["fraction"] or "").ljust(6, "0")[:6])
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    try:
        return time(hour, minute, second, fraction)
    except ValueError as exc:
        raise ValueError(f"{text!r} is no time: {exc}") from None


def _resolve(local: datetime, zone: tzinfo) -> datetime:
    """The moment at which clocks in a zone show this.

    Raises:
      ValueError: there is none, or there are two.
    """
    first, second = (_offset(local, zone, fold) for fold in (0, 1))
    if first == second:
        return (local - first).replace(tzinfo=UTC)
    name = f"{_plain(local)} in {zone}"
    if first < second:
        step = second - first
        raise ValueError(
            f"there is no {name}, where clocks are put forward then: say {_plain(local - step)} or "
            f"{_plain(local + step)}"
        )
    raise ValueError(
        f"there are two {name}, where clocks are put back then: say "
        f"'{_plain(local)}{format_offset(first)}' or '{_plain(local)}{format_offset(second)}'"
    )


def _offset(local: datetime, zone: tzinfo, fold: int) -> timedelta:
    offset = local.replace(tzinfo=zone, fold=fold).utcoffset()
    assert offset is not None
    return offset


# Printing.


def format_moment(moment: datetime, zone: tzinfo) -> str:
    """A moment by the clocks of a zone: ``2026-12-01 08:00``, seconds only if it has any.

    Where clocks show the same time twice, the offset follows.
    """
    try:
        local = moment.astimezone(zone)
    except OverflowError:
        return f"{_plain(moment.astimezone(UTC).replace(tzinfo=None))}Z"
    plain = local.replace(tzinfo=None, fold=0)
    text = _plain(plain)
    first, second = (_offset(plain, zone, fold) for fold in (0, 1))
    if first == second:
        return text
    return text + format_offset(_offset(plain, zone, local.fold))


def format_near(moment: datetime, now: datetime, zone: tzinfo, *, seconds: bool = True) -> str:
    """A moment by the clocks of a zone, without a date if that is today, and with tomorrow's name.

    Args:
      seconds: Whether to show them, if it has any.
    """
    text = format_moment(moment if seconds else moment.replace(second=0, microsecond=0), zone)
    today = format_moment(now, zone)[:10]
    if text[:10] == today:
        return text[11:]
    try:
        tomorrow = format_moment(now + _DAY, zone)[:10]
    except OverflowError:
        return text
    return f"tomorrow {text[11:]}" if text[:10] == tomorrow else text


def _plain(local: datetime) -> str:
    if local.microsecond:
        return local.isoformat(" ")
    return local.isoformat(" ", "seconds" if local.second else "minutes")


def format_offset(offset: timedelta) -> str:
    """``+01:00``."""
    sign = "-" if offset < timedelta() else "+"
    minutes = round(abs(offset).total_seconds() / 60)
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}"


class OffsetChange:
    """A change of the clocks in a zone.

    Attributes:
      moment: When it is, in UTC.
      before, after: How far the clocks are ahead of UTC.
    """

    def __init__(self, moment: datetime, before: timedelta, after: timedelta) -> None:
        self.moment = moment
        self.before = before
        self.after = after


def find_offset_change(zone: tzinfo, now: datetime, days: int = 366) -> OffsetChange | None:
    """The next change of the clocks in a zone, to the second; None if none is near."""

    def offset(moment: datetime) -> timedelta:
        return moment.astimezone(zone).utcoffset() or timedelta()

    low = now.replace(microsecond=0)
    before = offset(low)
    for _ in range(days):
        high = low + _DAY
        if offset(high) != before:
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                low, high = (middle, high) if offset(middle) == before else (low, middle)
            return OffsetChange(high, before, offset(high))
        low = high
    return None
