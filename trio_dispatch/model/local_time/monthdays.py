"""Days of the month, and the days before and after them.

The day before the 1st is the last day of the month before, and the day after the 28th depends on
the length of the month.  So a list of days of the month becomes several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["ALL_MONTHS", "MovedDays", "move_days"]

ALL_MONTHS = frozenset(range(1, 13))
_LONG = frozenset((1, 3, 5, 7, 8, 10, 12))
_SHORT = frozenset((4, 6, 9, 11))
_FEBRUARY = frozenset((2,))


class MovedDays(NamedTuple):
    """Days of some months, and the days that are one day earlier or later.

    Attributes:
      months, days: The days of the months, as `bymonths` and `bymonthdays`.
      carry: How many months later the moved days are: -1, 0 or 1.
      moved: The moved days, as `bymonthdays`.  None if no list has them, as it depends on whether
        the year is a leap year.
    """

    months: frozenset[int]
    days: frozenset[int]
    carry: int
    moved: frozenset[int] | None


def move_days(days: Iterable[int], months: Iterable[int], by: int) -> list[MovedDays]:
    """Return the days of some months, each with the days that are one day earlier or later.

    Args:
      days: Days of the month as `bymonthdays`; empty for every day.
      months: Months as `bymonths`; empty for every month.
      by: -1 for the day before, 1 for the day after.
    """
    of_months = frozenset(months) or ALL_MONTHS
    chosen = frozenset(days)
    parts = [part for day in sorted(chosen) for part in _one(day, by)] if chosen else _every(by)
    groups: dict[tuple[frozenset[int], int | None], list[MovedDays]] = {}
    for part in _disjoint(parts, chosen):
        common = part.months & of_months
        if common:
            groups.setdefault((common, None if part.moved is None else part.carry), []).append(part)
    return [
        MovedDays(
            common,
            frozenset().union(*(part.days for part in group)),
            carry or 0,
            None if carry is None else frozenset().union(*(part.moved or () for part in group)),
        )
        for (common, carry), group in groups.items()
    ]


def _disjoint(parts: Iterable[MovedDays], chosen: frozenset[int]) -> Iterator[MovedDays]:
    """Return parts of which no two have the same day: the 2nd may be the last but 29, too."""
    double = [
        day for day in chosen if day < 0 and any(each + day + 1 in chosen for each in (28, 29))
    ]
    if double:
        yield MovedDays(_FEBRUARY, chosen, 0, None)
    for part in parts:
        months = part.months - _FEBRUARY if double else part.months
        day = next(iter(part.days))
        if day < 0:
            months -= _LONG if 32 + day in chosen else frozenset()
            months -= _SHORT if 31 + day in chosen else frozenset()
        yield part._replace(months=months)


def _every(by: int) -> list[MovedDays]:
    if by < 0:
        inner = MovedDays(ALL_MONTHS, frozenset(range(2, 32)), 0, frozenset(range(-31, -1)))
    else:
        inner = MovedDays(ALL_MONTHS, frozenset(range(-31, -1)), 0, frozenset(range(2, 32)))
    edge = 1 if by < 0 else -1
    return [inner, MovedDays(ALL_MONTHS, frozenset((edge,)), by, frozenset((-edge,)))]


def _one(day: int, by: int) -> list[MovedDays]:
    """Return where one day of the month goes, for each length of a month."""
    # Counted from the side on which the day moves out of the month.
    place = day if by < 0 else -day
    days = frozenset((day,))

    def within(months: frozenset[int]) -> MovedDays:
        return MovedDays(months, days, 0, frozenset((day + by,)))

    def beyond(months: frozenset[int]) -> MovedDays:
        return MovedDays(months, days, by, frozenset((by,)))

    def uncertain() -> MovedDays:
        return MovedDays(_FEBRUARY, days, 0, None)

    match place:
        case 1:
            return [beyond(ALL_MONTHS)]
        case 29:
            return [within(_LONG | _SHORT), uncertain()]
        case 30:
            return [within(_LONG | _SHORT)]
        case 31:
            return [within(_LONG)]
        # From the other side: the day is the outermost one of a month of that length.
        case -28 | -29:
            return [within(_LONG | _SHORT), uncertain()]
        case -30:
            return [within(_LONG), beyond(_SHORT)]
        case -31:
            return [beyond(_LONG)]
    return [within(ALL_MONTHS)]
