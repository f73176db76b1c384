"""A month of a dispatcher: the real service, real gRPC bytes, every notification."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import trio
import trio.testing
from dateutil import rrule

from tests.helpers.effort import cases
from trio_dispatch import (
    Dispatch,
    EndCriteria,
    Frequency,
    RecurrenceRule,
    RunningState,
    TargetIds,
    clock,
    open_dispatcher,
)
from trio_dispatch.clock import VIRTUAL_START as START
from trio_dispatch.model.recurrence.rule import Weekday
from trio_dispatch.testing import open_test_service

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
END = START + 30 * DAY
# When, which dispatch, what it is to do, until when.
Note = tuple[datetime, int, str, datetime | None]

FREQUENCIES: dict[Frequency, Any] = {
    Frequency.HOURLY: rrule.HOURLY,
    Frequency.DAILY: rrule.DAILY,
    Frequency.WEEKLY: rrule.WEEKLY,
    Frequency.MONTHLY: rrule.MONTHLY,
}


def random_rule(rng: random.Random) -> RecurrenceRule:
    frequency = rng.choice(list(FREQUENCIES))
    return RecurrenceRule(
        frequency,
        interval=rng.choice([1, 1, 2, 5]),
        byhours=tuple(rng.sample(range(24), rng.choice([0, 1, 3])))
        if frequency > Frequency.HOURLY
        else (),
        byminutes=tuple(rng.sample(range(60), rng.choice([0, 1, 2]))),
        byweekdays=tuple(rng.sample(list(Weekday)[1:], rng.choice([0, 0, 2]))),
        end_criteria=rng.choice(
            [None, None, EndCriteria(count=10), EndCriteria(until=END - 9 * DAY)]
        ),
    )


def occurrences(dispatch: Dispatch) -> set[datetime]:
    rule = dispatch.recurrence
    assert rule is not None
    criteria = rule.end_criteria or EndCriteria(until=END)
    return set(
        rrule.rrule(
            FREQUENCIES[Frequency(rule.frequency)],
            dtstart=dispatch.start_time,
            interval=rule.interval,
            byhour=rule.byhours or None,
            byminute=rule.byminutes or None,
            byweekday=[day - 1 for day in rule.byweekdays] or None,
            count=criteria.count,
            until=criteria.until,
        )
    )


def walk(dispatches: list[Dispatch]) -> Iterator[Note]:
    """The expected messages, found by looking at every minute of the month."""
    starts = {dispatch.id: occurrences(dispatch) for dispatch in dispatches}
    until: dict[int, datetime] = {}
    now = START
    while now < END:
        stops = []
        for dispatch in dispatches:
            assert dispatch.duration is not None
            if now in starts[dispatch.id]:
                end = now + dispatch.duration
                yield now, dispatch.id, "RUNNING", end
                if dispatch.duration:
                    until[dispatch.id] = end
            elif until.get(dispatch.id) == now:
                stops.append(dispatch.id)
        for id_ in stops:
            yield now, id_, "STOPPED", None
        now += MINUTE


async def test_month_of_many_recurring_dispatches(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rng = random.Random(1)
    async with open_test_service(keepalive=False) as service:
        created = [
            await service.client.create(
                1,
                type=rng.choice(["CHARGE", "DISCHARGE"]),
                start_time=START + rng.randint(1, 3 * 24 * 60) * MINUTE,
                duration=rng.choice([0, 1, 15, 60, 90, 24 * 60]) * MINUTE,
                target=TargetIds(rng.randint(1, 9)),
                recurrence=random_rule(rng),
            )
            for _ in range(cases(50, long=200))
        ]
        seen: list[Note] = []
        with trio.move_on_after((END - clock.now()).total_seconds() - 1):
            async with open_dispatcher(
                microgrid_id=1,
                channel=service.channel,
                key=service.key,
                probe_interval=DAY,
                resync_interval=DAY,
            ) as dispatcher:
                with dispatcher.running_status_change.new_receiver() as status:
                    async for message in status:
                        state = message.running(message.type)
                        seen.append((clock.now(), message.id, state.name, message.until))
                        assert (state is RunningState.RUNNING) == (message.until is not None)
        expected = list(walk(created))
    assert len(expected) > 2500
    assert seen == expected
