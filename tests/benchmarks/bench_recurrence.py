"""Benchmark of finding the next and the last occurrence, by kind and age of a rule.

Each value is the median over moments within a day, in microseconds.  "build" is the first query of
a rule, including all preparation; "next" and "last" are later queries, as a schedule makes them.
dateutil replays a rule from its start, so it is queried once, and not where it would take seconds.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dateutil import rrule

from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule, Weekday

NOW = datetime(2025, 6, 15, 10, 7, 30, tzinfo=UTC)
AGES = {"1 day": timedelta(days=1), "1 year": timedelta(days=365), "30 years": timedelta(10957)}
MOMENTS = 300
PATIENCE = 30_000
"""The maximum number of steps for dateutil, which needs about 1.5 microseconds for each."""

MONDAY = (Weekday.MONDAY,)
WORKDAYS = tuple(Weekday(number) for number in range(1, 6))
MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY = list(Frequency)[1:]

KINDS = {
    "common": {
        "daily": RecurrenceRule(DAILY),
        "daily at 3 times": RecurrenceRule(DAILY, byhours=(6, 12, 18), byminutes=(0,)),
        "weekly on workdays": RecurrenceRule(WEEKLY, byweekdays=WORKDAYS),
        "hourly": RecurrenceRule(HOURLY),
        "minutely": RecurrenceRule(MINUTELY),
        "every 15 minutes": RecurrenceRule(MINUTELY, 15),
        "monthly on 2 days": RecurrenceRule(MONTHLY, bymonthdays=(1, 15)),
        "daily, 4096 times": RecurrenceRule(DAILY, end_criteria=EndCriteria(count=4096)),
    },
    "at least yearly": {
        "every 3 days": RecurrenceRule(DAILY, 3),
        "every 3 days on workdays": RecurrenceRule(DAILY, 3, byweekdays=WORKDAYS),
        "every 50 days on Mondays": RecurrenceRule(DAILY, 50, byweekdays=MONDAY),
        "every 2 weeks on Mondays": RecurrenceRule(WEEKLY, 2, byweekdays=MONDAY),
        "monthly on the last day": RecurrenceRule(MONTHLY, bymonthdays=(-1,)),
        "every 5 months": RecurrenceRule(MONTHLY, 5),
        "yearly": RecurrenceRule(YEARLY),
        "every 7 hours": RecurrenceRule(HOURLY, 7),
        "every 7 hours on Mondays": RecurrenceRule(HOURLY, 7, byweekdays=MONDAY),
        "every 7 minutes from 8 to 17": RecurrenceRule(MINUTELY, 7, byhours=tuple(range(8, 17))),
        "every 1009 minutes": RecurrenceRule(MINUTELY, 1009),
        "every 1009 minutes in February": RecurrenceRule(MINUTELY, 1009, bymonths=(2,)),
        "minutely, 1 January at noon": RecurrenceRule(
            MINUTELY, byminutes=(0,), byhours=(12,), bymonthdays=(1,), bymonths=(1,)
        ),
        "minutely, a million times": RecurrenceRule(
            MINUTELY, byhours=(1, 2), end_criteria=EndCriteria(count=10**6)
        ),
    },
    "sparse or never": {
        "29 February": RecurrenceRule(YEARLY, bymonthdays=(29,), bymonths=(2,)),
        "29 February on a Monday": RecurrenceRule(
            YEARLY, bymonthdays=(29,), bymonths=(2,), byweekdays=MONDAY
        ),
        "the same every 7 years": RecurrenceRule(
            YEARLY, 7, bymonthdays=(29,), bymonths=(2,), byweekdays=MONDAY
        ),
        "the same every 11 days": RecurrenceRule(
            DAILY, 11, bymonthdays=(29,), bymonths=(2,), byweekdays=MONDAY
        ),
        "the same every 1009 minutes": RecurrenceRule(
            MINUTELY, 1009, bymonthdays=(29,), bymonths=(2,), byweekdays=MONDAY, byhours=(12,)
        ),
        "the same every 146101 minutes": RecurrenceRule(
            MINUTELY, 146_101, bymonthdays=(29,), bymonths=(2,), byweekdays=MONDAY
        ),
        "29 February every 527040 minutes": RecurrenceRule(
            MINUTELY, 527_040, bymonthdays=(29,), bymonths=(2,)
        ),
        "31 February": RecurrenceRule(DAILY, bymonthdays=(31,), bymonths=(2,)),
        "every 14 days, other weekdays": RecurrenceRule(
            DAILY, 14, byweekdays=(Weekday.SATURDAY, Weekday.SUNDAY), bymonthdays=(31,)
        ),
        "every 4 hours, other hours": RecurrenceRule(HOURLY, 4, byhours=(11,)),
        "every 2**32-1 minutes": RecurrenceRule(MINUTELY, 2**32 - 1),
        "every 10081 minutes, 2**32-1 times": RecurrenceRule(
            MINUTELY, 10_081, bymonths=(3, 5), end_criteria=EndCriteria(count=2**32 - 1)
        ),
        "every 7 minutes, 2**29 times": RecurrenceRule(
            MINUTELY, 7, bymonths=tuple(range(2, 13)), end_criteria=EndCriteria(count=2**29)
        ),
    },
}
STEP = {
    MINUTELY: timedelta(minutes=1),
    HOURLY: timedelta(hours=1),
    DAILY: timedelta(days=1),
    WEEKLY: timedelta(days=7),
    MONTHLY: timedelta(days=30),
    YEARLY: timedelta(days=365),
}


def main() -> None:
    head = f"{'':34}{'age':>9}{'next':>8}{'last':>8}{'build':>8}{'dateutil':>10}"
    for title, rules in KINDS.items():
        print(f"{title} (µs)\n{head}")
        for name, rule in rules.items():
            for age, old in AGES.items():
                # A Thursday or so, at an odd minute and second.
                start = (NOW - old).replace(hour=9, minute=23, second=11)
                label = name if old == min(AGES.values()) else ""
                print(f"{label:34}{age:>9}{_row(rule, start)}", flush=True)
        print()


def _row(rule: RecurrenceRule, start: datetime) -> str:
    shuffle = random.Random(1)
    moments = [NOW + timedelta(seconds=shuffle.uniform(0, 86_400)) for _ in range(MOMENTS)]
    built = _median(lambda at: replace(rule).next_after(start, at), moments[:20])
    following = _median(lambda at: rule.next_after(start, at), moments)
    preceding = _median(lambda at: rule.last_before(start, at), moments)
    return f"{following:8.1f}{preceding:8.1f}{built:8.0f}{_dateutil(rule, start)}"


def _median(ask: Callable[[datetime], object], moments: Iterable[datetime]) -> float:
    times = []
    for moment in moments:
        began = time.perf_counter()
        ask(moment)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def _dateutil(rule: RecurrenceRule, start: datetime) -> str:
    sparse = rule in KINDS["sparse or never"].values() and rule.frequency < YEARLY
    frequency = Frequency(rule.frequency)
    if sparse or (NOW - start) / (STEP[frequency] * rule.interval) > PATIENCE:
        return f"{'-':>10}"

    def after(moment: datetime) -> object:
        return rrule.rrule(
            getattr(rrule, frequency.name),
            dtstart=start,
            interval=rule.interval,
            byminute=rule.byminutes or None,
            byhour=rule.byhours or None,
            byweekday=[day - 1 for day in rule.byweekdays] or None,
            bymonthday=rule.bymonthdays or None,
            bymonth=rule.bymonths or None,
            count=None if rule.end_criteria is None else rule.end_criteria.count,
        ).after(moment)

    return f"{_median(after, [NOW] * 3):10.0f}"


if __name__ == "__main__":
    main()
