"""Rules as RFC 5545 text, compared with what dateutil reads in the same text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given
from hypothesis import strategies as st

from trio_dispatch import EndCriteria, Frequency, RecurrenceRule, Weekday
from trio_dispatch.model.recurrence.rfc5545 import format_rrule, parse_rrule

FIRST, LAST = map(datetime.fromisoformat, ("2000-01-01", "2040-01-01"))
moments = st.datetimes(FIRST, LAST, timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)


def numbers(low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(low, high), max_size=3, unique=True).map(tuple)


rules = st.builds(
    RecurrenceRule,
    st.sampled_from([*Frequency][1:]),
    interval=st.integers(1, 50),
    end_criteria=st.none()
    | st.builds(EndCriteria, count=st.integers(1, 50))
    | st.builds(EndCriteria, until=moments),
    byminutes=numbers(0, 59),
    byhours=numbers(0, 23),
    byweekdays=st.lists(st.sampled_from([*Weekday][1:]), max_size=3, unique=True).map(tuple),
    bymonthdays=st.lists(st.integers(1, 28) | st.integers(-28, -1), max_size=3, unique=True).map(
        tuple
    ),
    bymonths=numbers(1, 12),
)


@given(rules)
def test_parsing_reverses_formatting(rule: RecurrenceRule) -> None:
    assert parse_rrule(format_rrule(rule)) == rule
    assert parse_rrule(f"rrule:{format_rrule(rule).lower()};") == rule


@given(rules, moments)
def test_text_means_the_same_to_dateutil(rule: RecurrenceRule, start: datetime) -> None:
    # dateutil takes minutes for fine rules that rarely match.  Some of them are tested below.
    if rule.frequency in {Frequency.MINUTELY, Frequency.HOURLY}:
        rule = replace(rule, frequency=Frequency.DAILY)
    text = format_rrule(rule)
    end = start + timedelta(days=400 if rule.frequency == Frequency.DAILY else 3000)
    theirs = rrulestr(text, dtstart=start).xafter(start, count=100, inc=True)
    expected = [*takewhile(lambda moment: moment <= end, theirs)]
    ours = parse_rrule(text).between(start, start, end + timedelta(seconds=1))
    assert [*islice(ours, 100)] == expected


@pytest.mark.parametrize(
    "text",
    ["FREQ=MINUTELY;INTERVAL=7", "FREQ=HOURLY;BYMINUTE=0,30", "FREQ=MINUTELY;BYHOUR=8;BYDAY=MO"],
)
def test_fine_rules_mean_the_same_to_dateutil(text: str) -> None:
    start = datetime(2026, 11, 22, 7, 59, 30, tzinfo=UTC)
    theirs = [*islice(rrulestr(text, dtstart=start), 100)]
    end = datetime(2028, 1, 1, tzinfo=UTC)
    assert [*islice(parse_rrule(text).between(start, start, end), 100)] == theirs


@given(moments, st.sampled_from([*Weekday][1:]), st.integers(1, 3), st.sampled_from("YMWD"))
def test_a_week_start_is_refused_only_where_it_matters(
    start: datetime, day: Weekday, interval: int, letter: str
) -> None:
    frequency = {"Y": "YEARLY", "M": "MONTHLY", "W": "WEEKLY", "D": "DAILY"}[letter]
    text = f"FREQ={frequency};INTERVAL={interval};BYDAY=SU,TU;COUNT=20;WKST={day.name[:2]}"
    try:
        rule = parse_rrule(text)
    except ValueError as exc:
        assert "weeks begin on Monday" in str(exc)  # noqa: PT017
        assert (frequency, interval > 1) == ("WEEKLY", True)
        return
    end = start + timedelta(days=36_500)
    assert [*rule.between(start, start, end)] == [*rrulestr(text, dtstart=start)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not NAME=VALUE"),
        ("WEEKLY", "not NAME=VALUE"),
        ("BYDAY=MO", "FREQ is missing: write FREQ=DAILY"),
        ("FREQ=FORTNIGHTLY", "is not one of MINUTELY, HOURLY, DAILY"),
        ("FREQ=SECONDLY", "MINUTELY is the finest"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ is given twice"),
        ("FREQ=DAILY;COLOUR=RED", "COLOUR is not one of FREQ, INTERVAL"),
        ("FREQ=DAILY;BYSECOND=0", "does not support BYSECOND: occurrences have the second"),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1", "does not support BYSETPOS"),
        ("FREQ=YEARLY;BYYEARDAY=1", "does not support BYYEARDAY"),
        ("FREQ=YEARLY;BYWEEKNO=1", "does not support BYWEEKNO"),
        ("FREQ=YEARLY;BYEASTER=0", "does not support BYEASTER"),
        ("FREQ=MONTHLY;BYDAY=1MO", "does not support BYDAY=1MO"),
        ("FREQ=MONTHLY;BYDAY=-1FR", "does not support BYDAY=-1FR"),
        ("FREQ=WEEKLY;BYDAY=XX", "'XX', which is not one of MO, TU"),
        ("FREQ=WEEKLY;INTERVAL=2;WKST=SU", "weeks begin on Monday"),
        ("FREQ=WEEKLY;WKST=XX", "WKST=XX is not one of MO"),
        ("FREQ=DAILY;COUNT=1;UNTIL=20261201T000000Z", "both COUNT and UNTIL"),
        ("FREQ=DAILY;UNTIL=20261201", "written 20261201T080000Z"),
        ("FREQ=DAILY;UNTIL=20261201T000000", "written 20261201T080000Z"),
        ("FREQ=DAILY;UNTIL=20261301T000000Z", "written 20261201T080000Z"),
        ("FREQ=DAILY;INTERVAL=0", "interval 0 is not positive"),
        ("FREQ=DAILY;INTERVAL=x", "INTERVAL has 'X', which is not a number"),
        ("FREQ=DAILY;COUNT=0", "count 0 is not positive"),
        ("FREQ=DAILY;BYHOUR=24", "byhours has 24"),
        ("FREQ=DAILY;BYHOUR=", "not NAME=VALUE"),
        ("FREQ=DAILY;BYMONTH=13", "bymonths has 13"),
        ("FREQ=DAILY;BYMONTHDAY=0", "bymonthdays has 0"),
    ],
)
def test_unsupported_text_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_rrule(text)
    assert repr(text) in str(caught.value)


def test_a_rule_without_a_text_is_refused() -> None:
    between_seconds = EndCriteria(until=datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC))
    for rule, why in (
        (RecurrenceRule(Frequency.UNSPECIFIED), "frequency is unspecified"),
        (RecurrenceRule(Frequency.DAILY, end_criteria=between_seconds), "not a whole second"),
    ):
        with pytest.raises(ValueError, match=why):
            format_rrule(rule)
