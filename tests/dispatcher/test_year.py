"""A year of a thousand dispatches: service, wire, dispatcher, receiver."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_dispatch import Frequency, RecurrenceRule, RunningState, TargetIds, clock, open_dispatcher
from trio_dispatch.clock import VIRTUAL_START as START
from trio_dispatch.testing import open_test_service

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DAILY = RecurrenceRule(Frequency.DAILY)
# When, which dispatch, what it is to do, until when.
Note = tuple[datetime, int, str, datetime | None]


class Plan:
    """When each dispatch starts, and how long it runs from when on."""

    def __init__(self, days: int) -> None:
        self.end = START + days * DAY
        self.begins: dict[int, datetime] = {}
        self.lengths: dict[int, list[tuple[datetime, timedelta]]] = defaultdict(list)

    def notes(self) -> list[Note]:
        found: list[tuple[datetime, int, int, str, datetime | None]] = []
        for id_, first in self.begins.items():
            begin = first
            while begin < self.end:
                length = [length for since, length in self.lengths[id_] if since <= begin][-1]
                stop = begin + length
                found.append((begin, 0, id_, "RUNNING", stop))
                if stop < self.end:
                    found.append((stop, 1, id_, "STOPPED", None))
                begin += DAY
        return [(at, id_, what, until) for at, _, id_, what, until in sorted(found)]


async def live_through(
    plan: Plan, count: int, rng: random.Random, db: Path | None, cache: Path | None
) -> list[Note]:
    """Carry out the plan, and return what a receiver gets."""
    seen: list[Note] = []
    async with open_test_service(db=db, keepalive=False) as service:
        for _ in range(count):
            length = rng.randint(1, 20) * MINUTE
            created = await service.client.create(
                1,
                type="CHARGE",
                start_time=START + rng.randint(1, 47) * HOUR / 2,
                duration=length,
                target=TargetIds(1),
                recurrence=DAILY,
            )
            plan.begins[created.id] = created.start_time
            plan.lengths[created.id].append((START, length))

        async def update() -> None:
            # Every run begins on the hour or at half past, and is over 25 minutes later.
            await clock.sleep_until(START + 25 * MINUTE)
            while clock.now() + 7 * DAY < plan.end:
                await trio.sleep((7 * DAY).total_seconds())
                for id_ in rng.sample(sorted(plan.begins), 10):
                    length = rng.randint(1, 20) * MINUTE
                    await service.client.update(1, id_, duration=length)
                    plan.lengths[id_].append((clock.now(), length))

        async with (
            open_dispatcher(
                microgrid_id=1,
                channel=service.channel,
                key=service.key,
                cache=cache,
                probe_interval=DAY,
                resync_interval=DAY,
            ) as dispatcher,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(update)
            with (
                dispatcher.running_status_change.new_receiver() as status,
                trio.move_on_after((plan.end - clock.now()).total_seconds() - 1),
            ):
                async for message in status:
                    state = message.running()
                    seen.append((clock.now(), message.id, state.name, message.until))
                    assert (message.until is None) == (state is RunningState.STOPPED)
    return seen


@pytest.mark.parametrize(
    ("days", "count", "where"),
    [
        (8, 30, "disk"),
        pytest.param(365, 1000, "disk", marks=pytest.mark.long),
        pytest.param(365, 1000, "memory", marks=pytest.mark.long),
    ],
)
async def test_a_year(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, days: int, count: int, where: str
) -> None:
    plan = Plan(days)
    db, cache = (tmp_path / "db", tmp_path / "cache") if where == "disk" else (None, None)
    seen = await live_through(plan, count, random.Random(days), db, cache)
    expected = plan.notes()
    assert len(expected) > days * count
    assert seen == expected
