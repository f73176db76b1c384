"""The axis of a picture: round times in a time zone, and the days, months or years around them.

A moment is round if the local time is.  So the day on which clocks go forward has 23 hours and no
02:00; the day on which they go back has 25 hours and 02:00 twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import partial

from .words import DAYS, MONTHS

__all__ = ["Axis", "Span", "Tick", "make_axis", "offsets"]

_DAY = 86_400
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAYS = (1, 2, 7, 14)
_MONTHS = (1, 2, 3, 6)
_YEARS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
_SAMPLES = 4000
_EPOCH = datetime(1, 1, 1)  # noqa: DTZ001 - local time


@dataclass(frozen=True, slots=True)
class Tick:
    """A round moment in UTC, and its label."""

    moment: datetime
    label: str


@dataclass(frozen=True, slots=True)
class Span:
    """A day, month or year within the window, and its labels, the longest first."""

    begin: datetime
    end: datetime
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """The ticks in a window, and the days, months or years around them."""

    ticks: tuple[Tick, ...]
    spans: tuple[Span, ...]


def make_axis(
    begin: datetime,
    end: datetime,
    zone: tzinfo,
    size: float,
    width: Callable[[str], float],
) -> Axis:
    """Return as many ticks between two moments in UTC as have room.

    Args:
      size: The width of the axis.
      width: Returns the width of a label with its gap, in the same unit.
    """
    per_second = size / (end - begin).total_seconds()
    for step in _SECONDS:
        if step * per_second >= width("00:00:00" if step < 60 else "00:00"):
            days = tuple(_spans(begin, end, zone, _next_day, _day_labels))
            return Axis(tuple(_clock_ticks(begin, end, zone, step)), days)
    for step in _DAYS:
        if step * _DAY * per_second >= width("30"):
            name = _day_label(step * _DAY * per_second >= width("Wed 30"))
            ticks = _calendar_ticks(begin, end, zone, partial(_next_day, step=step), name)
            return Axis(tuple(ticks), tuple(_spans(begin, end, zone, _next_month, _month_labels)))
    for step in _MONTHS:
        if step * 28 * _DAY * per_second >= width("Mar"):
            ticks = _calendar_ticks(
                begin, end, zone, partial(_next_month, step=step), lambda day: _month(day)[:3]
            )
            return Axis(tuple(ticks), tuple(_spans(begin, end, zone, _next_year, _year_labels)))
    room = width("2000")
    step = next((step for step in _YEARS if step * 365 * _DAY * per_second >= room), _YEARS[-1])
    ticks = _calendar_ticks(
        begin, end, zone, partial(_next_year, step=step), lambda day: str(day.year)
    )
    return Axis(tuple(ticks), ())


def offsets(begin: datetime, end: datetime, zone: tzinfo) -> list[tuple[datetime, timedelta]]:
    """Return the offsets of a zone from UTC: the one at `begin`, and each change with its moment.

    A change that is undone within a day is not found.
    """
    found = [(begin, _offset(begin, zone))]
    step = max(timedelta(days=1), (end - begin) / _SAMPLES)
    moment = begin
    while moment < end:
        further = end if end - moment <= step else moment + step
        offset = _offset(further, zone)
        if offset != found[-1][1]:
            changed = _change(moment, further, zone)
            if changed < end:
                found.append((changed, offset))
        moment = further
    return found


def _change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the second at which the offset becomes that of `after`."""
    offset = _offset(after, zone)
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if _offset(middle, zone) == offset:
            after = middle
        else:
            before = middle
    return after.replace(microsecond=0)


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
    try:
        return moment.astimezone(zone).utcoffset() or timedelta()
    except OverflowError:
        return timedelta()


# Ticks within days.


def _clock_ticks(begin: datetime, end: datetime, zone: tzinfo, step: int) -> Iterator[Tick]:
    known = offsets(begin, end, zone)
    seconds = timedelta(seconds=step)
    form = "%H:%M:%S" if step < 60 else "%H:%M"
    for place, (start, offset) in enumerate(known):
        stop = known[place + 1][0] if place + 1 < len(known) else end
        local = start.replace(tzinfo=None) + offset
        local += -(local - _EPOCH) % seconds
        while (moment := (local - offset).replace(tzinfo=UTC)) < stop:
            yield Tick(moment, f"{local.time():{form}}")
            local += seconds


# Days, months, years.

Next = Callable[[date], date]


def _next_day(day: date, step: int = 1) -> date:
    """Return the next day whose number is a multiple of the step; with 7, a Monday."""
    return day + timedelta(days=step - (day.toordinal() - 1) % step)


def _next_month(day: date, step: int = 1) -> date:
    number = (day.year * 12 + day.month - 1) // step * step + step
    return date(number // 12, number % 12 + 1, 1)


def _next_year(day: date, step: int = 1) -> date:
    return date(day.year // step * step + step, 1, 1)


def _boundaries(
    begin: datetime, end: datetime, zone: tzinfo, following: Next
) -> Iterator[tuple[datetime, date]]:
    """Return the days that `following` leads to from `begin`, each with its first moment."""
    day = begin.astimezone(zone).date()
    while True:
        try:
            day = following(day)
            # If midnight is skipped, the offset before it gives the moment of the change.
            moment = datetime.combine(day, time(), zone).astimezone(UTC)
        except (OverflowError, ValueError):  # Beyond year 9999.
            return
        if moment >= end:
            return
        yield moment, day


def _calendar_ticks(
    begin: datetime, end: datetime, zone: tzinfo, following: Next, name: Callable[[date], str]
) -> Iterator[Tick]:
    first = begin.astimezone(zone)
    if first.time() == time() and following(first.date() - timedelta(days=1)) == first.date():
        yield Tick(begin, name(first.date()))
    for moment, day in _boundaries(begin, end, zone, following):
        yield Tick(moment, name(day))


def _spans(
    begin: datetime,
    end: datetime,
    zone: tzinfo,
    following: Next,
    labels: Callable[[date, bool], tuple[str, ...]],
) -> Iterator[Span]:
    start, names = begin, labels(begin.astimezone(zone).date(), True)
    for moment, day in _boundaries(begin, end, zone, following):
        yield Span(start, moment, names)
        start, names = moment, labels(day, False)
    yield Span(start, end, names)


def _day_label(long: bool) -> Callable[[date], str]:
    return lambda day: f"{DAYS[day.weekday()]} {day.day}" if long else str(day.day)


def _day_labels(day: date, first: bool) -> tuple[str, ...]:
    short = f"{day.day} {_month(day)[:3]}"
    name = f"{DAYS[day.weekday()]} {short}"
    whole = (f"{name} {day.year}",) if first or (day.month, day.day) == (1, 1) else ()
    return (*whole, name, short, str(day.day))


def _month_labels(day: date, first: bool) -> tuple[str, ...]:
    name = _month(day)
    whole = (f"{name} {day.year}", f"{name[:3]} {day.year}") if first or day.month == 1 else ()
    return (*whole, name, name[:3])


def _year_labels(day: date, first: bool) -> tuple[str, ...]:
    return (str(day.year),)


def _month(day: date) -> str:
    return MONTHS[day.month - 1]
