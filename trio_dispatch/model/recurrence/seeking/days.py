"""The days of the calendar that the by-lists of a rule match.

The Gregorian calendar repeats every 400 years, weekdays included: 4,800 months, 146,097 days.
Months are numbered from 0, January of year 1, and days from 0, the first of that month, a Monday.
Which days of a month match depends only on its number in the year, its length and the weekday of
its first day.  So the months of a cycle that have a match are a set of 4,800 bits, put together
from a few sets that are computed at import.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from itertools import accumulate

from . import bits

MONTHS = 4800
"""The months in a cycle of the calendar."""
DAYS = 146_097
"""The days in a cycle of the calendar."""
LAST_MONTH = 12 * 9998 + 11
LAST_DAY = date.max.toordinal() - 1

ANY_WEEKDAY = bits.below(7)
ANY_MONTHDAY = bits.below(31)
ANY_MONTH = bits.below(12)


def _lengths() -> Iterator[int]:
    """Return the lengths of the months of a cycle."""
    for year in range(1, 401):
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        yield 31
        yield 29 if leap else 28
        yield from (31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


_FIRST = array("i", accumulate(_lengths(), initial=0))
"""The first day of each month of a cycle, and the end of the cycle."""


def _kinds() -> dict[tuple[int, int], int]:
    """Return the months of a cycle, as sets of bits, by length and weekday of the first day."""
    kinds: dict[tuple[int, int], int] = {}
    for month in range(MONTHS):
        first = _FIRST[month]
        kind = _FIRST[month + 1] - first, first % 7
        kinds[kind] = kinds.get(kind, 0) | 1 << month
    return kinds


_KINDS = _kinds()


def month_of(day: int) -> int:
    """Return the month of a day."""
    that = date.fromordinal(day + 1)
    return 12 * that.year + that.month - 13


def first_of(month: int) -> int:
    """Return the first day of a month."""
    cycle, month = divmod(month, MONTHS)
    return cycle * DAYS + _FIRST[month]


class Days:
    """The days that match some by-lists.

    A day matches if its weekday matches, its month matches, and its day of the month matches
    counted from the beginning or from the end.

    Args:
      weekdays: The weekdays that match, as a set of bits; Monday is bit 0.
      monthdays: The days of the month that match; day 1 is bit 0.
      from_end: Those that match counted from the end of a month; the last day is bit 30.
      months: The months that match; January is bit 0.
    """

    __slots__ = ("_from_end", "_monthdays", "_numbers", "_weekdays", "all", "months")

    def __init__(self, weekdays: int, monthdays: int, from_end: int, months: int) -> None:
        self._weekdays = bits.repeated(weekdays, 7, 7 + 31)
        self._monthdays = monthdays
        self._from_end = from_end
        self._numbers = months
        nonempty = 0
        for kind, those in _KINDS.items():
            if self._in_kind(*kind):
                nonempty |= those
        self.months = self._restricted(nonempty)
        """The months of a cycle that have a matching day."""
        self.all = (weekdays, monthdays, months) == (ANY_WEEKDAY, ANY_MONTHDAY, ANY_MONTH)
        """Whether every day matches."""

    def in_month(self, month: int) -> int:
        """Return the days of a month that match; the first day is bit 0."""
        month %= MONTHS
        if not self._numbers >> month % 12 & 1:
            return 0
        first = _FIRST[month]
        return self._in_kind(_FIRST[month + 1] - first, first % 7)

    def by_number(self) -> list[tuple[int, int]]:
        """Return sets of months of a cycle, and the number of matching days that each month has."""
        sizes: dict[int, int] = {}
        for kind, months in _KINDS.items():
            size = self._in_kind(*kind).bit_count()
            sizes[size] = sizes.get(size, 0) | months
        return [(self._restricted(months), size) for size, months in sizes.items() if size]

    def cycle(self) -> int:
        """Return the days of a cycle that match."""
        years: dict[tuple[int, int], str] = {}
        digits = []
        for january in reversed(range(0, MONTHS, 12)):
            first = _FIRST[january]
            kind = _FIRST[january + 12] - first, first % 7
            if kind not in years:
                months = range(january, january + 12)
                days = sum(self.in_month(month) << (_FIRST[month] - first) for month in months)
                years[kind] = f"{days:0{kind[0]}b}"
            digits.append(years[kind])
        return int("".join(digits), 2)

    def _in_kind(self, length: int, weekday: int) -> int:
        return (
            (self._monthdays | self._from_end >> (31 - length))
            & self._weekdays >> weekday
            & bits.below(length)
        )

    def _restricted(self, months: int) -> int:
        """Return those of some months of a cycle whose number in the year matches."""
        if self._numbers == ANY_MONTH:
            return months
        return months & bits.repeated(self._numbers, 12, MONTHS)


@lru_cache(maxsize=32)
def cycle_of(days: Days) -> int:
    """Return the days of a cycle that match, cached: 18 KB, and few rules need them."""
    return days.cycle()
