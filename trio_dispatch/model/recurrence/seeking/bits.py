"""Sets of integers as Python integers: bit *i* stands for the member *i*.

Shifts, intersections and counts of such sets run at the speed of memory, a few microseconds for
the 146,097 days of four centuries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def of(members: Iterable[int]) -> int:
    """Return the set of some small members."""
    bits = 0
    for member in members:
        bits |= 1 << member
    return bits


def octets(members: Iterable[int], size: int) -> bytes:
    """Return the set of many members below a size, eight a byte.  `of` would copy it for each."""
    octets = bytearray((size >> 3) + 1)
    for member in members:
        octets[member >> 3] |= 1 << (member & 7)
    return bytes(octets)


def below(limit: int) -> int:
    """Return the set of the numbers from 0 up to a limit, not included."""
    return (1 << limit) - 1


def least(bits: int) -> int:
    """Return the least member of a set that is not empty."""
    return (bits & -bits).bit_length() - 1


def greatest(bits: int) -> int:
    """Return the greatest member of a set that is not empty."""
    return bits.bit_length() - 1


def nth(bits: int, number: int) -> int:
    """Return the n-th member of a small set, counted from 0."""
    for _ in range(number):
        bits &= bits - 1
    return least(bits)


def members(bits: int) -> Iterator[int]:
    """Return the members of a small set, in order."""
    while bits:
        yield least(bits)
        bits &= bits - 1


def repeated(bits: int, period: int, limit: int) -> int:
    """Return a set of members below a period, repeated every period, up to a limit or beyond."""
    while period < limit:
        bits |= bits << period
        period *= 2
    return bits


def turned(bits: int, size: int, shift: int) -> int:
    """Return a cyclic set rotated so that a position becomes 0."""
    return (bits >> shift) | ((bits & below(shift)) << (size - shift))
