"""Which actors run when, and what they are shown, compared with brute force.

Each seed is a type of its own, with some dispatches that are created, changed and deleted at random
for ten minutes; many seeds share a dispatcher.  The actor of a seed records what it is shown.
Brute force knows no messages: it looks at what the service kept at every moment at which anything
may have changed.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import pytest
import trio
import trio.testing

from tests.helpers.acting import SECOND, START, at
from tests.helpers.effort import cases
from trio_dispatch import (
    ActorRun,
    Dispatch,
    MergeByType,
    MergeByTypeTarget,
    MergeStrategy,
    RecurrenceRule,
    TargetIds,
    clock,
    open_dispatcher,
)
from trio_dispatch.model.recurrence.rule import Frequency
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

SEEDS = cases(150, long=10_000)
TOGETHER = 50
END = 595  # at which nothing starts or ends by itself
IDS = 6

# What is a change to an actor: which dispatch, and what of it.
Shown = tuple[int, object, dict[str, object], bool, timedelta | None, datetime | None]
# When, and what; None for the end.
Record = tuple[datetime, Shown | None]


class MergeByZone:
    """A user's strategy, by a field that updates change."""

    def identities(self, dispatch: Dispatch) -> set[Hashable]:
        return {str(dispatch.payload["zone"])}


STRATEGIES: list[MergeStrategy | None] = [
    None,
    MergeByType(),
    MergeByTypeTarget(),
    MergeByZone(),
]


def random_dispatch(rng: random.Random, id_: int, type_: str, now: int) -> Dispatch:
    """A dispatch on a grid of ten seconds, so that many runs touch."""
    kind = rng.choice(["once", "once", "recurring", "endless", "pulse"])
    start = now // 10 * 10 + 10 * rng.randint(-6, 20)
    rule = None
    duration: int | None = 10 * rng.randint(1, 15)
    if kind == "recurring":
        duration = 10 * rng.randint(1, 9)
        rule = RecurrenceRule(Frequency.MINUTELY)
    elif kind == "endless":
        duration = None
    elif kind == "pulse":
        # In the future: late pulses have their own tests.
        start = now // 10 * 10 + 10 * rng.randint(1, 20)
        duration = 0
        rule = rng.choice([None, RecurrenceRule(Frequency.MINUTELY)])
    return make_dispatch(
        id_,
        type=type_,
        start_time=at(start),
        duration=None if duration is None else duration * SECOND,
        target=TargetIds(*rng.sample([1, 2, 3], rng.choice([1, 1, 2]))),
        active=rng.random() < 0.85,
        dry_run=rng.random() < 0.2,
        payload={"power": rng.randint(1, 3), "zone": rng.choice(["north", "south"])},
        recurrence=rule,
        update_time=at(now),
    )


@dataclass
class Seed:
    """A random story: at which second which dispatch becomes what; None is a deletion."""

    number: int

    def __post_init__(self) -> None:
        rng = random.Random(self.number)
        self.type = f"SEED {self.number}"
        self.merge = STRATEGIES[self.number % len(STRATEGIES)]
        self.changes: list[tuple[int, int, Dispatch | None]] = []
        known: dict[int, Dispatch] = {}
        now = 0
        while (now := now + rng.choice([0, 0, 10, 10, 20, 50])) < END - 100:
            id_ = self.number * IDS + rng.randint(1, IDS)
            # One change at a time, and never when a run starts or ends.
            second = now + rng.randint(1, 9)
            if self.changes and second <= self.changes[-1][0]:
                continue
            if id_ in known and rng.random() < 0.2:
                del known[id_]
                self.changes.append((second, id_, None))
            else:
                dispatch = random_dispatch(rng, id_, self.type, second)
                if id_ in known and dispatch.duration == known[id_].duration is None:
                    # A run without an end that only began at another time is not announced.
                    dispatch = replace(dispatch, start_time=known[id_].start_time)
                known[id_] = dispatch
                self.changes.append((second, id_, dispatch))
        # What was shown, by identity.
        self.records: dict[Hashable, list[Record]] = {}

    async def act(self, run: ActorRun) -> None:
        """An actor that records what it is shown."""
        log = self.records.setdefault(identity_of(self.merge, run.dispatch), [])
        try:
            async for dispatch in run.changes:
                assert dispatch.type == self.type
                now = clock.now()
                assert (run.target, run.payload) == (dispatch.target, dispatch.payload)
                assert run.dry_run == dispatch.dry_run
                log.append((now, shown_of(run.dispatch, run.until)))
        finally:
            log.append((clock.now(), None))


def identity_of(merge: MergeStrategy | None, dispatch: Dispatch) -> Hashable:
    if dispatch.duration == timedelta():
        return "pulse", dispatch.id
    if merge is None:
        return dispatch.id
    (identity,) = merge.identities(dispatch)
    return identity


# Brute force.


def occurrences(dispatch: Dispatch) -> Iterator[datetime]:
    """Yield the occurrences of a dispatch, by adding minutes."""
    start = dispatch.start_time
    yield start
    while dispatch.recurrence is not None and dispatch.duration is not None and start < at(END):
        start += timedelta(minutes=1)
        yield start


def run_at(dispatch: Dispatch, moment: datetime) -> tuple[datetime, datetime | None] | None:
    """Return the begin and the end of the run at a moment; None if the dispatch does not run."""
    begun = [start for start in occurrences(dispatch) if start <= moment]
    if not dispatch.active or not begun:
        return None
    if dispatch.duration is None:
        return begun[-1], None
    end = begun[-1] + dispatch.duration
    return (begun[-1], end) if moment < end else None


def brute_force(seed: Seed) -> dict[Hashable, list[Record]]:
    """Return what each actor must be shown, found by looking whenever something may change."""
    records: dict[Hashable, list[Record]] = {}
    kept: dict[int, Dispatch] = {}
    changes = {second: (id_, dispatch) for second, id_, dispatch in seed.changes}
    shown: dict[Hashable, Shown] = {}
    for second in sorted({*range(0, END, 10), *changes}):
        moment = at(second)
        if second in changes:
            id_, dispatch = changes[second]
            if dispatch is None:
                del kept[id_]
            else:
                kept[id_] = dispatch
        due = groups_at(seed.merge, kept, moment)
        for identity in shown.keys() - due.keys():
            del shown[identity]
            records[identity].append((moment, None))
        for identity, what in due.items():
            if shown.get(identity) != what:
                shown[identity] = what
                records.setdefault(identity, []).append((moment, what))
        for dispatch in kept.values():
            is_pulse = dispatch.active and dispatch.duration == timedelta()
            if is_pulse and second not in changes and moment in occurrences(dispatch):
                log = records.setdefault(("pulse", dispatch.id), [])
                log += [(moment, shown_of(dispatch, moment)), (moment, None)]
    for identity in shown:
        records[identity].append((at(END), None))
    return records


def groups_at(
    merge: MergeStrategy | None, kept: Mapping[int, Dispatch], moment: datetime
) -> dict[Hashable, Shown]:
    """Return what each actor that runs at a moment is shown."""
    latest: dict[Hashable, tuple[datetime, int]] = {}
    shown = {}
    for dispatch in kept.values():
        run = run_at(dispatch, moment)
        if run is None:
            continue
        start, until = run
        identity = identity_of(merge, dispatch)
        if identity not in latest or latest[identity] < (start, dispatch.id):
            latest[identity] = start, dispatch.id
            shown[identity] = shown_of(dispatch, until)
    return shown


def shown_of(dispatch: Dispatch, until: datetime | None) -> Shown:
    payload: dict[str, object] = dict(dispatch.payload)
    return dispatch.id, dispatch.target, payload, dispatch.dry_run, dispatch.duration, until


async def tell_story(service: LocalService, seed: Seed) -> None:
    for second, id_, dispatch in seed.changes:
        await clock.sleep_until(at(second))
        if dispatch is None:
            await service.store.delete(1, id_)
        else:
            await service.put(dispatch)


@pytest.mark.parametrize("first", range(0, SEEDS, TOGETHER))
async def test_actors_are_shown_what_brute_force_finds(
    autojump_clock: trio.testing.MockClock, first: int
) -> None:
    seeds = [Seed(number) for number in range(first, min(first + TOGETHER, SEEDS))]
    async with (
        open_test_service(keepalive=False) as service,
        open_dispatcher(
            microgrid_id=1,
            channel=service.channel,
            key=service.key,
            resync_interval=timedelta(days=1),
        ) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        for seed in seeds:
            run = partial(
                dispatcher.run_actors, seed.type, seed.act, merge=seed.merge, dry_runs=True
            )
            await nursery.start(partial(run, on_error="raise"))
            nursery.start_soon(tell_story, service, seed)
        await clock.sleep_until(START + END * SECOND)
        nursery.cancel_scope.cancel()
    changes = runs = 0
    for seed in seeds:
        assert seed.records == brute_force(seed), f"seed {seed.number}, {seed.merge}"
        logs = seed.records.values()
        changes += sum(what is not None for log in logs for _, what in log)
        runs += sum(what is None for log in logs for _, what in log)
    # The stories contain runs and changes.
    assert runs > 5 * len(seeds)
    assert changes > 1.2 * runs
