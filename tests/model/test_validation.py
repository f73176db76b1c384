"""Checks of what a user passes in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from trio_dispatch.model.validation import MAX_ID, check_duration, check_id, check_text, utc

HOUR = timedelta(hours=1)


class _NoZone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> None:
        return None

    def dst(self, moment: datetime | None, /) -> None:
        return None

    def tzname(self, moment: datetime | None, /) -> None:
        return None


@pytest.mark.parametrize("value", [0, 1, MAX_ID])
def test_id(value: int) -> None:
    assert check_id("id", value) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1, "-1"),
        (2**64, "18446744073709551616"),
        pytest.param(10**5000, r"\(a number of 16610 bits\)", id="more digits than Python prints"),
        (True, "True"),
        (1.0, "1.0"),
        ("7", "'7'"),
        (None, "None"),
        ("x" * 10_000, r"'x{199}\.\.\."),
    ],
)
def test_invalid_id(value: Any, shown: str) -> None:
    message = rf"^component id {shown} is not an integer from 0 to 2\*\*64 - 1$"
    with pytest.raises(ValueError, match=message):
        check_id("component id", value)


@pytest.mark.parametrize("value", ["", "CHARGE", "電池🔋", "\ufffe\x00"])
def test_text(value: str) -> None:
    assert check_text("type", value) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "type 5 is not a str"),
        (b"x", "type b'x' is not a str"),
        ("a\udc80b", r"type 'a\\udc80b' has a lone surrogate, '\\udc80', which is not Unicode"),
    ],
)
def test_invalid_text(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_text("type", value)


@pytest.mark.parametrize(
    ("moment", "same"),
    [
        (datetime(2026, 1, 1, 1, tzinfo=timezone(HOUR)), datetime(2026, 1, 1, tzinfo=UTC)),
        (datetime(1, 1, 1, tzinfo=timezone(-HOUR)), datetime(1, 1, 1, 1, tzinfo=UTC)),
        (datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)),
        (datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_time_in_utc(moment: datetime, same: datetime) -> None:
    found = utc(moment, "start_time")
    assert found == same
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        ("now", "start_time 'now' is not a datetime"),
        (datetime(2026, 1, 1), r"start_time datetime.* has no time zone: give an aware datetime"),  # noqa: DTZ001
        (datetime(2026, 1, 1, tzinfo=_NoZone()), "has no time zone"),
        (datetime(1, 1, 1, tzinfo=timezone(HOUR)), "is not within years 1 to 9999 in UTC"),
        (
            datetime.max.replace(tzinfo=timezone(-HOUR)),
            "start_time .* is not within years 1 to 9999 in UTC",
        ),
    ],
)
def test_invalid_time(moment: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        utc(moment, "start_time")


@pytest.mark.parametrize("seconds", [0, 1, 2**32 - 1])
def test_duration(seconds: int) -> None:
    assert check_duration(timedelta(seconds=seconds)) == seconds


@pytest.mark.parametrize(
    ("duration", "shown"),
    [
        (timedelta(seconds=-1), "-1 day, 23:59:59 is not a number of whole seconds from 0 to"),
        (timedelta(seconds=0.5), "0:00:00.500000 is not a number of whole seconds"),
        (timedelta(seconds=2**32), "49710 days, 6:28:16 is not a number of whole seconds"),
        (timedelta.max, "999999999 days, .* is not a number of whole seconds"),
        (5, "5 is not a timedelta or None"),
    ],
)
def test_invalid_duration(duration: Any, shown: str) -> None:
    with pytest.raises(ValueError, match=f"duration {shown}"):
        check_duration(duration)
