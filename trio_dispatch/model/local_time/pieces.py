"""Pieces of a local rule: runs of occurrences that a single rule in UTC can have.

A piece ends where the clocks change and before each excepted day.  So pieces do not depend on the
time range that is asked for, which only selects among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ..recurrence.rule import EndCriteria, Frequency, RecurrenceRule
from .clocks import periods, resolve
from .free_days import FreeDays
from .shifting import ShiftedRule, shifted

__all__ = ["LATEST", "LocalRule", "Piece", "find_pieces"]

_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)
LATEST = datetime(9998, 1, 1, tzinfo=UTC)
"""Nothing later is expanded: in year 9999 some wall times are no moments."""


_Limit = Callable[[timedelta], datetime | None]
"""From an offset to the wall time, not included, at which a rule ends."""


class Piece(NamedTuple):
    """Occurrences, in UTC: those of a rule from the first to the last.

    Attributes:
      last: None if there is no last one.
      rule: None if the first is the only one.
    """

    first: datetime
    last: datetime | None
    rule: RecurrenceRule | None


class LocalRule(NamedTuple):
    """A rule by the clocks of a place.

    Attributes:
      rule: With a frequency; in wall times.
      start: A wall time.
      zone: Whose clocks.
      free: Days without an occurrence.
    """

    rule: RecurrenceRule
    start: datetime
    zone: ZoneInfo
    free: FreeDays


def find_pieces(local: LocalRule, begin: datetime, end: datetime) -> Iterator[Piece]:
    """Return the pieces of a rule that may have an occurrence in a time range of UTC."""
    is_fine = local.rule.frequency in (Frequency.MINUTELY, Frequency.HOURLY)
    for stretch in (_elapsing if is_fine else _by_the_clock)(local, begin, end):
        yield from _without(stretch, local.free, begin, end)


class _Stretch(NamedTuple):
    """The occurrences of a local rule from one wall time to another while an offset holds.

    Attributes:
      rule: Without an end.
      high: Not included; None if there is no end.
    """

    rule: RecurrenceRule
    start: datetime
    offset: timedelta
    low: datetime
    high: datetime | None


def _by_the_clock(local: LocalRule, begin: datetime, end: datetime) -> Iterator[_Stretch]:
    """Return the stretches of a rule whose wall times are each resolved."""
    start = local.start
    endless = replace(local.rule, end_criteria=None)
    limit = _limit(local.rule, start)
    for period in periods(local.zone, start - _DAY, begin, max(end, start + _DAY)):
        high = _least(period.wall_end, limit(period.offset))
        low = max(start, period.wall_begin)
        if high is not None and high <= low:
            continue
        skipped = high if period.skipped is None else max(low, period.skipped)
        if high is None or skipped is None:
            yield _Stretch(endless, start, period.offset, low, None)
            continue
        # What is skipped is resolved to times which the rule may have as well.
        walls = list(endless.between(start, skipped, high))
        kept = [wall for wall in walls if not _repeats(endless, local, wall, limit)]
        if len(kept) == len(walls):
            yield _Stretch(endless, start, period.offset, low, high)
            continue
        yield _Stretch(endless, start, period.offset, low, skipped)
        for wall in kept:
            yield _Stretch(endless, start, period.offset, wall, wall + _INSTANT)


def _repeats(rule: RecurrenceRule, local: LocalRule, skipped: datetime, limit: _Limit) -> bool:
    """Whether the moment of a skipped wall time is an occurrence without it."""
    moment = resolve(skipped, local.zone)
    shown = moment.astimezone(local.zone).replace(tzinfo=UTC, fold=0)
    if rule.last_before(local.start, shown, inclusive=True) != shown:
        return False
    last = limit(shown - moment)
    return (last is None or shown < last) and shown.date() not in local.free


def _limit(rule: RecurrenceRule, start: datetime) -> _Limit:
    """Return where a rule ends."""
    end = rule.end_criteria
    if end is None:
        return lambda offset: None
    if end.until is not None:
        until = min(end.until.astimezone(UTC), LATEST)
        return lambda offset: until + offset + _INSTANT
    last = rule.last(start)
    return lambda offset: start if last is None else min(last, LATEST) + _INSTANT


def _elapsing(local: LocalRule, begin: datetime, end: datetime) -> Iterator[_Stretch]:
    """Return the stretches of a rule of hours or minutes, whose interval is elapsed time."""
    rule, start, zone, free = local
    endless = replace(rule, end_criteria=None)
    first = resolve(start, zone)
    criteria = rule.end_criteria
    left = None if criteria is None else criteria.count
    until = None
    if criteria is not None and criteria.until is not None:
        until = min(criteria.until.astimezone(UTC), LATEST)
    lists = rule.byminutes + rule.byhours + rule.byweekdays + rule.bymonthdays + rule.bymonths
    if not (lists or free.days or free.region):
        # The clocks do not matter.
        offset = start - first
        high = None if until is None else until + offset + _INSTANT
        if left is not None:
            high = min(rule.last(start) or start, LATEST) + _INSTANT
        yield _Stretch(endless, start, offset, start, high)
        return
    for period in periods(zone, first, first if left is not None else begin, max(end, first)):
        offset = period.offset
        shifted_start = first + offset
        low = max(first, period.begin) + offset
        high = None if period.end is None else period.end + offset
        if until is not None:
            high = _least(high, until + offset + _INSTANT)
        if high is not None and high <= low:
            continue
        if left is not None:
            initial = endless.next_after(shifted_start, low, inclusive=True)
            if initial is None or (high is not None and initial >= high):
                continue
            last = replace(endless, end_criteria=EndCriteria(count=left)).last(initial)
            if last is not None and (high is None or last < high):
                yield _Stretch(endless, shifted_start, offset, low, last + _INSTANT)
                return
            if high is not None:
                before = EndCriteria(until=high - _INSTANT)
                left -= replace(endless, end_criteria=before).count(initial) or 0
        yield _Stretch(endless, shifted_start, offset, low, high)


def _without(stretch: _Stretch, free: FreeDays, begin: datetime, end: datetime) -> Iterator[Piece]:
    """Return a stretch as pieces, without the free days."""
    for part in shifted(stretch.rule, stretch.start, stretch.offset):
        low = stretch.low
        if stretch.high is None and free.region is not None:
            low = max(low, _new_year((begin + stretch.offset).year))
        while True:
            first = part.first(stretch.start, low)
            if first is None or (stretch.high is not None and first >= stretch.high):
                break
            if first - stretch.offset >= end:
                break
            high = stretch.high
            if high is None and free.region is not None:
                # Otherwise one would look for the next holiday for ever.
                high = _new_year(first.year + 1)
            day = _next_free(part, stretch, first, high, free)
            if day is None or first < day:
                yield from _pieces(part, stretch, first, high if day is None else day, begin, end)
            if day is not None:
                low = day + _DAY
            elif high is not None:
                low = high
            else:
                break


def _next_free(
    part: ShiftedRule, stretch: _Stretch, first: datetime, high: datetime | None, free: FreeDays
) -> datetime | None:
    """Return the first free day with an occurrence, from the day of an occurrence on."""
    last = date.max if high is None else (high - _INSTANT).date()
    for day in free.between(first.date(), last):
        midnight = datetime.combine(day, time(), UTC)
        wall = part.first(stretch.start, max(midnight, first))
        if wall is not None and wall.date() == day and (high is None or wall < high):
            return midnight
    return None


def _pieces(
    part: ShiftedRule,
    stretch: _Stretch,
    first: datetime,
    high: datetime | None,
    begin: datetime,
    end: datetime,
) -> Iterator[Piece]:
    offset = stretch.offset
    if part.utc is None:
        limit = min(high or LATEST, end + offset)
        wall = part.first(stretch.start, max(first, begin + offset))
        while wall is not None and wall < limit:
            yield Piece(wall - offset, wall - offset, None)
            wall = part.first(stretch.start, wall + _INSTANT)
        return
    last = None if high is None else part.last(stretch.start, high)
    if last is None:
        yield Piece(first - offset, None, part.utc)
    elif last == first:
        yield Piece(first - offset, first - offset, None)
    else:
        ended = replace(part.utc, end_criteria=EndCriteria(until=last - offset))
        yield Piece(first - offset, last - offset, ended)


def _new_year(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


def _least(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((each for each in (one, other) if each is not None), default=None)
