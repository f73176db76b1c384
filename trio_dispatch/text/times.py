"""Times as people write them.

Nothing here reads a clock: the present and the time zone are arguments.  Every time that is
formatted can be parsed again.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from .durations import parse_duration

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EXAMPLES = (
    "use now, 'in 10 minutes', '5 minutes ago', 8:00, 6pm, 'tomorrow 8:00', 'monday 14:00', "
    "'2026-12-01 08:00' or 2026-12-01T08:00Z"
)
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_NEAR = {"yesterday": -_DAY, "today": timedelta(), "tomorrow": _DAY}

_CLOCK = (
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?)?"
    r"(?:\s?(?P<half>am|pm))?"
)
_DATE = r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
_ABSOLUTE = re.compile(rf"{_DATE}(?:(?:t|\s(?:at\s)?){_CLOCK})?", re.ASCII)
_DAY_WORD = re.compile(rf"(?P<word>[a-z]+)(?:\s(?:at\s)?{_CLOCK})?", re.ASCII)
_ONLY_CLOCK = re.compile(_CLOCK, re.ASCII)
_UTC = re.compile(r"(.*\d) ?z|(.+) ?utc")
_OFFSET = re.compile(
    r"(.*:\d\d(?:\.\d+)?) ?([+-])([01]\d|2[0-3]):?([0-5]\d)(?::([0-5]\d))?", re.ASCII
)


# Parsing.


def parse_moment(text: str, *, now: datetime, zone: tzinfo) -> datetime:
    """Return the moment that a text means, in UTC.

    A time of day, or a day of the week, means the next one.  A day without a time means its first
    moment, which is not midnight on a day that the clocks begin later.  What counts from now is cut
    to the whole second; only ``now`` itself is not.

    Args:
      zone: The zone of days and clocks, unless the text ends with ``Z``, ``UTC`` or an offset such
        as ``+01:00``.

    Raises:
      ValueError: the text is not a time, or means a time that the clocks skip or show twice.
    """
    words = _words(text)
    if words == "now":
        return now
    try:
        if words.startswith("in "):
            return now.replace(microsecond=0) + _length(words[3:], text)
        if words.endswith(" ago"):
            return now.replace(microsecond=0) - _length(words[:-4], text)
        words, zone = _split_zone(words, zone)
        moment = _next(words, text, now, zone) or _absolute(words, text, zone)
    except OverflowError:
        raise ValueError(f"{text!r} is not within the years 1 to 9999") from None
    if moment is None:
        raise ValueError(f"{text!r} is not a time: {_EXAMPLES}")
    return moment


def parse_absolute(text: str, *, zone: tzinfo) -> datetime:
    """Return the moment of a date, with or without a time of day, in UTC.

    Raises:
      ValueError: the text is not a date, or means something else on another day.
    """
    words, zone = _split_zone(_words(text), zone)
    try:
        moment = _absolute(words, text, zone)
    except OverflowError:
        raise ValueError(f"{text!r} is not within the years 1 to 9999") from None
    if moment is None:
        raise ValueError(
            f"{text!r} is not a date and time: use 2026-12-01T08:00Z or '2026-12-01 08:00'"
        )
    return moment


def _words(text: str) -> str:
    return " ".join(text.lower().split())


def _length(words: str, text: str) -> timedelta:
    try:
        length = parse_duration(words)
    except ValueError:
        length = None
    if length is None:
        raise ValueError(f"{text!r} is not a time: {_EXAMPLES}")
    return length


def _split_zone(words: str, zone: tzinfo) -> tuple[str, tzinfo]:
    """The text without the zone that it ends with, and that zone."""
    if match := _UTC.fullmatch(words):
        return (match[1] or match[2]).rstrip(), UTC
    if match := _OFFSET.fullmatch(words):
        offset = datetime.strptime(
            f"{match[2]}{match[3]}:{match[4]}:{match[5] or '00'}", "%z"
        ).tzinfo
        assert offset is not None
        return match[1], offset
    return words, zone


def _next(words: str, text: str, now: datetime, zone: tzinfo) -> datetime | None:
    """The next moment of a time of day or of a day of the week; None if it is neither."""
    today = now.astimezone(zone).date()
    if match := _ONLY_CLOCK.fullmatch(words):
        return _first_of(today, _DAY, _clock(match, text), now, zone)
    match = _DAY_WORD.fullmatch(words)
    if match is None:
        return None
    clock, word = _clock(match, text), match["word"]
    if word in _NEAR:
        return _on(today + _NEAR[word], clock, zone)
    for number, name in enumerate(_WEEKDAYS):
        if len(word) >= 2 and name.startswith(word):
            day = today + timedelta((number - today.weekday()) % 7)
            return _first_of(day, 7 * _DAY, clock, now, zone)
    return None


def _first_of(
    day: date, step: timedelta, clock: time | None, now: datetime, zone: tzinfo
) -> datetime:
    """A time of day on a day; if it has passed, a step later."""
    if clock is None:
        moment = _start_of(day, zone)
        return moment if moment >= now else _start_of(day + step, zone)
    local = datetime.combine(day, clock)
    to_come = [moment for moment in _moments(local, zone) if moment >= now]
    if len(to_come) == 1:
        return to_come[0]
    # Of a time that the clocks skip, they tell whether it has passed.
    skipped = not _moments(local, zone) and local >= now.astimezone(zone).replace(tzinfo=None)
    return _resolve(local if to_come or skipped else local + step, zone)


def _absolute(words: str, text: str, zone: tzinfo) -> datetime | None:
    match = _ABSOLUTE.fullmatch(words)
    if match is None:
        return None
    try:
        day = date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError as exc:
        raise ValueError(f"{text!r} is not a time: {exc}") from None
    return _on(day, _clock(match, text), zone)


def _clock(match: re.Match[str], text: str) -> time | None:
    if match["hour"] is None:
        return None
    fraction = int((match["fraction"] or "").ljust(6, "0")[:6])
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(f"{text!r} is not a time: before am and pm, use an hour from 1 to 12")
        hour = hour % 12 + 12 * (match["half"] == "pm")
    elif match["minute"] is None:
        raise ValueError(f"{text!r} is not a time: {_EXAMPLES}")
    try:
        return time(hour, minute, second, fraction)
    except ValueError as exc:
        raise ValueError(f"{text!r} is not a time: {exc}") from None


# Local times and moments.


def _on(day: date, clock: time | None, zone: tzinfo) -> datetime:
    return _start_of(day, zone) if clock is None else _resolve(datetime.combine(day, clock), zone)


def _start_of(day: date, zone: tzinfo) -> datetime:
    """The first moment of a day: midnight, or where the clocks skip midnight the moment after.

    Raises:
      ValueError: the clocks skip the whole day.
    """
    midnight = datetime.combine(day, time())
    if moments := _moments(midnight, zone):
        return moments[0]
    before, after = (_offset(midnight, zone, fold) for fold in (0, 1))
    change = _find_change(
        zone, (midnight - after).replace(tzinfo=UTC), (midnight - before).replace(tzinfo=UTC)
    )
    if change.astimezone(zone).date() != day:
        raise ValueError(f"{day} does not exist in {zone}: the clocks skip that day")
    return change


def _resolve(local: datetime, zone: tzinfo) -> datetime:
    """The moment at which the clocks of a zone show a local time.

    Raises:
      ValueError: there is no such moment, or there are two.
    """
    moments = _moments(local, zone)
    if len(moments) == 1:
        return moments[0]
    before, after = (_offset(local, zone, fold) for fold in (0, 1))
    what = f"{_plain(local)}"
    if not moments:
        step = after - before
        raise ValueError(
            f"{what} does not exist in {zone}, where the clocks go forward: use "
            f"{_plain(local - step)} or {_plain(local + step)}"
        )
    raise ValueError(
        f"{what} occurs twice in {zone}, where the clocks go back: use "
        f"'{what}{format_offset(before)}' or '{what}{format_offset(after)}'"
    )


def _moments(local: datetime, zone: tzinfo) -> list[datetime]:
    """The moments at which the clocks of a zone show a local time: none, one or two."""
    first, second = (_offset(local, zone, fold) for fold in (0, 1))
    if first < second:  # PEP 495: in a gap, fold=0 has the offset before it
        return []
    return [(local - offset).replace(tzinfo=UTC) for offset in dict.fromkeys((first, second))]


def _offset(local: datetime, zone: tzinfo, fold: int) -> timedelta:
    offset = local.replace(tzinfo=zone, fold=fold).utcoffset()
    assert offset is not None
    return offset


def _offset_at(moment: datetime, zone: tzinfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _find_change(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """The first second after `low` whose offset is another one; by `high` it is."""
    before = _offset_at(low, zone)
    while high - low > _SECOND:
        middle = (low + (high - low) // 2).replace(microsecond=0)
        low, high = (middle, high) if _offset_at(middle, zone) == before else (low, middle)
    return high


class OffsetChange(NamedTuple):
    """A change of the clocks in a zone.

    Attributes:
      moment: When it happens, in UTC.
      before, after: How far the clocks are ahead of UTC.
    """

    moment: datetime
    before: timedelta
    after: timedelta


def find_offset_change(zone: tzinfo, now: datetime, days: int = 366) -> OffsetChange | None:
    """Return the next change of the clocks in a zone, to the second; None if none is near."""
    low = now.replace(microsecond=0)
    before = _offset_at(low, zone)
    for _ in range(days):
        high = low + _DAY
        if _offset_at(high, zone) != before:
            moment = _find_change(zone, low, high)
            return OffsetChange(moment, before, _offset_at(moment, zone))
        low = high
    return None


# Formatting.


def format_moment(moment: datetime, zone: tzinfo) -> str:
    """Return a moment by the clocks of a zone: ``2026-12-01 08:00``, seconds only if it has any.

    Where the clocks show the same time twice, the offset follows.
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
    """Return a moment by the clocks of a zone, without the date today and with ``tomorrow`` for it.

    Args:
      seconds: Whether to show them, if it has any.
    """
    text = format_moment(moment if seconds else moment.replace(second=0, microsecond=0), zone)
    if text[:10] == format_moment(now, zone)[:10]:
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
    """Return an offset as ``+01:00``."""
    sign = "-" if offset < timedelta() else "+"
    minutes, seconds = divmod(round(abs(offset).total_seconds()), 60)
    text = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{seconds:02}" if seconds else text
