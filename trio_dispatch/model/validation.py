"""Checks of what a user passes in: each raises a `ValueError` that names the value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["MAX_ID", "check_duration", "check_id", "utc"]

MAX_ID = (1 << 64) - 1
"""The largest id that the API can carry."""

_MAX_SECONDS = (1 << 32) - 1


def check_id(name: str, value: int) -> None:
    """Check an id of a microgrid, a dispatch or a component.

    Raises:
      ValueError: it is not an integer from 0 to 2**64 - 1.
    """
    if not isinstance(value, int) or not 0 <= value <= MAX_ID:
        raise ValueError(f"{name} {value!r} is not an integer from 0 to 2**64 - 1")


def utc(moment: datetime, name: str) -> datetime:
    """A moment in UTC.

    Raises:
      ValueError: it is naive, or not a datetime.
    """
    if not isinstance(moment, datetime):
        raise ValueError(f"{name} {moment!r} is not a datetime")
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"{name} {moment!r} has no time zone: give an aware datetime")
    return moment.astimezone(UTC)


def check_duration(duration: timedelta) -> int:
    """The seconds of a duration.

    Raises:
      ValueError: it is negative, not of whole seconds, or more than the API can say.
    """
    if not isinstance(duration, timedelta):
        raise ValueError(f"duration {duration!r} is not a timedelta or None")
    if (
        duration.microseconds
        or not 0 <= (seconds := round(duration.total_seconds())) <= _MAX_SECONDS
    ):
        raise ValueError(
            f"duration {duration} is not a number of whole seconds from 0 to 2**32 - 1"
        )
    return seconds
