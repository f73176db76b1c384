"""Rules in UTC that have the occurrences of a local rule while the clocks keep one offset.

A rule is a box: a set of hours, of minutes, of weekdays, of days of the month, and of months, all
of which an occurrence must match.  Shifting by an offset moves some times of a box to another hour
or day, so the box falls apart into several, and each is shifted as a whole.  Boxes that differ in
one set only are then joined again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from ..recurrence.rule import Frequency, RecurrenceRule
from .monthdays import ALL_MONTHS, move_days

__all__ = ["ShiftedRule", "shifted"]

_HOURS = frozenset(range(24))
_MINUTES = frozenset(range(60))
_WEEK = frozenset(range(1, 8))
_LISTS = ("hours", "minutes", "weekdays", "monthdays", "months")
_SECOND = timedelta(seconds=1)
_FINE = (Frequency.MINUTELY, Frequency.HOURLY)


@dataclass(frozen=True, slots=True)
class ShiftedRule:
    """A part of a local rule, and the rule in UTC that has its occurrences.

    The part's first occurrence in a period, shifted, is the start of the rule in UTC.

    Attributes:
      local: Rules of wall times; the part has the occurrences of all of them.
      utc: The rule in UTC, without an end; None if no rule has these occurrences.
    """

    local: tuple[RecurrenceRule, ...]
    utc: RecurrenceRule | None

    def first(self, start: datetime, low: datetime) -> datetime | None:
        """Return the first wall time at or after another one."""
        found = (rule.next_after(start, low, inclusive=True) for rule in self.local)
        return min((wall for wall in found if wall is not None), default=None)

    def last(self, start: datetime, high: datetime) -> datetime | None:
        """Return the last wall time before another one."""
        found = (rule.last_before(start, high) for rule in self.local)
        return max((wall for wall in found if wall is not None), default=None)


@dataclass(frozen=True, slots=True)
class _Box:
    """A rule in UTC in the making.

    Attributes:
      phase: Boxes in the same phase can share the start from which intervals are counted.
      monthdays: Empty for every day.
      certain: Whether the other sets are known, see `MovedDays.moved`.
    """

    local: tuple[RecurrenceRule, ...]
    frequency: Frequency
    interval: int
    phase: object
    hours: frozenset[int]
    minutes: frozenset[int]
    weekdays: frozenset[int]
    monthdays: frozenset[int]
    months: frozenset[int]
    certain: bool = True


@lru_cache(maxsize=1024)
def shifted(rule: RecurrenceRule, start: datetime, offset: timedelta) -> tuple[ShiftedRule, ...]:
    """Return the parts of a local rule, each with its rule in UTC at an offset.

    Args:
      rule: A valid rule with a frequency; its end does not matter.
      start: The wall time at which it starts.
      offset: How far the clocks are ahead of UTC.
    """
    rule = replace(rule, end_criteria=None)
    boxes = list(_boxes(_Explicit(rule, start), (start.second * _SECOND - offset) // _SECOND // 60))
    return tuple(
        ShiftedRule(box.local, _rule_of(box, rule) if box.certain else None)
        for box in _joined(boxes)
    )


class _Explicit:
    """A rule with what it takes from its start written out, as in :rfc:`5545`."""

    def __init__(self, rule: RecurrenceRule, start: datetime) -> None:
        self.rule = rule
        unit = rule.frequency
        self.hours = frozenset(rule.byhours) or (
            _HOURS if unit in _FINE else frozenset((start.hour,))
        )
        self.minutes = frozenset(rule.byminutes) or (
            _MINUTES if unit == Frequency.MINUTELY else frozenset((start.minute,))
        )
        self.weekdays = frozenset(map(int, rule.byweekdays))
        self.monthdays = frozenset(rule.bymonthdays)
        self.months = frozenset(rule.bymonths)
        if not (self.weekdays or self.monthdays):
            if unit == Frequency.WEEKLY:
                self.weekdays = frozenset((start.isoweekday(),))
            elif unit in (Frequency.MONTHLY, Frequency.YEARLY):
                self.monthdays = frozenset((start.day,))
                if unit == Frequency.YEARLY:
                    self.months = self.months or frozenset((start.month,))
        self.weekdays = self.weekdays or _WEEK
        self.months = self.months or ALL_MONTHS

    @property
    def counts_months(self) -> bool:
        """Whether it matters in which month a day is."""
        unit = self.rule.frequency
        return (
            bool(self.monthdays)
            or self.months != ALL_MONTHS
            or (self.rule.interval > 1 and unit in (Frequency.MONTHLY, Frequency.YEARLY))
        )

    @property
    def has_every_day(self) -> bool:
        """Whether all days are alike."""
        unit, interval = self.rule.frequency, self.rule.interval
        alike = unit in _FINE or interval == 1
        return alike and self.weekdays == _WEEK and not self.counts_months


def _boxes(given: _Explicit, minutes: int) -> Iterator[_Box]:
    """Shift a rule by a number of minutes."""
    hours_later, minutes_later = divmod(minutes, 60)
    for carry in (0, 1):
        stay = frozenset(each for each in given.minutes if (each + minutes_later) // 60 == carry)
        if not stay:
            continue
        for day in (-1, 0, 1):
            hours = frozenset(
                each for each in given.hours if (each + hours_later + carry) // 24 == day
            )
            if not hours:
                continue
            local = replace(
                given.rule,
                byhours=tuple(sorted(hours)),
                byminutes=tuple(sorted(stay)),
                byweekdays=tuple(sorted(given.weekdays)),
                bymonthdays=tuple(sorted(given.monthdays)),
                bymonths=tuple(sorted(given.months)),
            )
            timed = _Box(
                local=(local,),
                frequency=given.rule.frequency,
                interval=given.rule.interval,
                phase=carry if given.rule.frequency == Frequency.HOURLY else None,
                hours=frozenset((each + hours_later + carry) % 24 for each in hours),
                minutes=frozenset((each + minutes_later) % 60 for each in stay),
                weekdays=given.weekdays,
                monthdays=given.monthdays,
                months=given.months,
            )
            yield from _on_days(timed, 0 if given.has_every_day else day, given)


def _on_days(box: _Box, by: int, given: _Explicit) -> Iterator[_Box]:
    """Move a box to the days before or after."""
    unit = box.frequency
    # The API takes days of the month with every frequency but this one.
    as_days = unit == Frequency.WEEKLY and bool(box.monthdays or (by and given.counts_months))
    for weekdays in _weekdays(box, as_days, by):
        part = _narrowed(box, weekdays=weekdays)
        week = min((day + by - 1) // 7 for day in weekdays)
        phase: object = part.phase
        match unit:
            case Frequency.DAILY:
                phase = by
            case Frequency.WEEKLY:
                phase = week
            case Frequency.MONTHLY | Frequency.YEARLY:
                phase = 0
        if as_days:
            # Every nth Tuesday of the calendar, and so on.
            part = replace(part, frequency=Frequency.DAILY)
            if part.interval > 1:
                part = replace(part, interval=7 * part.interval)
                phase = (weekdays, by)
        part = replace(
            part, phase=phase, weekdays=frozenset((day + by - 1) % 7 + 1 for day in weekdays)
        )
        if by and given.counts_months:
            yield from _in_months(part, by)
        else:
            yield part


def _weekdays(box: _Box, as_days: bool, by: int) -> list[frozenset[int]]:
    """Return the weekdays that stay in the phase of one another when they move."""
    if box.frequency != Frequency.WEEKLY or box.interval == 1:
        return [box.weekdays]
    if as_days:
        return [frozenset((day,)) for day in sorted(box.weekdays)]
    weeks = [frozenset(d for d in box.weekdays if (d + by - 1) // 7 == week) for week in (-1, 0, 1)]
    return [days for days in weeks if days]


def _in_months(box: _Box, by: int) -> Iterator[_Box]:
    """Move a box's days of the month and months."""
    for moved in move_days(box.monthdays, box.months, by):
        # January goes to the year before, which an interval of years notices.
        years = {(month + moved.carry - 1) // 12 for month in moved.months}
        for year in sorted(years) if box.frequency == Frequency.YEARLY else [None]:
            months = frozenset(
                month
                for month in moved.months
                if year is None or (month + moved.carry - 1) // 12 == year
            )
            phase = box.phase
            if box.frequency == Frequency.MONTHLY:
                phase = moved.carry
            elif box.frequency == Frequency.YEARLY:
                phase = year
            yield replace(
                _narrowed(box, months=months, monthdays=moved.days),
                phase=phase,
                monthdays=moved.moved or frozenset(),
                months=frozenset((month + moved.carry - 1) % 12 + 1 for month in months),
                certain=moved.moved is not None,
            )


def _narrowed(
    box: _Box,
    *,
    weekdays: frozenset[int] | None = None,
    months: frozenset[int] | None = None,
    monthdays: frozenset[int] | None = None,
) -> _Box:
    """Return the box with its local rule narrowed to these days."""
    local = box.local[0]
    if weekdays is not None:
        local = replace(local, byweekdays=tuple(sorted(weekdays)))
    if months is not None:
        local = replace(local, bymonths=tuple(sorted(months)))
    if monthdays is not None:
        local = replace(local, bymonthdays=tuple(sorted(monthdays)))
    return replace(box, local=(local,))


def _joined(boxes: list[_Box]) -> list[_Box]:
    """Join boxes until no two can be joined."""
    joined: list[_Box] = []
    for box in boxes:
        current = box
        while True:
            for index, other in enumerate(joined):
                union = _union(other, current)
                if union is not None:
                    current = union
                    del joined[index]
                    break
            else:
                break
        joined.append(current)
    return joined


def _union(one: _Box, other: _Box) -> _Box | None:
    """Return the box of two boxes that differ in one set only; None if they do not."""
    if not (one.certain and other.certain) or (one.frequency, one.interval) != (
        other.frequency,
        other.interval,
    ):
        return None
    if one.interval > 1 and one.phase != other.phase:
        return None
    if sum(getattr(one, name) != getattr(other, name) for name in _LISTS) > 1:
        return None
    every_day = not (one.monthdays and other.monthdays)
    return replace(
        one,
        local=one.local + other.local,
        hours=one.hours | other.hours,
        minutes=one.minutes | other.minutes,
        weekdays=one.weekdays | other.weekdays,
        monthdays=frozenset() if every_day else one.monthdays | other.monthdays,
        months=one.months | other.months,
    )


def _rule_of(box: _Box, rule: RecurrenceRule) -> RecurrenceRule:
    """Return the rule in UTC; it leaves to its start what the local rule does."""
    fine = box.frequency in _FINE

    def listed(values: Iterable[int], every: frozenset[int]) -> tuple[int, ...]:
        return () if values == every else tuple(sorted(values))

    hours = listed(box.hours, _HOURS if fine else frozenset())
    minutes = listed(box.minutes, _MINUTES if box.frequency == Frequency.MINUTELY else frozenset())
    weekdays_matter = box.frequency == Frequency.WEEKLY or (
        box.frequency in (Frequency.MONTHLY, Frequency.YEARLY) and not box.monthdays
    )
    return RecurrenceRule(
        box.frequency,
        interval=box.interval,
        byhours=hours if rule.byhours or len(hours) != 1 or fine else (),
        byminutes=minutes if rule.byminutes or len(minutes) != 1 else (),
        byweekdays=listed(box.weekdays, frozenset() if weekdays_matter else _WEEK),
        bymonthdays=tuple(sorted(box.monthdays)),
        bymonths=listed(box.months, ALL_MONTHS),
    )
