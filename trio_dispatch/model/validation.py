"""Checks of values that a user passes in.  Each raises a `ValueError` that names the value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = [
    "MAX_ID",
    "MAX_NAME_LENGTH",
    "MAX_SECONDS",
    "check_duration",
    "check_id",
    "check_name",
    "check_text",
    "shown",
    "utc",
]

MAX_ID = (1 << 64) - 1
"""The largest id that the API can carry."""

MAX_NAME_LENGTH = 100
"""The name of a dispatcher, a reporter, an actor or a version has at most this many characters."""

MAX_SECONDS = (1 << 32) - 1
"""The longest duration that the API can carry, in seconds."""

_SECOND = timedelta(seconds=1)


def check_id(name: str, value: int) -> int:
    """Return the id of a microgrid, a dispatch or a component.

    Raises:
      ValueError: it is not an integer from 0 to 2**64 - 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_ID:
        raise ValueError(f"{name} {shown(value)} is not an integer from 0 to 2**64 - 1")
    return value


def check_text(name: str, value: str) -> str:
    """Return a string that the API can carry.

    Raises:
      ValueError: it is not a str, or has a surrogate code point, which UTF-8 cannot encode.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} {shown(value)} is not a str")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{name} {shown(value)} has a lone surrogate, {value[error.start]!a}, "
                "which is not Unicode text"
            ) from None
    return value


def check_name(what: str, name: str, *, required: bool = True) -> str:
    """Return the name of a dispatcher, a reporter, an actor or a version.

    Raises:
      ValueError: it is not a str, too long, or empty although it is required.
    """
    check_text(what, name)
    if required and not name:
        raise ValueError(f"{what} must not be empty")
    if len(name) > MAX_NAME_LENGTH:
        raise ValueError(f"{what} must have at most {MAX_NAME_LENGTH} characters, not {len(name)}")
    return name


def utc(moment: datetime, name: str) -> datetime:
    """Return a moment in UTC.

    Raises:
      ValueError: it is not a datetime, has no time zone, or is not within years 1 to 9999 in UTC.
    """
    if not isinstance(moment, datetime):
        raise ValueError(f"{name} {shown(moment)} is not a datetime")
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() is None:
        raise ValueError(f"{name} {moment!r} has no time zone: give an aware datetime")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{name} {moment!r} is not within years 1 to 9999 in UTC") from None


def check_duration(duration: timedelta) -> int:
    """Return the seconds of a duration.

    Raises:
      ValueError: it is not a timedelta of whole seconds from 0 to 2**32 - 1.
    """
    if not isinstance(duration, timedelta):
        raise ValueError(f"duration {shown(duration)} is not a timedelta or None")
    seconds, rest = divmod(duration, _SECOND)
    if rest or not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(
            f"duration {duration} is not a number of whole seconds from 0 to 2**32 - 1"
        )
    return seconds


def shown(value: object) -> str:
    """Return the repr of a value for an error message, cut if it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python does not print integers of more than 4,300 digits.
        return f"(a number of {value.bit_length()} bits)" if isinstance(value, int) else "(a value)"
    return text if len(text) <= 200 else f"{text[:200]}..."
