"""Times as the API keeps them: in nanoseconds, where a datetime has microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["NanoTime", "nanos_of", "time_from_nanos", "time_of", "time_to_nanos"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NanoTime(datetime):
    """A datetime that also knows the nanoseconds, 0 to 999, below its microsecond."""

    nanos = 0


_NANO_EPOCH = NanoTime(1970, 1, 1, tzinfo=UTC)


def time_from_nanos(nanos: int) -> datetime:
    """The moment so many nanoseconds after 1970.

    Raises:
      OverflowError: that is before the year 1 or after 9999.
    """
    return time_of(*divmod(nanos, 1_000_000_000))


def time_of(seconds: int, nanos: int) -> datetime:
    """The moment so many seconds and nanoseconds after 1970.

    Raises:
      OverflowError: that is before the year 1 or after 9999.
    """
    micros, rest = divmod(nanos, 1000)
    if not rest:
        return _EPOCH + timedelta(0, seconds, micros)
    moment = _NANO_EPOCH + timedelta(0, seconds, micros)
    moment.nanos = rest
    return moment


def time_to_nanos(moment: datetime) -> int:
    """The nanoseconds from 1970 to a moment."""
    delta = moment - _EPOCH
    micros = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    return micros * 1000 + nanos_of(moment)


def nanos_of(moment: datetime) -> int:
    """The nanoseconds of a moment below its microsecond."""
    return moment.nanos if isinstance(moment, NanoTime) else 0
