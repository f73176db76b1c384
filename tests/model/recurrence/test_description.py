"""Recurrence rules in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trio_dispatch import EndCriteria, Frequency, RecurrenceRule
from trio_dispatch.model.recurrence.description import describe_rule

MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY = list(Frequency)[1:]
START = datetime(2026, 6, 15, 6, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (None, ""),
        (RecurrenceRule(Frequency.UNSPECIFIED), ""),
        (RecurrenceRule(MINUTELY), "every minute"),
        (RecurrenceRule(HOURLY, 2), "every 2 hours"),
        (RecurrenceRule(HOURLY, byminutes=(0, 30)), "every hour at minute 0,30"),
        (RecurrenceRule(HOURLY, byhours=(8,)), "every hour at 08:15 UTC"),
        (RecurrenceRule(DAILY), "every day at 06:15 UTC"),
        (RecurrenceRule(DAILY, byhours=(18, 6)), "every day at 06:15,18:15 UTC"),
        (
            RecurrenceRule(DAILY, byhours=tuple(range(8, 18)), byminutes=(0, 30)),
            "every day at minute 0,30 of hours 8-17 UTC",
        ),
        (
            RecurrenceRule(WEEKLY, byweekdays=(1, 2, 3, 5, 7), byhours=(8,)),
            "every week Mon-Wed,Fri,Sun at 08:15 UTC",
        ),
        (
            RecurrenceRule(MONTHLY, bymonthdays=(1, -1), bymonths=(6, 7, 8)),
            "every month in Jun-Aug on day 1,-1 at 06:15 UTC",
        ),
        (RecurrenceRule(YEARLY, end_criteria=EndCriteria(1)), "every year at 06:15 UTC once"),
        (RecurrenceRule(HOURLY, end_criteria=EndCriteria(3)), "every hour 3 times"),
        (RecurrenceRule(HOURLY, end_criteria=EndCriteria(until=START)), "every hour until 2026"),
        (
            RecurrenceRule.unchecked(
                frequency=3,
                interval=0,
                end_criteria=None,
                byminutes=(),
                byhours=(),
                byweekdays=(),
                bymonthdays=(),
                bymonths=(),
            ),
            "never: interval 0 is not positive: the least is 1",
        ),
    ],
)
def test_rule_in_words(rule: RecurrenceRule | None, words: str) -> None:
    assert describe_rule(rule, START, lambda moment: str(moment.year)) == words
