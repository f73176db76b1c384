"""Contenders that compute occurrences, and a year on virtual time."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.benchmarks.children import obey

NOW = datetime(2025, 6, 15, 10, 7, 30, tzinfo=UTC)
START = (NOW - timedelta(days=365)).replace(hour=9, minute=23, second=11)


def ours_next_after(questions: int) -> float:
    """Return the microseconds for the next occurrence of a minutely rule that is a year old."""
    from trio_dispatch import Frequency, RecurrenceRule

    rule = RecurrenceRule(Frequency.MINUTELY)
    return _median(lambda moment: rule.next_after(START, moment), questions)


def dateutil_after(questions: int) -> float:
    from dateutil import rrule

    rule = rrule.rrule(rrule.MINUTELY, dtstart=START)
    return _median(rule.after, questions)


def _median(ask: Callable[[datetime], object], questions: int) -> float:
    shuffle = random.Random(1)
    times = []
    for _ in range(questions):
        moment = NOW + timedelta(seconds=shuffle.uniform(0, 86_400))
        began = time.perf_counter()
        assert ask(moment) is not None
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def ours_year(days: int, count: int) -> dict[str, Any]:
    """Return the seconds for running daily dispatches for some days, with a receiver."""
    import trio
    import trio.testing

    from trio_dispatch import Frequency, RecurrenceRule, TargetIds, clock, open_dispatcher
    from trio_dispatch.clock import VIRTUAL_START
    from trio_dispatch.testing import open_test_service

    rng = random.Random(days)

    async def live_through() -> int:
        heard = 0
        async with open_test_service(keepalive=False) as service:
            for _ in range(count):
                await service.client.create(
                    1,
                    type="CHARGE",
                    start_time=VIRTUAL_START + rng.randint(1, 47) * timedelta(minutes=30),
                    duration=rng.randint(1, 20) * timedelta(minutes=1),
                    target=TargetIds(1),
                    recurrence=RecurrenceRule(Frequency.DAILY),
                )
            async with open_dispatcher(
                microgrid_id=1,
                channel=service.channel,
                key=service.key,
                probe_interval=timedelta(days=1),
                resync_interval=timedelta(days=1),
            ) as dispatcher:
                end = VIRTUAL_START + timedelta(days=days)
                with (
                    dispatcher.running_status_change.new_receiver() as statuses,
                    trio.move_on_after((end - clock.now()).total_seconds()),
                ):
                    async for _ in statuses:
                        heard += 1
        return heard

    began = time.perf_counter()
    heard = trio.run(live_through, clock=trio.testing.MockClock(autojump_threshold=0))
    took = time.perf_counter() - began
    # A start and a stop for each day, except at the limits of the time range.
    assert heard >= 2 * count * (days - 1)
    return {"value": took, "messages": heard}


if __name__ == "__main__":
    obey(ours_next_after, dateutil_after, ours_year)
