"""Active days: those that the by-lists match and the interval meets, one after another."""

from __future__ import annotations

from datetime import date
from typing import Protocol

from . import bits
from .days import DAYS, LAST_DAY, LAST_MONTH, MONTHS, Days, cycle_of, first_of
from .phase import Phase

_LEAPS = 6
"""Steps from day to day; this many cost about as much as intersecting a whole cycle of days."""


class ActiveDays(Protocol):
    """The days on which a rule may have occurrences, up to year 9999."""

    def at_or_after(self, day: int) -> int | None:
        """Return the first active day from a day on, which may be the day after `LAST_DAY`."""

    def at_or_before(self, day: int, limit: int) -> int | None:
        """Return the last active day up to a day, and not before the limit."""


class EveryDay:
    """All days, as for most daily rules."""

    __slots__ = ()

    def at_or_after(self, day: int) -> int | None:
        return day if day <= LAST_DAY else None

    def at_or_before(self, day: int, limit: int) -> int | None:
        return _not_before(limit, day)


class ByMonth:
    """The days in months that the interval meets: for an interval of months or years, or of 1.

    Args:
      days: The days that the by-lists match, at least one.
      phase: The months that the interval meets; None for all.
    """

    __slots__ = ("_days", "_phase")

    def __init__(self, days: Days, phase: Phase | None) -> None:
        self._days = days
        self._phase = phase

    def at_or_after(self, day: int) -> int | None:
        if day > LAST_DAY:
            return None
        that = date.fromordinal(day + 1)
        month = 12 * that.year + that.month - 13
        if self._phase is None or self._phase.at_or_after(month) == month:
            rest = self._days.in_month(month) >> (that.day - 1)
            if rest:
                return day + bits.least(rest)
        found = self._month_at_or_after(month + 1)
        if found is None:
            return None
        return first_of(found) + bits.least(self._days.in_month(found))

    def at_or_before(self, day: int, limit: int) -> int | None:
        that = date.fromordinal(day + 1)
        month = 12 * that.year + that.month - 13
        if self._phase is None or self._phase.at_or_after(month) == month:
            rest = self._days.in_month(month) & bits.below(that.day)
            if rest:
                return _not_before(limit, day - that.day + 1 + bits.greatest(rest))
        found = self._month_at_or_before(month - 1)
        if found is None:
            return None
        return _not_before(limit, first_of(found) + bits.greatest(self._days.in_month(found)))

    def _month_at_or_after(self, month: int) -> int | None:
        months = self._days.months
        if self._phase is not None:
            return first_common(months, MONTHS, self._phase, month, LAST_MONTH)
        at = month % MONTHS
        rest = months >> at
        found = month + bits.least(rest) if rest else month - at + MONTHS + bits.least(months)
        return found if found <= LAST_MONTH else None

    def _month_at_or_before(self, month: int) -> int | None:
        months = self._days.months
        if self._phase is not None:
            return last_common(months, MONTHS, self._phase, month, 0)
        at = month % MONTHS
        rest = months & bits.below(at + 1)
        found = month - at + (bits.greatest(rest) if rest else bits.greatest(months) - MONTHS)
        return found if found >= 0 else None


class ByDay:
    """The days that the interval meets: for every other interval.

    Args:
      days: The days that the by-lists match, at least one.
      phase: The days that the interval meets.
    """

    __slots__ = ("_calendar", "_days", "_phase")

    def __init__(self, days: Days, phase: Phase) -> None:
        self._days = days
        self._calendar = ByMonth(days, None)
        self._phase = phase

    def at_or_after(self, day: int) -> int | None:
        for _ in range(_LEAPS):
            active = self._phase.at_or_after(day)
            found = self._calendar.at_or_after(active)
            if found is None or found == active:
                return found
            day = found
        return first_common(cycle_of(self._days), DAYS, self._phase, day, LAST_DAY)

    def at_or_before(self, day: int, limit: int) -> int | None:
        for _ in range(_LEAPS):
            active = self._phase.at_or_before(day)
            if active < limit:
                return None
            found = self._calendar.at_or_before(active, limit)
            if found is None or found == active:
                return found
            day = found
        return last_common(cycle_of(self._days), DAYS, self._phase, day, limit)


def first_common(cycle: int, size: int, phase: Phase, low: int, limit: int) -> int | None:
    """Return the least number from `low` to the limit that a cyclic set and a phase share."""
    while low <= limit:
        common = bits.turned(cycle, size, low % size) & phase.window(low, size)
        if common:
            found = low + bits.least(common)
            return found if found <= limit else None
        low += size
    return None


def last_common(cycle: int, size: int, phase: Phase, high: int, limit: int) -> int | None:
    """Return the greatest number from `high` down to the limit that both share."""
    while high >= limit:
        low = high - size + 1
        common = bits.turned(cycle, size, low % size) & phase.window(low, size)
        if common:
            return _not_before(limit, low + bits.greatest(common))
        high -= size
    return None


def _not_before(limit: int, number: int) -> int | None:
    return number if number >= limit else None
