"""The cost of questions to a recurrence rule, counted in function calls.

No rule, no moment and no age may make a question slow, whatever a peer sends.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.counting import calls
from trio_dispatch.model.recurrence.rfc5545 import parse_rrule
from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule, Weekday

MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY = list(Frequency)[1:]
SUNDAY = Weekday.SUNDAY
HUGE = 2**32 - 1
"""The largest interval and count that the API can carry."""
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
MONDAY_NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)

LEAP_MONDAY: dict[str, Any] = {"bymonthdays": (29,), "bymonths": (2,), "byweekdays": (1,)}
COSTLY = {
    "old": RecurrenceRule(MINUTELY),
    "all over": RecurrenceRule(MINUTELY, 7, byhours=tuple(range(8, 18)), bymonths=(1, 7)),
    "31 February": RecurrenceRule(DAILY, bymonthdays=(31,), bymonths=(2,)),
    "another weekday": RecurrenceRule(DAILY, 7, byweekdays=(SUNDAY,)),
    "another weekday, in hours": RecurrenceRule(HOURLY, 24 * 7, byweekdays=(SUNDAY,)),
    "another hour": RecurrenceRule(MINUTELY, 120, byhours=(13,)),
    "another month": RecurrenceRule(MONTHLY, 12, bymonths=(2,)),
    "another year": RecurrenceRule(YEARLY, 2, bymonthdays=(29,), bymonths=(2,)),
    "another year, in months": RecurrenceRule(MONTHLY, 24, bymonthdays=(-29,), bymonths=(2,)),
    "leap Mondays": RecurrenceRule(YEARLY, **LEAP_MONDAY),
    "leap Mondays every 7 years": RecurrenceRule(YEARLY, 7, **LEAP_MONDAY),
    "leap Mondays every 11 days": RecurrenceRule(DAILY, 11, **LEAP_MONDAY),
    "leap Mondays every 1009 minutes": RecurrenceRule(MINUTELY, 1009, byhours=(12,), **LEAP_MONDAY),
    "leap Mondays every 366 days": RecurrenceRule(MINUTELY, 527_040, **LEAP_MONDAY),
    "leap Mondays every 200003 minutes": RecurrenceRule(MINUTELY, 200_003, **LEAP_MONDAY),
    "drifting": RecurrenceRule(MINUTELY, 10_081, byweekdays=(SUNDAY,)),
    "drifting through the year": RecurrenceRule(MINUTELY, 525_961, bymonths=(12,)),
    **{f"huge, {each.name}": RecurrenceRule(each, HUGE) for each in list(Frequency)[1:]},
}


@pytest.mark.parametrize("count", [None, 4096, HUGE])
@pytest.mark.parametrize("name", COSTLY)
def test_every_question_is_bounded(name: str, count: int | None) -> None:
    """20,000 calls take a few milliseconds; a replay from the start would take millions."""
    end = None if count is None else EndCriteria(count=count)
    moments = [
        EARLIEST,
        *(datetime(year, 6, 1, tzinfo=UTC) for year in (1995, 2024, 5000, 9999)),
        LATEST,
    ]
    for start in (EARLIEST, MONDAY_NOON, datetime(9999, 12, 30, 12, tzinfo=UTC)):
        rule = replace(COSTLY[name], end_criteria=end)
        assert calls(rule.last, start) < 20_000
        assert calls(rule.count, start) < 20_000
        for moment in moments:
            assert calls(rule.next_after, start, moment) < 1_000
            assert calls(rule.last_before, start, moment) < 1_000


@pytest.mark.parametrize("name", [name for name in COSTLY if name.startswith(("31", "another"))])
def test_a_rule_that_never_fires_is_recognised(name: str) -> None:
    rule = COSTLY[name]
    assert rule.count(MONDAY_NOON.replace(year=2025, month=1, day=6)) == 0
    assert calls(rule.next_after, MONDAY_NOON, MONDAY_NOON) < 500


def test_the_age_of_a_rule_costs_nothing() -> None:
    rule = RecurrenceRule(MINUTELY, 7, byhours=(8, 9))
    young, old = MONDAY_NOON, MONDAY_NOON.replace(year=1994)
    moment = MONDAY_NOON + timedelta(days=1)
    for start in (young, old):
        rule.next_after(start, moment)
        assert calls(rule.next_after, start, moment) < 50


def test_long_lists_cost_only_the_first_question() -> None:
    rule = RecurrenceRule(DAILY, byhours=(12,) * 100_000)
    assert rule.next_after(MONDAY_NOON, MONDAY_NOON, inclusive=True) == MONDAY_NOON
    assert calls(rule.next_after, MONDAY_NOON, MONDAY_NOON) < 50


def test_long_lists_are_read_quickly() -> None:
    text = "FREQ=DAILY;BYHOUR=" + ",".join(["1"] * 1000)
    assert calls(parse_rrule, text) < 20_000
