"""How many occurrences are before a day, and which day has the n-th.

Counting works on a cycle of the calendar at a time, on sets of bits.  A *layer* is a set of months
or days, and the number of occurrences that each of them holds.  The layers of whole cycles are
counted until the cycle is reached that has the n-th occurrence, which is then found by halving.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Protocol

from . import bits
from .days import DAYS, LAST_DAY, LAST_MONTH, MONTHS, Days, cycle_of, first_of
from .phase import Phase

Layers = list[tuple[int, int]]
"""Sets of months or days, and the number that each member holds."""


class Tally(Protocol):
    """Occurrences counted from the beginning of the cycle in which a rule starts."""

    def before(self, day: int) -> int:
        """Return how many occurrences are before a day."""

    def find(self, number: int) -> tuple[int, int] | None:
        """Return the day of the n-th occurrence, counted from 0, and its number in that day."""


class MonthTally:
    """Counts active days, for an interval that counts months or years, or that meets all days.

    Args:
      start: The day on which the rule starts.
    """

    def __init__(self, days: Days, phase: Phase | None, start: int) -> None:
        self._days = days
        self._phase = phase
        self._by_number = days.by_number()
        self._cycle = start // DAYS

    def before(self, day: int) -> int:
        that = date.fromordinal(day + 1)
        month = 12 * that.year + that.month - 13
        number = _before(self._layers, MONTHS, self._cycle, month)
        if self._phase is None or self._phase.at_or_after(month) == month:
            number += (self._days.in_month(month) & bits.below(that.day - 1)).bit_count()
        return number

    def find(self, number: int) -> tuple[int, int] | None:
        found = _find(self._layers, MONTHS, self._cycle, LAST_MONTH, number)
        if found is None:
            return None
        month, number = found
        return first_of(month) + bits.nth(self._days.in_month(month), number), 0

    def _layers(self, cycle: int) -> Layers:
        if self._phase is None:
            return self._by_number
        active = self._phase.window(cycle * MONTHS, MONTHS)
        return [(months & active, number) for months, number in self._by_number]


class DayTally:
    """Counts the occurrences on active days, for every other interval.

    Args:
      planes: Sets of days, and how many occurrences each day of the set holds.  A day holds the
        sum over the sets that it is in.
      start: The day on which the rule starts.
    """

    def __init__(self, days: Days, planes: list[tuple[Phase, int]], start: int) -> None:
        self._days = cycle_of(days)
        self._planes = planes
        self._cycle = start // DAYS

    def before(self, day: int) -> int:
        return _before(self._layers, DAYS, self._cycle, day)

    def find(self, number: int) -> tuple[int, int] | None:
        return _find(self._layers, DAYS, self._cycle, LAST_DAY, number)

    def _layers(self, cycle: int) -> Layers:
        low = cycle * DAYS
        return [(self._days & plane.window(low, DAYS), held) for plane, held in self._planes]


def _before(layers: Callable[[int], Layers], size: int, cycle: int, member: int) -> int:
    """Return how much the members before one hold, from the beginning of a cycle on."""
    whole, rest = divmod(member, size)
    number = sum(_held(layers(each)) for each in range(cycle, whole))
    return number + _held(_lower(layers(whole), rest))


def _find(
    layers: Callable[[int], Layers], size: int, cycle: int, limit: int, number: int
) -> tuple[int, int] | None:
    """Return the member that holds the n-th occurrence, and its number within the member."""
    for each in range(cycle, limit // size + 1):
        these = layers(each)
        held = _held(these)
        if number < held:
            member, number = _halve(these, size, number)
            member += each * size
            return (member, number) if member <= limit else None
        number -= held
    return None


def _halve(layers: Layers, size: int, number: int) -> tuple[int, int]:
    low = 0
    while size > 1:
        half = size // 2
        lower = _lower(layers, half)
        held = _held(lower)
        if number < held:
            layers = lower
            size = half
        else:
            layers = [(members >> half, each) for members, each in layers]
            number -= held
            low += half
            size -= half
    return low, number


def _held(layers: Layers) -> int:
    return sum(members.bit_count() * each for members, each in layers)


def _lower(layers: Layers, limit: int) -> Layers:
    mask = bits.below(limit)
    return [(members & mask, each) for members, each in layers]
