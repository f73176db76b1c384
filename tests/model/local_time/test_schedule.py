"""Schedules in local time: the dispatches that they become, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from trio_dispatch import (
    DispatchContent,
    EndCriteria,
    Frequency,
    LocalSchedule,
    RecurrenceRule,
    TargetIds,
)
from trio_dispatch.model.recurrence.rfc5545 import format_rrule, parse_rrule

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
YEAR = (NEW_YEAR, datetime(2028, 1, 1, tzinfo=UTC))


def schedule(
    rule: str | None = "FREQ=DAILY",
    start: Any = "2027-01-01T12:00",
    timezone: str = "Europe/Berlin",
    **changes: Any,
) -> LocalSchedule:
    arguments: dict[str, Any] = {
        "timezone": timezone,
        "start": datetime.fromisoformat(start) if isinstance(start, str) else start,
        "duration": HOUR,
        "recurrence": None if rule is None else parse_rrule(rule),
        "type": "CHARGE",
        "target": TargetIds(1),
    }
    return LocalSchedule(**arguments | changes)


def text(found: Iterable[DispatchContent]) -> list[str]:
    """Return each dispatch as its start and rule."""
    return [
        f"{each.start_time:%Y%m%dT%H%MZ}"
        + (f" {format_rrule(each.recurrence)}" if each.recurrence else "")
        for each in found
    ]


def starts(found: Iterable[DispatchContent], begin: datetime, end: datetime) -> list[datetime]:
    moments: list[datetime] = []
    for each in found:
        rule = each.recurrence
        moments += [each.start_time] if rule is None else rule.between(each.start_time, begin, end)
    return sorted(moments)


# Rules.


def test_a_daily_schedule_is_one_dispatch_between_two_changes_of_the_clocks() -> None:
    assert text(schedule().dispatches(*YEAR)) == [
        "20270101T1100Z FREQ=DAILY;UNTIL=20270327T110000Z",
        "20270328T1000Z FREQ=DAILY;UNTIL=20271030T100000Z",
        "20271031T1100Z FREQ=DAILY;UNTIL=20280325T110000Z",
    ]


def test_the_dispatches_have_what_the_schedule_says() -> None:
    given = schedule(
        duration=2 * HOUR, target=TargetIds(2, 3), active=False, dry_run=True, payload={"kw": 5}
    )
    (found, *_) = given.dispatches(*YEAR)
    assert found == DispatchContent(
        type="CHARGE",
        start_time=datetime(2027, 1, 1, 11, tzinfo=UTC),
        duration=2 * HOUR,
        target=TargetIds(2, 3),
        active=False,
        dry_run=True,
        payload={"kw": 5},
        recurrence=parse_rrule("FREQ=DAILY;UNTIL=20270327T110000Z"),
    )


@pytest.mark.parametrize(
    ("rule", "start", "timezone", "expected"),
    [
        # Weekdays move with the date.
        ("FREQ=WEEKLY;BYDAY=MO", "2027-01-01T00:30", "Asia/Tokyo", ["FREQ=WEEKLY;BYDAY=SU"]),
        ("FREQ=WEEKLY", "2027-01-03T22:00", "Etc/GMT+3", ["FREQ=WEEKLY;BYDAY=MO"]),
        # Weeks begin on Monday: every second week, the local Sunday is in the next week of UTC.
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=SA,SU",
            "2027-01-02T22:00",
            "Etc/GMT+3",
            ["FREQ=WEEKLY;INTERVAL=2;BYDAY=SU", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO"],
        ),
        # So do days of the month, and with them months.
        ("FREQ=MONTHLY;BYMONTHDAY=15", "2027-01-01T00:30", "Asia/Tokyo",
         ["FREQ=MONTHLY;BYMONTHDAY=14"]),
        ("FREQ=MONTHLY;BYMONTHDAY=1", "2027-01-01T00:30", "Asia/Tokyo",
         ["FREQ=MONTHLY;BYMONTHDAY=-1"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", "2027-01-01T22:00", "Etc/GMT+3",
         ["FREQ=MONTHLY;BYMONTHDAY=1"]),
        ("FREQ=YEARLY", "2027-01-01T00:30", "Asia/Tokyo",
         ["FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=-1"]),
        ("FREQ=DAILY;BYMONTH=6,7", "2027-01-01T00:30", "Asia/Tokyo",
         ["FREQ=DAILY;BYMONTH=5,6;BYMONTHDAY=-1",
          f"FREQ=DAILY;BYMONTH=6,7;BYMONTHDAY={','.join(map(str, range(-31, -1)))}"]),
        # An offset of half an hour splits hours.
        ("FREQ=DAILY;BYHOUR=8;BYMINUTE=0,15,30,45", "2027-01-01T00:00", "Asia/Kolkata",
         ["FREQ=DAILY;BYHOUR=2;BYMINUTE=30,45", "FREQ=DAILY;BYHOUR=3;BYMINUTE=0,15"]),
        # Every hour of every day stays what it is.
        ("FREQ=HOURLY;BYMINUTE=0,30", "2027-01-01T00:00", "Asia/Kolkata",
         ["FREQ=HOURLY;BYMINUTE=0,30"]),
        ("FREQ=HOURLY;INTERVAL=5", "2027-01-01T00:00", "Europe/Berlin",
         ["FREQ=HOURLY;INTERVAL=5"]),
    ],
)  # fmt: skip
def test_lists_are_shifted_to_utc(
    rule: str, start: str, timezone: str, expected: list[str]
) -> None:
    found = schedule(rule, start, timezone).dispatches(*YEAR)
    assert sorted(each.partition(" ")[2] for each in text(found)) == sorted(expected)


def test_what_no_rule_can_say_becomes_single_dispatches() -> None:
    """The day before 29 February is the 28th, but only in a leap year."""
    given = schedule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "2027-01-01T00:30", "Asia/Tokyo")
    found = given.dispatches(NEW_YEAR, datetime(2037, 1, 1, tzinfo=UTC))
    assert text(found) == ["20280228T1530Z", "20320228T1530Z", "20360228T1530Z"]


def test_a_schedule_without_recurrence_is_one_dispatch() -> None:
    assert text(schedule(None).dispatches(*YEAR)) == ["20270101T1100Z"]
    assert schedule(None).dispatches(NEW_YEAR + 30 * DAY, NEW_YEAR + 40 * DAY) == []
    rule = RecurrenceRule(Frequency.UNSPECIFIED)
    assert text(schedule(None, recurrence=rule).dispatches(*YEAR)) == ["20270101T1100Z"]


def test_a_run_without_end_ignores_the_recurrence_and_goes_on() -> None:
    found = schedule(duration=None).dispatches(NEW_YEAR + 300 * DAY, NEW_YEAR + 301 * DAY)
    assert text(found) == ["20270101T1100Z"]


def test_a_count_is_spread_over_the_dispatches() -> None:
    assert text(schedule("FREQ=DAILY;COUNT=100").dispatches(*YEAR)) == [
        "20270101T1100Z FREQ=DAILY;UNTIL=20270327T110000Z",
        "20270328T1000Z FREQ=DAILY;UNTIL=20270410T100000Z",
    ]
    hours = schedule("FREQ=HOURLY;BYHOUR=2;COUNT=87").dispatches(*YEAR)
    assert len(starts(hours, *YEAR)) == 87


def test_until_is_a_moment_and_may_be_given_in_local_time() -> None:
    until = datetime(2027, 3, 30, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    rule = RecurrenceRule(Frequency.DAILY, end_criteria=EndCriteria(until=until))
    found = schedule(None, recurrence=rule).dispatches(*YEAR)
    assert text(found)[1:] == ["20270328T1000Z FREQ=DAILY;UNTIL=20270330T100000Z"]


# Times that do not exist or exist twice.


def test_a_skipped_time_has_the_offset_before_the_gap() -> None:
    found = schedule("FREQ=DAILY", "2027-03-27T02:30").dispatches(NEW_YEAR, NEW_YEAR + 90 * DAY)
    # 28 March: 03:30 by the clocks.
    assert text(found)[0] == "20270327T0130Z FREQ=DAILY;UNTIL=20270328T013000Z"
    assert text(found)[1].startswith("20270329T0030Z")


def test_a_repeated_time_is_the_first_of_the_two() -> None:
    found = schedule("FREQ=DAILY", "2027-10-30T02:30").dispatches(
        datetime(2027, 10, 30, tzinfo=UTC), datetime(2027, 11, 2, tzinfo=UTC)
    )
    assert text(found)[0] == "20271030T0030Z FREQ=DAILY;UNTIL=20271031T003000Z"
    assert text(found)[1].startswith("20271101T0130Z")


def test_two_times_of_the_same_moment_are_one_occurrence() -> None:
    begin = datetime(2027, 3, 28, tzinfo=UTC)
    found = schedule("FREQ=DAILY;BYHOUR=2,3").dispatches(begin, begin + DAY)
    assert starts(found, begin, begin + DAY) == [begin + HOUR]


def test_an_hourly_rule_counts_elapsed_hours() -> None:
    for change in (datetime(2027, 3, 28, tzinfo=UTC), datetime(2027, 10, 31, tzinfo=UTC)):
        found = schedule("FREQ=HOURLY;BYMINUTE=0").dispatches(change, change + DAY)
        expected = [change + hour * HOUR for hour in range(24)]
        assert starts(found, change, change + DAY) == expected


def test_the_lists_of_an_hourly_rule_match_what_the_clocks_show() -> None:
    rule = schedule("FREQ=HOURLY;BYHOUR=2")
    spring, autumn = (datetime(2027, *day, tzinfo=UTC) for day in ((3, 28), (10, 31)))
    assert starts(rule.dispatches(spring, spring + 4 * HOUR), spring, spring + 4 * HOUR) == []
    repeated = starts(rule.dispatches(autumn, autumn + 4 * HOUR), autumn, autumn + 4 * HOUR)
    assert repeated == [autumn, autumn + HOUR]


def test_a_day_that_the_date_line_skipped() -> None:
    """Samoa had no 30 December 2011: the run of that day is that of the 31st."""
    begin = datetime(2011, 12, 29, tzinfo=UTC)
    found = schedule("FREQ=DAILY", "2011-12-28T12:00", "Pacific/Apia").dispatches(
        begin, begin + 3 * DAY
    )
    moments = starts(found, begin, begin + 3 * DAY)
    assert [each.astimezone(ZoneInfo("Pacific/Apia")).day for each in moments] == [29, 31, 1]


def test_a_duration_is_elapsed_time() -> None:
    found = schedule("FREQ=DAILY", "2027-03-27T01:00", duration=3 * HOUR).dispatches(*YEAR)
    assert found[0].with_id(1).until_at(datetime(2027, 3, 28, 2, tzinfo=UTC)) == datetime(
        2027, 3, 28, 3, tzinfo=UTC
    )


# Exceptions.


def test_a_schedule_does_not_start_on_excepted_days() -> None:
    found = schedule(except_=[date(2027, 1, 5), date(2027, 1, 4), date(2027, 1, 7)]).dispatches(
        NEW_YEAR, NEW_YEAR + 20 * DAY
    )
    assert text(found) == [
        "20270101T1100Z FREQ=DAILY;UNTIL=20270103T110000Z",
        "20270106T1100Z",
        "20270108T1100Z FREQ=DAILY;UNTIL=20270327T110000Z",
    ]


def test_days_without_an_occurrence_split_nothing() -> None:
    weekly = schedule("FREQ=WEEKLY;BYDAY=MO", except_=[date(2027, 1, 5), date(2027, 1, 10)])
    assert len(weekly.dispatches(NEW_YEAR, NEW_YEAR + 20 * DAY)) == 1


def test_excepted_days_are_local() -> None:
    given = schedule("FREQ=DAILY;COUNT=3", "2027-01-01T00:30", except_=[date(2027, 1, 2)])
    assert text(given.dispatches(*YEAR)) == ["20261231T2330Z", "20270102T2330Z"]


def test_an_excepted_single_run_is_no_dispatch() -> None:
    assert schedule(None, except_=[date(2027, 1, 1)]).dispatches(*YEAR) == []


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "Asia/Tokyo"])
def test_public_holidays_are_excepted(timezone: str) -> None:
    begin, end = datetime(2027, 3, 5, tzinfo=UTC), datetime(2027, 3, 31, tzinfo=UTC)
    days = {
        region: {
            each.astimezone(ZoneInfo(timezone)).day
            for each in starts(
                schedule(timezone=timezone, holidays=region).dispatches(begin, end), begin, end
            )
        }
        for region in ("DE", "DE-BE")
    }
    # Good Friday and Easter Monday; in Berlin 8 March, too.
    assert set(range(5, 31)) - days["DE"] == {26, 29}
    assert set(range(5, 31)) - days["DE-BE"] == {8, 26, 29}


# Time ranges.


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "Asia/Tokyo", "Africa/Casablanca"])
@pytest.mark.parametrize("holidays", [None, "DE-BE"])
def test_another_time_range_gives_equal_dispatches(timezone: str, holidays: str | None) -> None:
    given = schedule(
        "FREQ=DAILY;BYHOUR=0,12",
        timezone=timezone,
        holidays=holidays,
        except_=[date(2028, 2, 2), date(2029, 7, 7)],
    )
    end = datetime(2030, 6, 1, tzinfo=UTC)
    whole = given.dispatches(NEW_YEAR, end)
    for day in range(0, 1200, 151):
        begin = NEW_YEAR + day * DAY
        later = given.dispatches(begin, end)
        assert later == whole[-len(later) :]
        month = given.dispatches(begin, begin + 30 * DAY)
        assert [each for each in whole if each in month] == month


def test_a_run_that_goes_on_is_in_the_time_range_although_the_clocks_have_changed() -> None:
    given = schedule("FREQ=WEEKLY", "2027-03-27T12:00", duration=50 * HOUR)
    begin = datetime(2027, 3, 29, 12, tzinfo=UTC)
    assert text(given.dispatches(begin, begin + HOUR)) == ["20270327T1100Z"]
    assert given.dispatches(begin + HOUR, begin + 2 * HOUR) == []


def test_a_pulse_is_in_the_time_range_that_begins_with_it() -> None:
    given = schedule(None, duration=timedelta())
    moment = datetime(2027, 1, 1, 11, tzinfo=UTC)
    assert len(given.dispatches(moment, moment + HOUR)) == 1
    assert given.dispatches(moment + timedelta(microseconds=1), moment + HOUR) == []
    assert given.dispatches(moment - HOUR, moment) == []


def test_a_schedule_goes_on_up_to_the_end_of_time() -> None:
    end = datetime.max.replace(tzinfo=UTC)
    for rule in ("FREQ=DAILY", "FREQ=HOURLY;BYHOUR=8", "FREQ=YEARLY;COUNT=9000"):
        for timezone in ("America/Bogota", "America/New_York", "Pacific/Kiritimati"):
            given = schedule(rule, "9990-01-01T22:00", timezone)
            assert given.dispatches(datetime(9997, 1, 1, tzinfo=UTC), end)
            assert given.dispatches(datetime.min.replace(tzinfo=UTC), YEAR[0]) == []


# What is refused.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timezone": "Europe/Berlni"}, "'Europe/Berlni' is unknown: did you mean 'Europe/Berlin'"),
        ({"timezone": "Moon"}, "timezone 'Moon' is unknown: use a name such as 'Europe/Berlin'"),
        ({"timezone": "../zone"}, r"timezone '../zone' is unknown"),
        ({"timezone": ""}, "timezone '' is unknown"),
        ({"timezone": 5}, "timezone 5 is not a str, such as 'Europe/Berlin'"),
        ({"start": NEW_YEAR}, "start 2027-01-01T00:00:00.00:00 has a time zone: give what the"),
        ({"start": date(2027, 1, 1)}, r"start datetime.date\(2027, 1, 1\) is not a datetime"),
        ({"start": datetime.fromisoformat("2027-01-01T00:00:00.5")}, "is not a whole second"),
        ({"start": datetime.fromisoformat("9999-01-01")}, "within years 2 to 9997"),
        ({"duration": timedelta(seconds=-1)}, "duration -1 day, 23:59:59 is not a number of whole"),
        ({"type": 5}, "type 5 is not a str"),
        ({"target": None}, "target None is not a TargetIds or TargetCategories"),
        ({"recurrence": "FREQ=DAILY"}, "recurrence 'FREQ=DAILY' is not a RecurrenceRule or None"),
        ({"except_": [NEW_YEAR]}, "except_ has datetime.datetime.*, which is not a date"),
        ({"except_": ["2027-01-01"]}, "except_ has '2027-01-01', which is not a date"),
        ({"except_": "2027-01-01"}, "except_ '2027-01-01' is not a collection of dates"),
        ({"holidays": 5}, "holidays 5 is not a str, such as 'DE-BE'"),
        ({"holidays": "Germany"}, "holidays 'Germany': the country 'Germany' is unknown"),
        ({"holidays": "DE-BER"}, "'BER' is not a part of DE: BB, BE.*; did you mean 'DE-BE'"),
        ({"holidays": "DE-"}, "holidays 'DE-': '' is not a part of DE: BB, BE"),
        ({"payload": {"a": object()}}, "payload"),
    ],
)  # fmt: skip
def test_an_invalid_argument_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedule(**changes)


def test_an_invalid_rule_is_refused() -> None:
    rule = RecurrenceRule.unchecked(
        frequency=3, interval=0, end_criteria=None, byminutes=(), byhours=(), byweekdays=(),
        bymonthdays=(), bymonths=(),
    )  # fmt: skip
    with pytest.raises(ValueError, match="recurrence is invalid: interval 0 is not positive"):
        schedule(None, recurrence=rule)


def test_an_invalid_time_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"from_ datetime.datetime.* has no time zone"):
        schedule().dispatches(NEW_YEAR.replace(tzinfo=None), NEW_YEAR)
    with pytest.raises(ValueError, match=r"to 2027-01-01T00:00:00.00:00 is not later than from_"):
        schedule().dispatches(NEW_YEAR, NEW_YEAR)


def test_holidays_of_unknown_years_are_an_error() -> None:
    begin = datetime(2101, 6, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match=r"'DE-BE' are known from 199[01] to 2100, not in 2101"):
        schedule(holidays="DE-BE").dispatches(begin, begin + DAY)
