"""The occurrences of recurrence rules, by example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice

import pytest

from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule, Weekday

MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY = list(Frequency)[1:]
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = list(Weekday)[1:]
HUGE = 2**32 - 1
"""The largest interval and count that the API can carry."""
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


MONDAY_NOON = at("2024-01-01 12:00")


def first(
    number: int, rule: RecurrenceRule, start: datetime = MONDAY_NOON, after: datetime | None = None
) -> list[str]:
    """The first occurrences, as text."""
    found = rule.between(start, after or start, LATEST)
    return [f"{moment:%Y-%m-%d %H:%M}" for moment in islice(found, number)]


# Meaning.


def test_the_start_fills_in_what_a_rule_leaves_open() -> None:
    start = at("2024-01-31 08:15:30")
    rule = RecurrenceRule(DAILY)
    assert rule.next_after(start, start) == at("2024-02-01 08:15:30")
    assert first(3, RecurrenceRule(HOURLY, 5), start) == [
        "2024-01-31 08:15",
        "2024-01-31 13:15",
        "2024-01-31 18:15",
    ]
    assert first(2, RecurrenceRule(WEEKLY), start) == ["2024-01-31 08:15", "2024-02-07 08:15"]
    # A month without a 31st has no occurrence; nor has a year without a 29 February.
    assert first(3, RecurrenceRule(MONTHLY), start) == [
        "2024-01-31 08:15",
        "2024-03-31 08:15",
        "2024-05-31 08:15",
    ]
    leap_day = at("2096-02-29 00:00")
    assert first(2, RecurrenceRule(YEARLY), leap_day) == ["2096-02-29 00:00", "2104-02-29 00:00"]


def test_the_start_counts_only_if_the_rule_matches_it() -> None:
    rule = RecurrenceRule(DAILY, byhours=(6, 18), byminutes=(0,), end_criteria=EndCriteria(count=3))
    assert first(9, rule) == ["2024-01-01 18:00", "2024-01-02 06:00", "2024-01-02 18:00"]


def test_occurrences_are_at_whole_seconds() -> None:
    start = at("2024-01-01 12:00:07.999999")
    rule = RecurrenceRule(MINUTELY)
    assert rule.next_after(start, start - timedelta(days=9)) == at("2024-01-01 12:00:07")
    assert rule.next_after(start, start, inclusive=True) == at("2024-01-01 12:01:07")


def test_an_occurrence_matches_all_lists_whatever_their_order() -> None:
    rule = RecurrenceRule(
        MONTHLY,
        byhours=[18, 6, 18],  # type: ignore[arg-type]
        byminutes=[0],  # type: ignore[arg-type]
        bymonthdays=[-1, 15],  # type: ignore[arg-type]
        byweekdays=[5, 4],  # type: ignore[arg-type]
        bymonths=[3, 2],  # type: ignore[arg-type]
    )
    assert first(4, rule) == [
        "2024-02-15 06:00",
        "2024-02-15 18:00",
        "2024-02-29 06:00",
        "2024-02-29 18:00",
    ]


def test_intervals_of_weeks_are_counted_from_the_monday_before_the_start() -> None:
    thursday = at("2024-12-26 12:00")
    rule = RecurrenceRule(WEEKLY, 2, byweekdays=(MONDAY, THURSDAY))
    assert first(4, rule, thursday) == [
        "2024-12-26 12:00",
        "2025-01-06 12:00",
        "2025-01-09 12:00",
        "2025-01-20 12:00",
    ]


def test_a_weekly_rule_with_days_of_the_month() -> None:
    """The service refuses such a rule.  dateutil accepts it, and so does this library."""
    rule = RecurrenceRule(WEEKLY, 2, bymonthdays=(1, 17))
    assert first(3, rule) == ["2024-01-01 12:00", "2024-01-17 12:00", "2024-02-01 12:00"]


def test_intervals_that_do_not_divide_the_day() -> None:
    rule = RecurrenceRule(HOURLY, 7, byweekdays=(MONDAY,))
    assert first(4, rule) == [
        "2024-01-01 12:00",
        "2024-01-01 19:00",
        "2024-01-08 05:00",
        "2024-01-08 12:00",
    ]
    assert first(2, RecurrenceRule(MINUTELY, 1009, bymonths=(2,))) == [
        "2024-02-01 07:56",
        "2024-02-02 00:45",
    ]


def test_an_unspecified_frequency_is_one_occurrence_at_the_start() -> None:
    start = at("2024-01-01 12:00:07.5")
    rule = RecurrenceRule(Frequency.UNSPECIFIED)
    assert list(rule.between(start, EARLIEST, LATEST)) == [start]
    assert rule.next_after(start, start) is None
    assert rule.next_after(start, start, inclusive=True) == start
    assert rule.last_before(start, start) is None
    assert rule.last_before(start, LATEST) == start
    assert (rule.last(start), rule.count(start)) == (start, 1)


# Asking.


def test_the_moment_itself_is_found_only_if_inclusive() -> None:
    rule = RecurrenceRule(DAILY)
    start, day = MONDAY_NOON, timedelta(days=1)
    assert rule.next_after(start, start + day) == start + 2 * day
    assert rule.next_after(start, start + day, inclusive=True) == start + day
    assert rule.last_before(start, start + day) == start
    assert rule.last_before(start, start + day, inclusive=True) == start + day
    assert rule.last_before(start, start) is None
    tick = timedelta(microseconds=1)
    assert rule.next_after(start, start + day - tick) == start + day
    assert rule.next_after(start, start + day + tick, inclusive=True) == start + 2 * day
    assert rule.last_before(start, start + day + tick) == start + day
    assert rule.last_before(start, start + day - tick, inclusive=True) == start


def test_between_includes_its_beginning_and_not_its_end() -> None:
    rule = RecurrenceRule(DAILY)
    start, day = MONDAY_NOON, timedelta(days=1)
    assert list(rule.between(start, start, start + 2 * day)) == [start, start + day]
    assert list(rule.between(start, start, start)) == []
    assert list(rule.between(start, start + day, start)) == []


def test_times_in_any_zone_are_converted_to_utc() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    start = MONDAY_NOON.astimezone(zone)
    found = RecurrenceRule(DAILY).next_after(start, start)
    assert found == at("2024-01-02 12:00")
    assert found is not None
    assert found.tzinfo is UTC
    # It is Tuesday in that zone when it is Monday in UTC, which is what counts.
    evening = at("2024-01-01 20:00").astimezone(zone)
    assert first(2, RecurrenceRule(WEEKLY), evening) == ["2024-01-01 20:00", "2024-01-08 20:00"]


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("start", lambda rule, naive: rule.next_after(naive, MONDAY_NOON)),
        ("after", lambda rule, naive: rule.next_after(MONDAY_NOON, naive)),
        ("start", lambda rule, naive: rule.last_before(naive, MONDAY_NOON)),
        ("before", lambda rule, naive: rule.last_before(MONDAY_NOON, naive)),
        ("after", lambda rule, naive: rule.between(MONDAY_NOON, naive, MONDAY_NOON)),
        ("before", lambda rule, naive: rule.between(MONDAY_NOON, MONDAY_NOON, naive)),
        ("start", lambda rule, naive: rule.last(naive)),
        ("start", lambda rule, naive: rule.count(naive)),
        ("until", lambda rule, naive: EndCriteria(until=naive)),
    ],
)
def test_a_naive_datetime_is_refused_by_name(
    name: str, ask: Callable[[RecurrenceRule, datetime], object]
) -> None:
    naive = MONDAY_NOON.replace(tzinfo=None)
    with pytest.raises(ValueError, match=f"^{name} .* has no time zone"):
        ask(RecurrenceRule(DAILY), naive)


# Ends.


def test_until_is_inclusive() -> None:
    until = MONDAY_NOON + timedelta(days=2)
    rule = RecurrenceRule(DAILY, end_criteria=EndCriteria(until=until))
    assert (rule.last(MONDAY_NOON), rule.count(MONDAY_NOON)) == (until, 3)
    assert rule.next_after(MONDAY_NOON, until) is None
    earlier = EndCriteria(until=until - timedelta(microseconds=1))
    assert replace(rule, end_criteria=earlier).count(MONDAY_NOON) == 2
    before = EndCriteria(until=MONDAY_NOON - timedelta(seconds=1))
    assert replace(rule, end_criteria=before).count(MONDAY_NOON) == 0
    assert replace(rule, end_criteria=before).last(MONDAY_NOON) is None


def test_count_ends_a_rule() -> None:
    rule = RecurrenceRule(WEEKLY, byweekdays=(MONDAY, FRIDAY), end_criteria=EndCriteria(count=5))
    assert rule.last(MONDAY_NOON) == at("2024-01-15 12:00")
    assert rule.count(MONDAY_NOON) == 5
    assert rule.next_after(MONDAY_NOON, at("2024-01-15 12:00")) is None
    assert rule.last_before(MONDAY_NOON, LATEST) == at("2024-01-15 12:00")


def test_without_end_criteria_there_is_no_last() -> None:
    rule = RecurrenceRule(DAILY)
    assert (rule.last(MONDAY_NOON), rule.count(MONDAY_NOON)) == (None, None)


def test_the_calendar_ends_with_year_9999() -> None:
    eve = at("9999-12-31 23:00")
    rule = RecurrenceRule(HOURLY, end_criteria=EndCriteria(count=HUGE))
    assert rule.next_after(eve, eve) is None
    assert (rule.last(eve), rule.count(eve)) == (eve, 1)
    midnight = at("9999-12-31 23:59")
    rule = RecurrenceRule(MINUTELY, end_criteria=EndCriteria(until=LATEST))
    assert (rule.last(eve), rule.count(eve)) == (midnight, 60)
    assert rule.next_after(eve, midnight) is None
    assert RecurrenceRule(WEEKLY, byweekdays=(SATURDAY,)).next_after(eve, eve) is None
    assert RecurrenceRule(YEARLY, HUGE).next_after(MONDAY_NOON, MONDAY_NOON) is None


def test_the_calendar_begins_with_year_1() -> None:
    rule = RecurrenceRule(WEEKLY, 3)
    assert rule.next_after(EARLIEST, EARLIEST, inclusive=True) == EARLIEST
    assert rule.last_before(EARLIEST, EARLIEST) is None
    assert rule.last_before(EARLIEST, at("0001-01-22 00:00")) == EARLIEST


def test_a_rule_answers_for_different_starts_in_turn() -> None:
    rule = RecurrenceRule(DAILY, 2, end_criteria=EndCriteria(count=2))
    starts = [MONDAY_NOON + timedelta(days=day) for day in range(5)]
    for start in starts + starts:
        assert rule.last(start) == start + timedelta(days=2)
