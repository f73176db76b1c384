"""The occurrences of a rule with a start: compiled from a rule, found, and counted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

from . import bits
from .days import ANY_MONTH, ANY_MONTHDAY, ANY_WEEKDAY, Days, month_of
from .pattern import LAST_MINUTE, Pattern
from .phase import Phase, Residues, Stride
from .times import DAY, SameTimes, ShiftingTimes, stride_of

_SLOTS = {"MINUTELY": 1, "HOURLY": 60}
"""The minutes in the units that are shorter than a day."""
_ZERO = datetime(1, 1, 1, tzinfo=UTC)


class Series(Protocol):
    """The occurrences of a rule with a start, in order.  All moments are in UTC."""

    def next_after(self, after: datetime, inclusive: bool) -> datetime | None:
        """Return the first occurrence later than a moment, or at it if `inclusive`."""

    def last_before(self, before: datetime, inclusive: bool) -> datetime | None:
        """Return the last occurrence earlier than a moment, or at it if `inclusive`."""

    def last(self) -> datetime | None:
        """Return the last occurrence; None without an occurrence or without an end."""

    def count(self) -> int | None:
        """Return the number of occurrences; None if there are some, and no end."""


class Never:
    """No occurrence."""

    __slots__ = ()

    def next_after(self, after: datetime, inclusive: bool) -> None:
        return None

    def last_before(self, before: datetime, inclusive: bool) -> None:
        return None

    def last(self) -> None:
        return None

    def count(self) -> int:
        return 0


class Once:
    """One occurrence."""

    __slots__ = ("_moment",)

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def next_after(self, after: datetime, inclusive: bool) -> datetime | None:
        moment = self._moment
        return moment if after < moment or (inclusive and after == moment) else None

    def last_before(self, before: datetime, inclusive: bool) -> datetime | None:
        moment = self._moment
        return moment if moment < before or (inclusive and before == moment) else None

    def last(self) -> datetime:
        return self._moment

    def count(self) -> int:
        return 1


class Recurring:
    """The occurrences of a pattern from the first to the last.

    Args:
      pattern: The minutes that are occurrences.
      second: The second of the minute.
      first: The minute of the first occurrence.
      last: The minute of the last one.
      ends: Whether the rule ends before the end of year 9999 ends it.
      number: How many occurrences there are, if that is known.
    """

    __slots__ = ("_ends", "_first", "_last", "_number", "_pattern", "_second")

    def __init__(
        self,
        pattern: Pattern,
        second: int,
        first: int,
        last: int,
        ends: bool,
        number: int | None = None,
    ) -> None:
        self._pattern = pattern
        self._second = second
        self._first = first
        self._last = last
        self._ends = ends
        self._number = number

    def next_after(self, after: datetime, inclusive: bool) -> datetime | None:
        minute = _minute_of(after)
        if not _is_later(self._second, after, inclusive):
            minute += 1
        if minute <= self._first:
            return self._moment(self._first)
        if minute > self._last:
            return None
        found = self._pattern.at_or_after(minute)
        return None if found is None else self._moment(found)

    def last_before(self, before: datetime, inclusive: bool) -> datetime | None:
        minute = _minute_of(before)
        if _is_later(self._second, before, not inclusive):
            minute -= 1
        if minute >= self._last:
            return self._moment(self._last)
        found = self._pattern.at_or_before(minute, self._first)
        return None if found is None else self._moment(found)

    def last(self) -> datetime | None:
        return self._moment(self._last) if self._ends else None

    def count(self) -> int | None:
        if self._ends and self._number is None:
            self._number = self._pattern.number(self._first, self._last)
        return self._number

    def _moment(self, minute: int) -> datetime:
        return _ZERO + timedelta(minutes=minute, seconds=self._second)


def recurring(
    *,
    start: datetime,
    unit: str,
    interval: int,
    minutes: Iterable[int],
    hours: Iterable[int],
    weekdays: Iterable[int],
    monthdays: Iterable[int],
    months: Iterable[int],
    count: int | None,
    until: datetime | None,
) -> Series:
    """Compile a valid rule.

    Args:
      start: The rule's start, in UTC.
      unit: The unit of the interval, as RFC 5545 calls the frequency: MINUTELY to YEARLY.
      interval: The interval, in units.
      minutes: 0 to 59; empty for no restriction, as every list.
      hours: 0 to 23.
      weekdays: 1 for Monday, to 7.
      monthdays: 1 to 31, or from the end of the month, -1 to -31.
      months: 1 to 12.
      count: Stop after this many occurrences; None for no limit.
      until: Stop after this moment in UTC; None for no limit.
    """
    from_minute = _minute_of(start)
    pattern = _pattern(
        unit,
        interval,
        from_minute,
        _days(unit, start, weekdays, monthdays, months),
        _times(unit, start, minutes, hours),
    )
    if pattern is None:
        return Never()
    # Questions about moments before the first or after the last occurrence are answered without
    # seeking, which would take longest there.
    first = pattern.at_or_after(from_minute)
    if first is None:
        return Never()
    limit = LAST_MINUTE
    number: int | None = None
    if until is not None:
        limit = _minute_of(until) - _is_later(start.second, until, False)
    elif count is not None:
        nth = pattern.nth(count, first)
        if nth is not None:
            limit = nth
            number = count
    last = pattern.at_or_before(limit, first)
    if last is None:
        return Never()
    ends = count is not None or until is not None
    return Recurring(pattern, start.second, first, last, ends, number)


def _pattern(unit: str, interval: int, start: int, days: Days, times: int) -> Pattern | None:
    """Return the days and times that the interval meets, counted from a minute; None for none."""
    if not days.months:
        return None
    if unit in _SLOTS:
        return _fine_pattern(_SLOTS[unit], interval, start, days, times)
    months: Phase | None = None
    phase: Phase | None = None
    if interval > 1:
        day = start // DAY
        match unit:
            case "DAILY":
                phase = Stride(interval, 1, day)
            case "WEEKLY":
                phase = Stride(7 * interval, 7, day - day % 7)
            case "MONTHLY":
                months = Stride(interval, 1, month_of(day))
            case "YEARLY":
                january = month_of(day) // 12 * 12
                months = Stride(12 * interval, 12, january)
    if months is None and phase is None:
        return _without_interval(days, times)
    return Pattern(days, months, phase, SameTimes(times))


@lru_cache(maxsize=2048)
def _without_interval(days: Days, times: int) -> Pattern:
    """Return the pattern of these days and times, cached: many rules have the same."""
    return Pattern(days, None, None, SameTimes(times))


def _fine_pattern(slot: int, interval: int, start: int, days: Days, times: int) -> Pattern | None:
    """Do the same for an interval of hours or minutes, which are slots of 60 minutes or 1."""
    if DAY % (interval * slot) == 0:
        times &= stride_of(slot, interval, start).window(0, DAY)
        return _without_interval(days, times) if times else None
    shifting = ShiftingTimes(times, slot, interval, start)
    period, remainders = shifting.days()
    if not remainders:
        return None
    phase = None if len(remainders) == period else Residues(period, remainders)
    return Pattern(days, None, phase, shifting)


def _days(
    unit: str,
    start: datetime,
    weekdays: Iterable[int],
    monthdays: Iterable[int],
    months: Iterable[int],
) -> Days:
    """Return the days that the by-lists match.  If no list selects days, the start's does."""
    of_week = bits.of(day - 1 for day in weekdays)
    from_start = bits.of(day - 1 for day in monthdays if day > 0)
    from_end = bits.of(day + 31 for day in monthdays if day < 0)
    of_year = bits.of(month - 1 for month in months)
    if not (of_week or from_start or from_end):
        if unit == "WEEKLY":
            of_week = 1 << start.weekday()
        elif unit in ("MONTHLY", "YEARLY"):
            from_start = 1 << (start.day - 1)
            if unit == "YEARLY" and not of_year:
                of_year = 1 << (start.month - 1)
    return _matching(
        of_week or ANY_WEEKDAY,
        from_start if from_start or from_end else ANY_MONTHDAY,
        from_end,
        of_year or ANY_MONTH,
    )


@lru_cache(maxsize=512)
def _matching(weekdays: int, monthdays: int, from_end: int, months: int) -> Days:
    """Return the days, cached: many rules have the same."""
    return Days(weekdays, monthdays, from_end, months)


def _times(unit: str, start: datetime, minutes: Iterable[int], hours: Iterable[int]) -> int:
    """Return the times that the by-lists match; the start fills in what they leave open."""
    of_hour = bits.of(minutes)
    of_day = bits.of(hours)
    if not of_hour:
        of_hour = bits.below(60) if unit == "MINUTELY" else 1 << start.minute
    if not of_day:
        of_day = bits.below(24) if unit in _SLOTS else 1 << start.hour
    times = 0
    for hour in bits.members(of_day):
        times |= of_hour << 60 * hour
    return times


def _minute_of(moment: datetime) -> int:
    """Return the minute of a moment."""
    return (moment.toordinal() - 1) * DAY + moment.hour * 60 + moment.minute


def _is_later(second: int, moment: datetime, or_equal: bool) -> bool:
    """Whether a second of a moment's minute is later than the moment, or equal if `or_equal`."""
    if second != moment.second:
        return second > moment.second
    return or_equal and not moment.microsecond
