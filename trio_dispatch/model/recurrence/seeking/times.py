"""The times of the day of a rule: sets of minutes of the day."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import gcd

from . import bits
from .phase import Phase, Residues, Stride

DAY = 1440
"""The minutes in a day."""


class SameTimes:
    """The same times on every day."""

    __slots__ = ("times",)

    def __init__(self, times: int) -> None:
        self.times = times

    def on(self, day: int) -> int:
        """Return the minutes of an active day that are occurrences."""
        return self.times


class ShiftingTimes:
    """Times that differ from day to day: an interval of hours or minutes does not divide the day.

    Args:
      times: The minutes of the day that the by-lists match.
      slot: The minutes in the unit of the interval.
      interval: The interval, in its unit.
      start: The minute from which the interval is counted.
    """

    __slots__ = ("_first", "_interval", "_slot", "_stride", "_times")

    def __init__(self, times: int, slot: int, interval: int, start: int) -> None:
        self._times = times
        self._slot = slot
        self._interval = interval
        self._first = start // slot
        self._stride = stride_of(slot, interval, start)

    def on(self, day: int) -> int:
        """Return the minutes of an active day that are occurrences."""
        return self._times & self._stride.window(day * DAY, DAY)

    def days(self) -> tuple[int, Collection[int]]:
        """Return the days that have any time: a divisor, and the remainders of their numbers."""
        period, found = self._remainders()
        if self._times == bits.below(DAY) and self._interval * self._slot <= DAY:
            return period, range(period)
        remainders: set[int] = set()
        for remainder, _ in found:
            remainders.add(remainder)
            if len(remainders) == period:
                break
        return period, remainders

    def planes(self) -> list[tuple[Phase, int]]:
        """Return how many times each day has: sets of days, and a number for each set.

        A day has the sum of the numbers of the sets that it is in.  Counting takes time for each
        set, so there are as few as possible.  Mostly days have one of two or three numbers, and
        there is a set for each.  With more, there is a set for each binary digit of the numbers.
        """
        period, found = self._remainders()
        held: dict[int, int] = {}
        for remainder, number in found:
            held[remainder] = held.get(remainder, 0) + number
        numbers = set(held.values())
        digits = [1 << digit for digit in range(max(numbers, default=0).bit_length())]
        if len(numbers) <= len(digits):
            return [
                (Residues(period, [day for day, here in held.items() if here == number]), number)
                for number in numbers
            ]
        return [
            (Residues(period, [day for day, here in held.items() if here & digit]), digit)
            for digit in digits
        ]

    def _remainders(self) -> tuple[int, Iterator[tuple[int, int]]]:
        """Return on which days the interval meets each slot that the by-lists match.

        With `slots` in a day, the slot `at` of a day is met if
        ``day * slots + at == first (mod interval)``.  If their greatest common divisor divides
        ``first - at``, then that is so for one remainder of the day by `interval` over the divisor,
        otherwise never.

        Returns:
          The divisor of day numbers, and for each slot that is ever met the remainder and the
          number of occurrences in the slot.
        """
        slots = DAY // self._slot
        divisor = gcd(slots, self._interval)
        period = self._interval // divisor
        inverse = pow(slots // divisor, -1, period)
        mask = bits.below(self._slot)

        def found() -> Iterator[tuple[int, int]]:
            for at in range(self._first % divisor, slots, divisor):
                times = self._times >> at * self._slot & mask
                if times:
                    remainder = (self._first - at) // divisor * inverse % period
                    yield remainder, times.bit_count()

        return period, found()


def stride_of(slot: int, interval: int, start: int) -> Stride:
    """Return the minutes that an interval meets, counted in units of `slot` minutes."""
    return Stride(interval * slot, slot, start - start % slot)
