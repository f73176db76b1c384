"""When a dispatch recurs: immutable rules, and pure questions about the moments they name.

The occurrences of a rule are those of :rfc:`5545` in UTC, exactly as :class:`dateutil.rrule.rrule`
gives them with the dispatch's start as ``dtstart`` and weeks that begin on Monday::

    workdays_at_noon = RecurrenceRule(
        Frequency.WEEKLY, byweekdays=(1, 2, 3, 4, 5), byhours=(12,), byminutes=(0,)
    )
    workdays_at_noon.next_after(start, clock.now())

Nothing here reads a clock, and nothing replays a rule from its start: the package `seeking` finds
any occurrence at a cost that does not depend on how old the rule is.

Rules do not follow daylight saving: 12:00 is 12:00 UTC all year.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Self, TypeVar, cast

from .seeking import Never, Once, Series, recurring

__all__ = ["EndCriteria", "Frequency", "RecurrenceRule", "Weekday"]

_E = TypeVar("_E", bound=IntEnum)


class Frequency(IntEnum):
    """The unit that a rule's interval counts, numbered as in the API."""

    UNSPECIFIED = 0
    """No recurrence: the one occurrence is the start itself."""
    MINUTELY = 1
    HOURLY = 2
    DAILY = 3
    WEEKLY = 4
    MONTHLY = 5
    YEARLY = 6


class Weekday(IntEnum):
    """A day of the week, numbered as in the API and in ISO 8601."""

    UNSPECIFIED = 0
    """Means nothing; a rule that names it makes no sense."""
    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7


@dataclass(frozen=True, slots=True)
class EndCriteria:
    """What ends a rule: so many occurrences, or a moment.  Exactly one of the two.

    Args:
      count: How many occurrences there are; those that the rule matches count, so the start does
        only if it is one.
      until: The last moment at which one may be, itself included; kept in UTC.

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
            object.__setattr__(self, "until", _utc("until", self.until))
        _check_end(self)

    @classmethod
    def unchecked(cls, *, count: int | None, until: datetime | None) -> Self:
        """The criteria as they arrived, sense or none."""
        self = object.__new__(cls)
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "until", until)
        return self


class _Notes:
    """Room beside a rule's fields for what was worked out about it, which can take long.

    It dies with the rule.  Being outside the fields it is no part of the value: comparing, hashing,
    copying and pickling a rule leave it out.  And it spares every call the hash of the rule that a
    cache elsewhere would need, which would be as long as the lists that a peer sent.
    """

    __slots__ = ("_problem", "_series")
    _problem: str | None
    _series: tuple[datetime, Series]


@dataclass(frozen=True, slots=True)
class RecurrenceRule(_Notes):
    """How a dispatch recurs.

    The rule says which moments are occurrences once it is given a start, from which intervals are
    counted and whose seconds, and whatever else the rule leaves open, they take.  The start is an
    occurrence only if the rule matches it.  Every method is a pure function of its arguments.

    Args:
      frequency: The unit of the interval.  Unspecified means no recurrence: one occurrence, at the
        start.
      interval: Every so many units.
      end_criteria: What ends it; None if nothing does.  Nothing occurs after year 9999 anyway.
      byminutes: Minutes of the hour, 0 to 59.
      byhours: Hours of the day, 0 to 23.
      byweekdays: Days of the week.
      bymonthdays: Days of the month, 1 to 31, or from its end, -1 to -31.
      bymonths: Months of the year, 1 to 12.

    An empty list does not restrict.  With several lists an occurrence must match all of them.

    Raises:
      ValueError: the rule makes no sense.
    """

    frequency: Frequency
    interval: int = 1
    end_criteria: EndCriteria | None = None
    byminutes: tuple[int, ...] = ()
    byhours: tuple[int, ...] = ()
    byweekdays: tuple[Weekday, ...] = ()
    bymonthdays: tuple[int, ...] = ()
    bymonths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("frequency", _member(Frequency, _integer("frequency", self.frequency)))
        put("interval", _integer("interval", self.interval))
        put("byminutes", _integers("byminutes", self.byminutes))
        put("byhours", _integers("byhours", self.byhours))
        weekdays = _integers("byweekdays", self.byweekdays)
        put("byweekdays", tuple(_member(Weekday, day) for day in weekdays))
        put("bymonthdays", _integers("bymonthdays", self.bymonthdays))
        put("bymonths", _integers("bymonths", self.bymonths))
        if not (self.end_criteria is None or isinstance(self.end_criteria, EndCriteria)):
            raise ValueError(f"end_criteria {self.end_criteria!r} is not an EndCriteria or None")
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
        """The rule as it arrived, sense or none; `problem` tells which."""
        self = object.__new__(cls)
        put = object.__setattr__
        put(self, "frequency", _member(Frequency, frequency))
        put(self, "interval", interval)
        put(self, "end_criteria", end_criteria)
        put(self, "byminutes", tuple(byminutes))
        put(self, "byhours", tuple(byhours))
        put(self, "byweekdays", tuple([_member(Weekday, day) for day in byweekdays]))
        put(self, "bymonthdays", tuple(bymonthdays))
        put(self, "bymonths", tuple(bymonths))
        return self

    @property
    def problem(self) -> str | None:
        """Why the rule makes no sense and therefore never fires; None if it makes sense.

        Only a rule that arrived over the wire can have one: where a user builds a rule it is a
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
        """The first occurrence later than a moment, or at it if `inclusive`.

        Returns:
          The occurrence in UTC, or None if there is none up to year 9999.

        Raises:
          ValueError: `start` or `after` is naive.
        """
        occurrences = _series(self, _utc("start", start))
        return occurrences.next_after(_utc("after", after), inclusive)

    def last_before(
        self, start: datetime, before: datetime, inclusive: bool = False
    ) -> datetime | None:
        """The last occurrence earlier than a moment, or at it if `inclusive`.

        Returns:
          The occurrence in UTC, or None if there is none.

        Raises:
          ValueError: `start` or `before` is naive.
        """
        occurrences = _series(self, _utc("start", start))
        return occurrences.last_before(_utc("before", before), inclusive)

    def between(self, start: datetime, after: datetime, before: datetime) -> Iterator[datetime]:
        """The occurrences from `after`, itself included, to `before`, itself not, in order.

        They are found one by one as the iterator is asked for them.

        Raises:
          ValueError: `start`, `after` or `before` is naive; at once, not at the first item.
        """
        occurrences = _series(self, _utc("start", start))
        return _walk(occurrences, _utc("after", after), _utc("before", before))

    def last(self, start: datetime) -> datetime | None:
        """The last occurrence, in UTC.

        Returns:
          None if there is no occurrence, or if the rule has no end criteria and goes on until
          year 9999.

        Raises:
          ValueError: `start` is naive.
        """
        return _series(self, _utc("start", start)).last()

    def count(self, start: datetime) -> int | None:
        """How many occurrences there are.

        Returns:
          None if there are some and the rule has no end criteria: it goes on until year 9999.

        Raises:
          ValueError: `start` is naive.
        """
        return _series(self, _utc("start", start)).count()


def _series(rule: RecurrenceRule, start: datetime) -> Series:
    """The occurrences of a rule with a start, remembered for the start last asked about."""
    try:
        known, occurrences = rule._series
        if known == start:
            return occurrences
    except AttributeError:
        pass
    occurrences = _work_out(rule, start)
    object.__setattr__(rule, "_series", (start, occurrences))
    return occurrences


def _work_out(rule: RecurrenceRule, start: datetime) -> Series:
    if rule.problem is not None:
        return Never()
    if rule.frequency == Frequency.UNSPECIFIED:
        return Once(start)
    end = rule.end_criteria
    until = None if end is None else end.until
    return recurring(
        start=start,
        unit=Frequency(rule.frequency).name,
        interval=rule.interval,
        minutes=rule.byminutes,
        hours=rule.byhours,
        weekdays=rule.byweekdays,
        monthdays=rule.bymonthdays,
        months=rule.bymonths,
        count=None if end is None else end.count,
        until=None if until is None else _utc("until", until),
    )


def _walk(series: Series, after: datetime, before: datetime) -> Iterator[datetime]:
    moment = series.next_after(after, True)
    while moment is not None and moment < before:
        yield moment
        moment = series.next_after(moment, False)


# What makes sense.


def _problem(rule: RecurrenceRule) -> str | None:
    if rule.frequency == Frequency.UNSPECIFIED:
        return None
    try:
        _check(rule)
    except ValueError as error:
        return str(error)
    return None


def _check(rule: RecurrenceRule) -> None:
    if rule.frequency not in Frequency.__members__.values():
        raise ValueError(f"frequency {rule.frequency} is not one of the Frequency numbers, 0 to 6")
    if rule.interval < 1:
        raise ValueError(f"interval {rule.interval} is not positive: the least is 1")
    for name, values, low, high in (
        ("byminutes", rule.byminutes, 0, 59),
        ("byhours", rule.byhours, 0, 23),
        ("byweekdays", rule.byweekdays, 1, 7),
        ("bymonths", rule.bymonths, 1, 12),
    ):
        for value in values:
            if not low <= value <= high:
                raise ValueError(f"{name} has {int(value)}, which is not from {low} to {high}")
    for day in rule.bymonthdays:
        if not 1 <= abs(day) <= 31:
            raise ValueError(f"bymonthdays has {day}, which is not from 1 to 31 or from -31 to -1")
    if rule.end_criteria is not None:
        _check_end(rule.end_criteria)


def _check_end(end: EndCriteria) -> None:
    if (end.count is None) == (end.until is None):
        given = "neither" if end.count is None else "both"
        raise ValueError(f"end_criteria has {given} of count and until: it takes exactly one")
    if end.count is not None and end.count < 1:
        raise ValueError(f"count {end.count} is not positive: the least is 1")
    if end.until is not None and end.until.utcoffset() is None:
        raise ValueError(f"until {end.until!r} is naive: give it a time zone, such as datetime.UTC")


_MEMBERS: dict[type, dict[int, Any]] = {
    kind: {int(member): member for member in kind} for kind in (Frequency, Weekday)
}


def _member(kind: type[_E], number: int) -> _E:
    """The enum member, or the number as it is where the enum has none: newer peers may send it."""
    return cast(_E, _MEMBERS[kind].get(number, int(number)))


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool):
        raise ValueError(f"{name} {value!r} is not an integer")
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name} {value!r} is not an integer") from None


def _integers(name: str, values: object) -> tuple[int, ...]:
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise ValueError(f"{name} {values!r} is not a sequence of integers")
    return tuple(_integer(name, value) for value in values)


def _utc(name: str, moment: datetime) -> datetime:
    """The moment in UTC.

    Raises:
      ValueError: it is naive, or not a datetime, or in UTC not within years 1 to 9999.
    """
    if not isinstance(moment, datetime):
        raise ValueError(f"{name} {moment!r} is not a datetime")
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() is None:
        raise ValueError(f"{name} {moment!r} is naive: give it a time zone, such as datetime.UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{name} {moment!r} is not within years 1 to 9999 in UTC") from None
