"""When a dispatch recurs: immutable rules, and pure questions about their occurrences.

The occurrences of a rule are those of :rfc:`5545` in UTC, exactly as :class:`dateutil.rrule.rrule`
gives them with the dispatch's start as ``dtstart`` and weeks that begin on Monday::

    workdays_at_noon = RecurrenceRule(
        Frequency.WEEKLY, byweekdays=(1, 2, 3, 4, 5), byhours=(12,), byminutes=(0,)
    )
    workdays_at_noon.next_after(start, clock.now())

Nothing here reads a clock, and nothing replays a rule from its start: the package `seeking` finds
any occurrence at a cost that does not depend on the age of the rule.

Rules do not follow daylight saving time: 12:00 is 12:00 UTC all year.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Self, SupportsIndex

from ..open_enum import OpenEnum
from ..validation import shown, utc
from .seeking import Never, Once, Series, recurring

__all__ = ["EndCriteria", "Frequency", "RecurrenceRule", "Weekday"]


class Frequency(OpenEnum):
    """The unit that a rule's interval counts, numbered as in the API."""

    UNSPECIFIED = 0
    """No recurrence: the one occurrence is the start itself."""
    MINUTELY = 1
    HOURLY = 2
    DAILY = 3
    WEEKLY = 4
    MONTHLY = 5
    YEARLY = 6


class Weekday(OpenEnum):
    """A day of the week, numbered as in the API and in ISO 8601."""

    UNSPECIFIED = 0
    """Not a day: a rule that has it is invalid."""
    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7


@dataclass(frozen=True, slots=True)
class EndCriteria:
    """What ends a rule: either a number of occurrences, or a moment.

    Args:
      count: Stop after this many occurrences.  The start counts only if the rule matches it.
      until: Stop after this moment, which may be an occurrence itself; kept in UTC.

    Raises:
      ValueError: both or neither are given, the count is not a positive integer, or `until` is
        naive.
    """

    count: int | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.count is not None:
            object.__setattr__(self, "count", _integer("count", self.count))
        if self.until is not None:
            object.__setattr__(self, "until", utc(self.until, "until"))
        _check_end(self)

    @classmethod
    def unchecked(cls, *, count: int | None, until: datetime | None) -> Self:
        """Return the criteria as they arrived over the wire, valid or not."""
        self = object.__new__(cls)
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "until", until)
        return self


class _Memo:
    """Slots beside a rule's fields for what was computed about the rule, which can take long.

    They live as long as the rule.  They are not fields, and so no part of the value: comparing,
    hashing, copying and pickling a rule leave them out.  A cache elsewhere would hash the rule at
    each call, which takes as long as the lists that a peer sent are.
    """

    __slots__ = ("_problem", "_series")
    _problem: str | None
    _series: tuple[datetime, Series]


@dataclass(frozen=True, slots=True)
class RecurrenceRule(_Memo):
    """How a dispatch recurs.

    A rule gives occurrences once it has a start.  Intervals are counted from the start, occurrences
    have its seconds, and whatever else the rule leaves open is taken from it.  The start is an
    occurrence only if the rule matches it.  Every method is a pure function of its arguments.

    Args:
      frequency: The unit of the interval.  Unspecified means no recurrence: one occurrence, at the
        start.
      interval: Recur every this many units.
      end_criteria: What ends the rule; None if nothing does.  Nothing occurs after year 9999.
      byminutes: Minutes of the hour, 0 to 59.
      byhours: Hours of the day, 0 to 23.
      byweekdays: Days of the week.
      bymonthdays: Days of the month, 1 to 31, or from its end, -1 to -31.
      bymonths: Months of the year, 1 to 12.

    An empty list does not restrict.  With several lists an occurrence must match all of them.

    In a rule that arrived over the wire, `frequency` and `byweekdays` may have numbers that this
    version does not know: their ``name`` is then empty.

    Raises:
      ValueError: the rule is invalid; the message names the field and what would be right.
    """

    frequency: Frequency
    interval: int = 1
    end_criteria: EndCriteria | None = None
    byminutes: tuple[int, ...] = ()
    byhours: tuple[int, ...] = ()
    byweekdays: tuple[Weekday | int, ...] = ()
    bymonthdays: tuple[int, ...] = ()
    bymonths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("frequency", Frequency(_integer("frequency", self.frequency)))
        put("interval", _integer("interval", self.interval))
        put("byminutes", _integers("byminutes", self.byminutes))
        put("byhours", _integers("byhours", self.byhours))
        put("byweekdays", _weekdays(_integers("byweekdays", self.byweekdays)))
        put("bymonthdays", _integers("bymonthdays", self.bymonthdays))
        put("bymonths", _integers("bymonths", self.bymonths))
        if not isinstance(self.end_criteria, EndCriteria | None):
            raise ValueError(
                f"end_criteria {shown(self.end_criteria)} is not an EndCriteria or None"
            )
        _check(self)

    @classmethod
    def unchecked(
        cls,
        *,
        frequency: int,
        interval: int,
        end_criteria: EndCriteria | None,
        byminutes: Iterable[int],
        byhours: Iterable[int],
        byweekdays: Iterable[int],
        bymonthdays: Iterable[int],
        bymonths: Iterable[int],
    ) -> Self:
        """Return the rule as it arrived over the wire, valid or not: see `problem`."""
        self = object.__new__(cls)
        put = object.__setattr__
        put(self, "frequency", _FREQUENCIES.get(frequency) or Frequency(frequency))
        put(self, "interval", interval)
        put(self, "end_criteria", end_criteria)
        put(self, "byminutes", tuple(byminutes))
        put(self, "byhours", tuple(byhours))
        put(self, "byweekdays", _weekdays(byweekdays))
        put(self, "bymonthdays", tuple(bymonthdays))
        put(self, "bymonths", tuple(bymonths))
        return self

    @property
    def problem(self) -> str | None:
        """Why the rule is invalid and therefore never fires; None if it is valid.

        Only a rule that arrived over the wire can be invalid: where a user builds one, it is a
        `ValueError`.  With an unspecified frequency nothing else in a rule matters.
        """
        try:
            return self._problem
        except AttributeError:
            problem = _problem(self)
            object.__setattr__(self, "_problem", problem)
            return problem

    def next_after(
        self, start: datetime, after: datetime, inclusive: bool = False
    ) -> datetime | None:
        """Return the first occurrence later than a moment, or at it if `inclusive`.

        Returns:
          The occurrence in UTC, or None if none follows up to year 9999.

        Raises:
          ValueError: `start` or `after` is naive.
        """
        series = _series(self, utc(start, "start"))
        return series.next_after(utc(after, "after"), inclusive)

    def last_before(
        self, start: datetime, before: datetime, inclusive: bool = False
    ) -> datetime | None:
        """Return the last occurrence earlier than a moment, or at it if `inclusive`.

        Returns:
          The occurrence in UTC, or None if none precedes it.

        Raises:
          ValueError: `start` or `before` is naive.
        """
        series = _series(self, utc(start, "start"))
        return series.last_before(utc(before, "before"), inclusive)

    def between(self, start: datetime, after: datetime, before: datetime) -> Iterator[datetime]:
        """Return the occurrences from `after`, included, to `before`, not included, in order.

        They are found one by one as the iterator is asked for them.

        Raises:
          ValueError: `start`, `after` or `before` is naive; at once, not at the first item.
        """
        series = _series(self, utc(start, "start"))
        return _walk(series, utc(after, "after"), utc(before, "before"))

    def last(self, start: datetime) -> datetime | None:
        """Return the last occurrence, in UTC.

        Returns:
          None if there is no occurrence, or if the rule has no end criteria and goes on until
          year 9999.

        Raises:
          ValueError: `start` is naive.
        """
        return _series(self, utc(start, "start")).last()

    def count(self, start: datetime) -> int | None:
        """Return how many occurrences there are.

        Returns:
          None if there are some and the rule has no end criteria: it goes on until year 9999.

        Raises:
          ValueError: `start` is naive.
        """
        return _series(self, utc(start, "start")).count()


def _series(rule: RecurrenceRule, start: datetime) -> Series:
    """Return the occurrences of a rule with a start, remembered for the last start."""
    try:
        known, series = rule._series
        if known == start:
            return series
    except AttributeError:
        pass
    series = _compute_series(rule, start)
    object.__setattr__(rule, "_series", (start, series))
    return series


def _compute_series(rule: RecurrenceRule, start: datetime) -> Series:
    if rule.problem is not None:
        return Never()
    if rule.frequency == Frequency.UNSPECIFIED:
        return Once(start)
    end = rule.end_criteria
    until = None if end is None else end.until
    return recurring(
        start=start,
        unit=rule.frequency.name,
        interval=rule.interval,
        minutes=rule.byminutes,
        hours=rule.byhours,
        weekdays=rule.byweekdays,
        monthdays=rule.bymonthdays,
        months=rule.bymonths,
        count=None if end is None else end.count,
        until=None if until is None else utc(until, "until"),
    )


def _walk(series: Series, after: datetime, before: datetime) -> Iterator[datetime]:
    moment = series.next_after(after, True)
    while moment is not None and moment < before:
        yield moment
        moment = series.next_after(moment, False)


# Validity.


def _problem(rule: RecurrenceRule) -> str | None:
    if rule.frequency == Frequency.UNSPECIFIED:
        return None
    try:
        _check(rule)
    except ValueError as error:
        return str(error)
    return None


def _check(rule: RecurrenceRule) -> None:
    if not rule.frequency.name:
        raise ValueError(f"frequency {shown(int(rule.frequency))} is not a Frequency, 0 to 6")
    if rule.interval < 1:
        raise ValueError(f"interval {shown(rule.interval)} is not positive: the least is 1")
    for name, values, low, high in (
        ("byminutes", rule.byminutes, 0, 59),
        ("byhours", rule.byhours, 0, 23),
        ("byweekdays", rule.byweekdays, 1, 7),
        ("bymonths", rule.bymonths, 1, 12),
    ):
        for value in values:
            if not low <= value <= high:
                raise ValueError(
                    f"{name} has {shown(int(value))}, which is not from {low} to {high}"
                )
    for day in rule.bymonthdays:
        if not 1 <= abs(day) <= 31:
            raise ValueError(
                f"bymonthdays has {shown(day)}, which is not from 1 to 31 or from -31 to -1"
            )
    if rule.end_criteria is not None:
        _check_end(rule.end_criteria)


def _check_end(end: EndCriteria) -> None:
    if (end.count is None) == (end.until is None):
        given = "neither" if end.count is None else "both"
        raise ValueError(f"end_criteria has {given} of count and until: it takes exactly one")
    if end.count is not None and end.count < 1:
        raise ValueError(f"count {shown(end.count)} is not positive: the least is 1")


# Quicker than `Frequency(number)` and `Weekday(number)`.
_FREQUENCIES = {int(member): member for member in Frequency}
_WEEKDAYS = {int(member): member for member in Weekday}


def _weekdays(numbers: Iterable[int]) -> tuple[Weekday, ...]:
    return tuple([_WEEKDAYS.get(number) or Weekday(number) for number in numbers])


def _integer(name: str, value: object) -> int:
    if type(value) is int:  # much quicker than the check of a protocol
        return value
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise ValueError(f"{name} {shown(value)} is not an integer")
    return value.__index__()


def _integers(name: str, values: object) -> tuple[int, ...]:
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise ValueError(f"{name} {shown(values)} is not a sequence of integers")
    return tuple(_integer(name, value) for value in values)
