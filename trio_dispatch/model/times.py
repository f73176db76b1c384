"""Times with nanoseconds, as the API has them.  A datetime has microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import SupportsIndex

__all__ = ["NanoTime", "nanos_of", "time_from_nanos", "time_of", "time_to_nanos"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NanoTime(datetime):
    """A datetime that also carries the nanoseconds below its microsecond.

    Comparison, hashing and arithmetic are those of a datetime: they ignore the nanoseconds.

    Attributes:
      nanos: The nanoseconds, 0 to 999.
    """

    nanos: int = 0

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[object, ...]:
        # A datetime's own leaves out what a subclass adds.
        return time_from_nanos, (time_to_nanos(self),)


_NANO_EPOCH = NanoTime(1970, 1, 1, tzinfo=UTC)


def time_from_nanos(nanos: int) -> datetime:
    """Return the moment this many nanoseconds after 1970, in UTC.

    Raises:
      OverflowError: it is before year 1 or after year 9999.
    """
    return time_of(*divmod(nanos, 1_000_000_000))


def time_of(seconds: int, nanos: int) -> datetime:
    """Return the moment this many seconds and nanoseconds after 1970, in UTC.

    Raises:
      OverflowError: it is before year 1 or after year 9999.
    """
    if not nanos:
        return _EPOCH + timedelta(0, seconds)
    micros, rest = divmod(nanos, 1000)
    if not rest:
        return _EPOCH + timedelta(0, seconds, micros)
    moment = _NANO_EPOCH + timedelta(0, seconds, micros)
    moment.nanos = rest
    return moment


def time_to_nanos(moment: datetime) -> int:
    """Return the nanoseconds from 1970 to a moment."""
    delta = moment - _EPOCH
    micros = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    return micros * 1000 + nanos_of(moment)


def nanos_of(moment: datetime) -> int:
    """Return the nanoseconds of a moment below its microsecond: 0 of a plain datetime."""
    return moment.nanos if isinstance(moment, NanoTime) else 0
