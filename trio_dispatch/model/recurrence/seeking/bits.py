"""Sets of integers as Python integers: bit *i* stands for the member *i*.

Shifts, intersections and counts of such sets run at the speed of memory, a few microseconds for
the 146,097 days of four centuries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def of(members: Iterable[int]) -> int:
    """The set of some small members."""
    bits = 0
    for member in members:
        bits |= 1 << member
    return bits


def octets(members: Iterable[int], size: int) -> bytes:
    """The set of many members below a size, eight a byte: `of` would copy it for each of them."""
    octets = bytearray((size >> 3) + 1)
    for member in members:
        octets[member >> 3] |= 1 << (member & 7)
    return bytes(octets)


def below(limit: int) -> int:
    """The set of all members from 0 up to a limit, which is not one."""
    return (1 << limit) - 1


def least(bits: int) -> int:
    """The least member of a set that is not empty."""
    return (bits & -bits).bit_length() - 1


def greatest(bits: int) -> int:
    """The greatest member of a set that is not empty."""
    return bits.bit_length() - 1


def nth(bits: int, number: int) -> int:
    """The member of a small set with a number, the least being number 0."""
    for _ in range(number):
        bits &= bits - 1
    return least(bits)


def members(bits: int) -> Iterator[int]:
    """The members of a small set, in order."""
    while bits:
        yield least(bits)
        bits &= bits - 1


def repeated(bits: int, period: int, limit: int) -> int:
    """A set of members below a period, repeated every period, at least up to a limit."""
    while period < limit:
        bits |= bits << period
        period *= 2
    return bits


def turned(bits: int, size: int, shift: int) -> int:
    """A cyclic set of a size, seen from one of its positions, which becomes 0."""
    return (bits >> shift) | ((bits & below(shift)) << (size - shift))
