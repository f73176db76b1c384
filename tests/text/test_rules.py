"""Recurrences from options, in words, and warnings about daylight saving time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from trio_dispatch import EndCriteria, Frequency, RecurrenceRule, Weekday
from trio_dispatch.cli.app.params import NONE
from trio_dispatch.cli.app.rule_options import RuleOptions
from trio_dispatch.testing import make_dispatch
from trio_dispatch.text.rules import MONTHS, WEEKDAYS, local_time_warning, parse_numbers
from trio_dispatch.text.show import describe_recurrence

BERLIN = ZoneInfo("Europe/Berlin")
WINTER = datetime(2026, 11, 22, 12, tzinfo=UTC)
UNTIL = datetime(2027, 1, 1, tzinfo=UTC)


def days(*numbers: int) -> tuple[Weekday, ...]:
    return tuple(map(Weekday, numbers))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("8", (8,)), ("8,12-14", (8, 12, 13, 14)), ("none", ()), (" 3 , 1,3", (3, 1))],
)
def test_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_numbers(text, 0, 23) == numbers


def test_numbers_by_name() -> None:
    assert parse_numbers("mon,wed-fri,7", 1, 7, WEEKDAYS) == (1, 3, 4, 5, 7)
    assert parse_numbers("Tuesday", 1, 7, WEEKDAYS) == (2,)
    assert parse_numbers("jun-aug,12", 1, 12, MONTHS) == (6, 7, 8, 12)
    assert parse_numbers("1,-1,10-12", 1, 31, negative=True) == (1, -1, 10, 11, 12)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("24", "'24' is not in the range 0 to 23"),
        ("", "'' is not in the range 0 to 23"),
        ("5-3", "'5-3' is not in the range"),
        ("8,x", "'x' is not in the range"),
        ("-1", "'-1' is not in the range"),
    ],
)
def test_numbers_out_of_range(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_numbers(text, 0, 23)


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="'m' is not in the range 1 to 7, or mon, tue, wed"):
        parse_numbers("m", 1, 7, WEEKDAYS)
    with pytest.raises(ValueError, match="'ju' is not in the range 1 to 12, or jan"):
        parse_numbers("ju", 1, 12, MONTHS)
    with pytest.raises(ValueError, match="'0' is not in the range 1 to 31 or -31 to -1"):
        parse_numbers("0", 1, 31, negative=True)


def test_options_make_a_rule() -> None:
    rule = RuleOptions(
        frequency=Frequency.WEEKLY, interval=2, by_weekday=(1, 5), by_hour=(8,), count=10
    ).build()
    assert rule == RecurrenceRule(
        Frequency.WEEKLY,
        interval=2,
        byweekdays=days(1, 5),
        byhours=(8,),
        end_criteria=EndCriteria(count=10),
    )
    assert RuleOptions().build(rule) is None


def test_options_change_only_their_part_of_a_rule() -> None:
    base = RecurrenceRule(
        Frequency.DAILY, byhours=(8,), byminutes=(30,), end_criteria=EndCriteria(count=3)
    )
    changed = RuleOptions(interval=2, by_hour=()).build(base)
    assert changed == RecurrenceRule(
        Frequency.DAILY, interval=2, byminutes=(30,), end_criteria=EndCriteria(count=3)
    )
    assert RuleOptions(count=NONE).build(base) == RecurrenceRule(
        Frequency.DAILY, byhours=(8,), byminutes=(30,)
    )
    ends = RuleOptions(until=UNTIL).build(base)
    assert ends is not None
    assert ends.end_criteria == EndCriteria(until=UNTIL)
    assert RuleOptions(rrule=changed).build(base) is changed


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"by_hour": (8,)}, "--by-hour requires --frequency"),
        ({"interval": 2}, "--interval requires --frequency"),
        (
            {"rrule": RecurrenceRule(Frequency.DAILY), "by_hour": (8,)},
            "--rrule is the whole rule: leave out --by-hour",
        ),
        ({"frequency": Frequency.DAILY, "count": 1, "until": UNTIL}, "exclude each other"),
    ],
)
def test_contradicting_options(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RuleOptions(**options).build()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (RecurrenceRule(Frequency.MINUTELY), "every minute"),
        (RecurrenceRule(Frequency.HOURLY, interval=2), "every 2 hours"),
        (RecurrenceRule(Frequency.HOURLY, byminutes=(0, 30)), "every hour at minute 0,30"),
        (RecurrenceRule(Frequency.DAILY), "every day at 06:15 UTC"),
        (
            RecurrenceRule(
                Frequency.WEEKLY,
                byweekdays=days(5, 1, 2, 3, 7),
                byhours=(8,),
            ),
            "every week Mon-Wed,Fri,Sun at 08:15 UTC",
        ),
        (
            RecurrenceRule(Frequency.DAILY, byhours=tuple(range(8, 18)), byminutes=(0, 30)),
            "every day at minute 0,30 of hours 8-17 UTC",
        ),
        (
            RecurrenceRule(Frequency.MONTHLY, bymonthdays=(1, -1), bymonths=(6, 7, 8)),
            "every month in Jun-Aug on day 1,-1 at 06:15 UTC",
        ),
        (
            RecurrenceRule(Frequency.HOURLY, end_criteria=EndCriteria(count=3)),
            "every hour 3 times",
        ),
        (
            RecurrenceRule(Frequency.HOURLY, end_criteria=EndCriteria(until=UNTIL)),
            "every hour until 2027-01-01 01:00",
        ),
        (RecurrenceRule(Frequency.UNSPECIFIED), ""),
    ],
)
def test_a_rule_in_words(rule: RecurrenceRule, words: str) -> None:
    start = datetime(2026, 12, 1, 6, 15, tzinfo=UTC)
    assert describe_recurrence(make_dispatch(start_time=start, recurrence=rule), BERLIN) == words


def recurring(rule: RecurrenceRule | None) -> Any:
    start = datetime(2026, 12, 1, 7, tzinfo=UTC)
    return make_dispatch(start_time=start, recurrence=rule, duration=timedelta(minutes=5))


def test_a_zone_with_daylight_saving_time_causes_a_warning() -> None:
    text = local_time_warning(recurring(RecurrenceRule(Frequency.DAILY)), BERLIN, WINTER)
    assert text == (
        "recurrences are in UTC and do not follow daylight saving time: the run at 07:00 UTC is at "
        "08:00 in Europe/Berlin (+01:00), and from 2027-03-28 at 09:00 (+02:00)"
    )


def test_a_zone_with_an_offset_causes_a_warning() -> None:
    rule = RecurrenceRule(Frequency.DAILY, byhours=(8,))
    text = local_time_warning(recurring(rule), timezone(timedelta(hours=2)), WINTER)
    assert text is not None
    assert text.endswith("the run at 08:00 UTC is at 10:00 in UTC+02:00 (+02:00)")


@pytest.mark.parametrize(
    "rule",
    [None, RecurrenceRule(Frequency.HOURLY), RecurrenceRule(Frequency.MINUTELY, interval=5)],
)
def test_rules_without_hours_cause_no_warning(rule: Any) -> None:
    assert local_time_warning(recurring(rule), BERLIN, WINTER) is None


def test_utc_causes_no_warning() -> None:
    assert local_time_warning(recurring(RecurrenceRule(Frequency.DAILY)), UTC, WINTER) is None
