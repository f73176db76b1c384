"""Occurrences, and a year of them."""

from __future__ import annotations

from tests.benchmarks.harness import MICROSECONDS, SECONDS, Contender, measure, output_of
from tests.benchmarks.report import Aim, Section, compare

SCRIPT = "child_time"
PATIENCE = 300.0  # seconds


def recurrence(quick: bool) -> Section:
    """The next occurrence of an old rule."""
    found = measure(
        [
            Contender("ours", SCRIPT, "ours_next_after", {"questions": 2_000}),
            Contender("dateutil", SCRIPT, "dateutil_after", {"questions": 1}),
        ],
        rounds=3 if quick else 7,
    )
    work = "`next_after`, a minutely rule that is a year old"
    return Section(
        "Recurrence",
        "The next occurrence after random moments of a day.  dateutil replays the rule from its "
        "start, so it is asked once in each round, ours 2,000 times.  The table has rules of other "
        "kinds and ages.",
        [compare(work, found["ours"], found["dateutil"], MICROSECONDS, Aim(at_most=20))],
        "" if quick else f"```text\n{output_of('bench_recurrence')}\n```",
    )


def year(quick: bool) -> Section:
    """A year of the whole stack, on virtual time."""
    days, count = (15, 200) if quick else (365, 1_000)
    contender = Contender(
        "ours", SCRIPT, "ours_year", {"days": days, "count": count}, limit=PATIENCE
    )
    measured = measure([contender], rounds=1, warm_up=0)["ours"]
    messages = sum(details["messages"] for details in measured.details)
    work = f"{'a year' if days == 365 else f'{days} days'} of {count:,} daily dispatches"
    return Section(
        "A year on virtual time",
        "The service in memory, real gRPC over memory streams, the dispatcher and a receiver of "
        "status messages, in one process on a mock clock that jumps whenever all tasks wait: "
        f"{messages:,} messages.  Everything is probed and listed again once a day, and keepalive "
        "is off.",
        [compare(work, measured, None, SECONDS, None if quick else Aim(at_most=120))],
    )
