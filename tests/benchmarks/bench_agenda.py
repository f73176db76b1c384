"""Benchmark of the agenda with many dispatches: build it, change it, advance it through a day.

python -m tests.benchmarks.bench_agenda [COUNT ...]
"""

from __future__ import annotations

import gc
import random
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from trio_dispatch.dispatcher.agenda import Agenda
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.model.recurrence.rule import Frequency, RecurrenceRule, Weekday
from trio_dispatch.model.target import TargetIds

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORKDAYS = (Weekday.MONDAY, Weekday.WEDNESDAY, Weekday.FRIDAY)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
UPDATES = 10_000
STEP = timedelta(seconds=1)


def make(number: int, rng: random.Random) -> Dispatch:
    """Make a dispatch that recurs daily or on some weekdays, and began some days ago."""
    rule = rng.choice(
        [
            RecurrenceRule(Frequency.DAILY),
            RecurrenceRule(
                Frequency.WEEKLY, byweekdays=(Weekday.MONDAY, Weekday.WEDNESDAY, Weekday.FRIDAY)
            ),
            RecurrenceRule(Frequency.DAILY, byhours=(8, 20)),
        ]
    )
    return Dispatch(
        id=number,
        type="CHARGE",
        start_time=NOW - rng.randint(1, 30 * 24 * 60) * MINUTE,
        duration=rng.randint(1, 90) * MINUTE,
        target=TargetIds(number),
        recurrence=rule,
    )


def measure(count: int) -> str:
    """Measure with this number of dispatches, and return a row of the table."""
    rng = random.Random(1)
    dispatches = [make(number, rng) for number in range(count)]
    agenda = Agenda()
    began = time.perf_counter()
    for dispatch in dispatches:
        agenda.upsert(dispatch, NOW)
    built = time.perf_counter() - began

    # Freeze the long-lived objects, as a latency-sensitive program does: a collection that visits
    # a hundred thousand dispatches takes a third of a second.
    gc.collect()
    gc.freeze()
    chosen = [
        replace(rng.choice(dispatches), payload={"n": n}, update_time=NOW) for n in range(UPDATES)
    ]
    began = time.perf_counter()
    for dispatch in chosen:
        agenda.upsert(dispatch, NOW)
    updated = time.perf_counter() - began

    notices, in_worst, now = 0, 0, NOW
    worst_step = worst_each = 0.0
    began = time.perf_counter()
    while now < NOW + DAY:
        due = agenda.next_due
        assert due is not None
        now = max(due, now)
        step = time.perf_counter()
        told = len(agenda.advance(now))
        step = time.perf_counter() - step
        notices += told
        if step > worst_step:
            worst_step, in_worst = step, told
        worst_each = max(worst_each, step / max(told, 1))
    walked = time.perf_counter() - began
    return (
        f"| {count:>9,} | {built:>8.2f} s | {updated / UPDATES * 1e6:>6.1f} µs | {walked:>8.2f} s "
        f"| {notices:>9,} | {worst_step * 1e3:>7.1f} ms for {in_worst:>4} "
        f"| {worst_each * 1e3:>7.2f} ms |"
    )


def main() -> None:
    """Print the table."""
    print(
        "| dispatches |    build | an update |    a day |   notices "
        "| worst step, notices | a notice, worst |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for count in map(int, sys.argv[1:] or (1_000, 10_000, 100_000)):
        print(measure(count), flush=True)


if __name__ == "__main__":
    main()
