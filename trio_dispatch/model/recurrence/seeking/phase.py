"""Sets of integers that repeat with a period: the months or days that an interval meets."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

from . import bits
from .days import LAST_DAY


class Phase(Protocol):
    """A set of integers, without beginning or end, that repeats with a period."""

    def at_or_after(self, number: int) -> int:
        """Return the least member from a number on."""

    def at_or_before(self, number: int) -> int:
        """Return the greatest member up to a number."""

    def window(self, low: int, size: int) -> int:
        """Return the members in ``range(low, low + size)`` as a set of bits; `low` is bit 0.

        Bits at `size` and above are undefined.
        """


class Stride:
    """Groups of consecutive numbers, one every period, one of which begins at the origin.

    The phase of every interval in a calendar: every 3rd day is ``Stride(3, 1, start)``, every 2nd
    week ``Stride(14, 7, its_monday)``, every 2nd year ``Stride(24, 12, its_january)`` of months.
    """

    __slots__ = ("group", "origin", "period")

    def __init__(self, period: int, group: int, origin: int) -> None:
        self.period = period
        self.group = group
        self.origin = origin

    def at_or_after(self, number: int) -> int:
        beyond = (number - self.origin) % self.period
        return number if beyond < self.group else number + self.period - beyond

    def at_or_before(self, number: int) -> int:
        beyond = (number - self.origin) % self.period
        return number if beyond < self.group else number - beyond + self.group - 1

    def window(self, low: int, size: int) -> int:
        begun = (low - self.origin) % self.period
        if begun < self.group:
            return _comb(self.period, self.group, size + self.group) >> begun
        ahead = self.period - begun
        return _comb(self.period, self.group, size) << ahead if ahead < size else 0


class Residues:
    """The numbers that leave one of some remainders when divided by the period."""

    __slots__ = ("_remainders", "period")

    def __init__(self, period: int, remainders: Iterable[int]) -> None:
        self.period = period
        self._remainders = array("Q", sorted(remainders))

    def at_or_after(self, number: int) -> int:
        remainders = self._remainders
        beyond = number % self.period
        at = bisect_left(remainders, beyond)
        if at < len(remainders):
            return number - beyond + remainders[at]
        return number - beyond + self.period + remainders[0]

    def at_or_before(self, number: int) -> int:
        remainders = self._remainders
        beyond = number % self.period
        at = bisect_right(remainders, beyond)
        if at:
            return number - beyond + remainders[at - 1]
        return number - beyond - self.period + remainders[-1]

    def window(self, low: int, size: int) -> int:
        period = self.period
        beyond = low % period
        if period < size:
            return _repeated(self, size) >> beyond
        found = _part(_octets(self), beyond, size)
        if beyond + size > period:
            found |= _part(_octets(self), 0, beyond + size - period) << (period - beyond)
        return found

    def first_period(self, limit: int) -> bytes:
        """Return the members from 0 to the period or the limit, whichever is less, eight a byte."""
        remainders = self._remainders
        return bits.octets(remainders[: bisect_left(remainders, limit)], min(self.period, limit))


@lru_cache(maxsize=64)
def _comb(period: int, group: int, size: int) -> int:
    return bits.repeated(bits.below(group), period, size)


@lru_cache(maxsize=16)
def _repeated(phase: Residues, size: int) -> int:
    period = int.from_bytes(phase.first_period(phase.period), "little")
    return bits.repeated(period, phase.period, phase.period + size)


@lru_cache(maxsize=16)
def _octets(phase: Residues) -> bytes:
    """Return the members up to the last day of the calendar: 456 KB at most."""
    return phase.first_period(LAST_DAY + 1)


def _part(octets: bytes, low: int, size: int) -> int:
    """Return the members from `low` on, as `window` does."""
    return int.from_bytes(octets[low >> 3 : (low + size >> 3) + 1], "little") >> (low & 7)
