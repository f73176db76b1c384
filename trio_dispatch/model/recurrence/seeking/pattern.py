"""The occurrences of a rule as minutes, as if the rule had neither a start nor an end."""

from __future__ import annotations

from . import bits
from .active import ActiveDays, ByDay, ByMonth, EveryDay
from .count import DayTally, MonthTally, Tally
from .days import LAST_DAY, Days
from .phase import Phase
from .times import DAY, SameTimes, ShiftingTimes

LAST_MINUTE = LAST_DAY * DAY + DAY - 1


class Pattern:
    """The times of the day on the active days.

    Args:
      days: The days that the by-lists match, at least one.
      months: The months that the interval meets; None for all.
      phase: The days that the interval meets; None for all.
      times: The times of the day, at least one on each active day.
    """

    __slots__ = ("_active", "_days", "_months", "_phase", "_times")

    def __init__(
        self,
        days: Days,
        months: Phase | None,
        phase: Phase | None,
        times: SameTimes | ShiftingTimes,
    ) -> None:
        self._days = days
        self._months = months
        self._phase = phase
        self._active: ActiveDays
        if phase is not None:
            self._active = ByDay(days, phase)
        elif months is not None or not days.all:
            self._active = ByMonth(days, months)
        else:
            self._active = EveryDay()
        self._times = times

    def at_or_after(self, minute: int) -> int | None:
        """Return the first occurrence from a minute on."""
        today, time = divmod(minute, DAY)
        day = self._active.at_or_after(today)
        if day == today:
            rest = self._times.on(today) >> time
            if rest:
                return minute + bits.least(rest)
            day = self._active.at_or_after(today + 1)
        return None if day is None else day * DAY + bits.least(self._times.on(day))

    def at_or_before(self, minute: int, limit: int) -> int | None:
        """Return the last occurrence up to a minute, and not before the limit."""
        if minute < limit:
            return None
        today, time = divmod(minute, DAY)
        earliest = limit // DAY
        day = self._active.at_or_before(today, earliest)
        if day == today:
            rest = self._times.on(today) & bits.below(time + 1)
            if rest:
                found = today * DAY + bits.greatest(rest)
                return found if found >= limit else None
            day = self._active.at_or_before(today - 1, earliest) if today > earliest else None
        if day is None:
            return None
        found = day * DAY + bits.greatest(self._times.on(day))
        return found if found >= limit else None

    def nth(self, number: int, start: int) -> int | None:
        """Return the n-th occurrence from the start on, counted from 1."""
        tally, each = self._tally(start)
        day, number = divmod(number - 1 + self._before(start, tally, each), each)
        found = tally.find(day)
        if found is None:
            return None
        day, within = found
        return day * DAY + bits.nth(self._times.on(day), number + within)

    def number(self, first: int, last: int) -> int:
        """Return the number of occurrences from one to another, both included."""
        tally, each = self._tally(first)
        return self._before(last, tally, each) - self._before(first, tally, each) + 1

    def _before(self, minute: int, tally: Tally, each: int) -> int:
        """Return the number of occurrences before a minute, from where the tally counts."""
        today, time = divmod(minute, DAY)
        number = tally.before(today) * each
        if time and self._active.at_or_after(today) == today:
            number += (self._times.on(today) & bits.below(time)).bit_count()
        return number

    def _tally(self, start: int) -> tuple[Tally, int]:
        """Return a tally, and the number of occurrences for each one that it counts."""
        day = start // DAY
        if isinstance(self._times, ShiftingTimes):
            return DayTally(self._days, self._times.planes(), day), 1
        each = self._times.times.bit_count()
        if self._phase is not None:
            return DayTally(self._days, [(self._phase, 1)], day), each
        return MonthTally(self._days, self._months, day), each
