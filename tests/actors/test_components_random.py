"""Which dispatch drives each of 20 components at each minute, compared with brute force.

Each seed is a type with a few dispatches that are created, changed and deleted at random; many
seeds share a dispatcher, whose service goes away now and then.  The oracle looks at what the
dispatcher can know of the store, minute by minute.  It shares no code with the library.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import HOUR, MINUTE, START, at
from tests.helpers.dispatching import dispatching
from tests.helpers.effort import cases
from trio_dispatch import (
    ActorRun,
    BatteryType,
    Dispatch,
    ElectricalComponentCategory,
    EvChargerType,
    MergeByComponent,
    RecurrenceRule,
    Target,
    TargetCategories,
    TargetIds,
    clock,
)
from trio_dispatch.model.recurrence.rule import Frequency
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

SEEDS = cases(150, long=10_000)
TOGETHER = 100
MINUTES = 14
IDS = 5

BATTERIES = [BatteryType.LI_ION] * 5 + [BatteryType.NA_ION] * 3
CHARGERS = [EvChargerType.AC] * 3 + [EvChargerType.DC] * 3
OTHERS = [ElectricalComponentCategory.CHP] * 2 + [ElectricalComponentCategory.INVERTER] * 4
KINDS: list[ElectricalComponentCategory | BatteryType | EvChargerType]
KINDS = [*BATTERIES, *CHARGERS, *OTHERS]
MERGE = MergeByComponent(dict(enumerate(KINDS, start=1)))

# The ids that each target by category means.
CATEGORIES = {
    TargetCategories(ElectricalComponentCategory.BATTERY): {1, 2, 3, 4, 5, 6, 7, 8},
    TargetCategories(BatteryType.LI_ION): {1, 2, 3, 4, 5},
    TargetCategories(EvChargerType.DC): {12, 13, 14},
    TargetCategories(ElectricalComponentCategory.CHP): {15, 16},
    TargetCategories(ElectricalComponentCategory.METER): set(),
    TargetCategories(ElectricalComponentCategory.CHP, BatteryType.NA_ION): {6, 7, 8, 15, 16},
}


def components_of(target: Target | None) -> set[int]:
    if isinstance(target, TargetIds):
        return {*target}
    assert target is not None
    return CATEGORIES[target]


@dataclass(frozen=True)
class Setting:
    power: float


def parse(payload: Mapping[str, Any]) -> Setting:
    return Setting(payload["power"])


def random_dispatch(rng: random.Random, id_: int, type_: str, now: int, *, valid: bool) -> Dispatch:
    """A dispatch whose runs start and end on full minutes."""
    kind = rng.choice(["once", "once", "recurring", "endless", "pulse"])
    minute = now // 60
    start = minute + rng.randint(-2, 4)
    duration: timedelta | None = rng.randint(1, 5) * MINUTE
    rule = None
    if kind == "recurring":
        rule = RecurrenceRule(Frequency.MINUTELY, rng.randint(1, 4))
    elif kind == "endless":
        duration = None
    elif kind == "pulse":
        start, duration = minute + rng.randint(1, 4), timedelta()
        rule = rng.choice([None, RecurrenceRule(Frequency.MINUTELY, 2)])
    target: Target = rng.choice([*CATEGORIES])
    if rng.random() < 0.7:
        target = TargetIds(*rng.choices(range(1, 22), k=rng.choice([1, 2, 4])))
    payload = {"priority": rng.choice([0, 0, 0, 1])}
    if valid:
        payload["power"] = now
    return make_dispatch(
        id_,
        type=type_ if rng.random() < 0.9 else "OTHER",
        start_time=at(60 * start),
        duration=duration,
        target=target,
        active=rng.random() < 0.9,
        dry_run=rng.random() < 0.1,
        payload=payload,
        recurrence=rule,
        update_time=at(now),
    )


def run_at(dispatch: Dispatch, moment: datetime) -> datetime | None:
    """The start of the run at a moment, found by adding up intervals; None if it does not run."""
    start = dispatch.start_time
    if not dispatch.active or start > moment or dispatch.duration == timedelta():
        return None
    if dispatch.duration is None:
        return start
    if dispatch.recurrence is not None:
        while start + dispatch.recurrence.interval * MINUTE <= moment:
            start += dispatch.recurrence.interval * MINUTE
    return start if moment < start + dispatch.duration else None


def is_pulse_at(dispatch: Dispatch, moment: datetime) -> bool:
    if not dispatch.active or dispatch.duration != timedelta() or dispatch.start_time > moment:
        return False
    interval = dispatch.recurrence.interval if dispatch.recurrence is not None else 10**6
    return (moment - dispatch.start_time) % (interval * MINUTE) == timedelta()


class Seed:
    """A random story, simulated components, and what drives them according to the oracle."""

    def __init__(self, number: int, away: range, quiet: range) -> None:
        rng = random.Random(number)
        self.number = number
        self.type = f"SEED {number}"
        self.targets = TargetIds(*range(1, 13)) if number % 2 else None
        self.mine = range(1, 13) if number % 2 else range(1, 21)
        # At which second which dispatch becomes what; None is a deletion.
        self.changes: dict[int, tuple[int, Dispatch | None]] = {}
        kept: dict[int, Dispatch] = {}
        ids = [number * IDS + n for n in range(IDS)]
        for minute in set(range(MINUTES)) - set(quiet):
            if rng.random() < 0.3:
                continue
            now = 60 * minute + rng.randint(1, 9)
            id_ = rng.choice(ids)
            dispatch = None
            if id_ not in kept or rng.random() < 0.8:
                # What is kept of a payload depends on the time at which the dispatcher reconnects.
                valid = minute in away or rng.random() < 0.85
                dispatch = random_dispatch(rng, id_, self.type, now, valid=valid)
                old = kept.get(id_)
                if old is not None and dispatch.duration is old.duration is None:
                    # A run without an end that only began at another time is not announced.
                    dispatch = replace(dispatch, start_time=old.start_time)
                kept[id_] = dispatch
            else:
                # Ids are not used again.
                del kept[id_]
                ids[ids.index(id_)] += IDS * SEEDS
            self.changes[now] = id_, dispatch
        self.stored: dict[int, Dispatch] = {}
        self.known: dict[int, Dispatch] = {}
        self.payloads: dict[int, Mapping[str, Any]] = {}  # the last valid one of what runs
        # What drives each component, and the pulses that were acted upon, in minutes.
        self.driven: dict[int, tuple[int, float] | None] = {}
        self.pulses: set[tuple[int, int, int]] = set()
        self.starts = 0

    async def act(self, run: ActorRun[Setting]) -> None:
        component = run.component
        assert component not in self.driven, "two actors on one component"
        assert component in self.mine
        assert run.target == run.dispatch.target == TargetIds(component)
        self.driven[component] = None
        pulse = run.dispatch.pulse
        if pulse is not None:
            self.pulses.add(((pulse - START) // MINUTE, run.dispatch.id, component))
            await trio.sleep(0.2)
            del self.driven[component]
            return
        self.starts += 1
        try:
            async for dispatch in run.changes:
                assert not dispatch.dry_run
                self.driven[component] = dispatch.id, run.payload.power
        finally:
            with run.cleanup():
                await trio.sleep(0.5)
            del self.driven[component]

    def store(self, second: int) -> tuple[int, Dispatch | None] | None:
        if second not in self.changes:
            return None
        id_, dispatch = self.changes[second]
        if dispatch is None:
            del self.stored[id_]
        else:
            self.stored[id_] = dispatch
        return id_, dispatch

    def drives(self, moment: datetime) -> dict[int, tuple[int, float] | None]:
        """What drives each component, found by looking at every dispatch; call it in order."""
        runs = []
        for id_ in self.payloads.keys() - self.known.keys():
            del self.payloads[id_]
        for dispatch in self.known.values():
            start = None
            if dispatch.type == self.type and not dispatch.dry_run:
                start = run_at(dispatch, moment)
            components = components_of(dispatch.target) & set(self.mine)
            if start is None or not components:
                self.payloads.pop(dispatch.id, None)
                continue
            if "power" in dispatch.payload:
                self.payloads[dispatch.id] = dispatch.payload
            if dispatch.id in self.payloads:
                payload = self.payloads[dispatch.id]
                order = payload["priority"], start, dispatch.id
                runs.append((order, components, (dispatch.id, payload["power"])))
        found: dict[int, tuple[int, float] | None] = {}
        for _, components, shown in sorted(runs, key=lambda run: run[0]):
            found |= dict.fromkeys(components, shown)
        return found

    def pulses_at(self, moment: datetime) -> set[tuple[int, int, int]]:
        return {
            ((moment - START) // MINUTE, dispatch.id, component)
            for dispatch in self.known.values()
            if dispatch.type == self.type and not dispatch.dry_run
            if "power" in dispatch.payload and is_pulse_at(dispatch, moment)
            for component in components_of(dispatch.target) & set(self.mine)
        }


def offline_minutes(rng: random.Random) -> range:
    """When the service is away, in minutes; it may be never."""
    begin = rng.choice([3, 5, 100])
    return range(begin, begin + rng.choice([1, 4]))


async def tell(service: LocalService, seed: Seed, second: int) -> None:
    change = seed.store(second)
    if change is not None:
        id_, dispatch = change
        if dispatch is None:
            await service.store.delete(1, id_)
        else:
            await service.put(dispatch)


@pytest.mark.parametrize("first", range(0, SEEDS, TOGETHER))
async def test_each_component_is_driven_by_what_brute_force_finds(
    autojump_clock: trio.testing.MockClock, first: int
) -> None:
    rng = random.Random(first)
    away = offline_minutes(rng)
    # The dispatcher needs up to a minute to reconnect.  Nothing changes in this time.
    reconnecting = range(away.stop, away.stop + 2)
    seeds = [Seed(number, away, reconnecting) for number in range(first, first + TOGETHER)]
    max_offline = rng.choice([None, 2 * MINUTE])
    checked = driven = due = 0
    async with (
        open_test_service(keepalive=False) as service,
        dispatching(service, max_offline=max_offline, resync_interval=10 * HOUR) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        for seed in seeds:
            run = partial(dispatcher.run_actors, seed.type, seed.act, merge=MERGE)
            run = partial(run, payload=parse, targets=seed.targets, priority=priority)
            await nursery.start(partial(run, on_error="raise"))
        for minute in range(MINUTES):
            await clock.sleep_until(at(60 * minute - 1))
            offline = minute in away or minute in reconnecting
            if not offline:
                for seed in seeds:
                    seed.known = seed.stored.copy()
                    if minute == reconnecting.stop and max_offline is not None and len(away) > 2:
                        seed.payloads.clear()  # all runs were stopped
            before = [seed.driven.copy() for seed in seeds]
            pulses = [seed.pulses_at(at(60 * minute)) for seed in seeds]
            await clock.sleep_until(at(60 * minute))
            exact = [seed.drives(at(60 * minute)) for seed in seeds]
            if minute == away.start:
                await service.stop()
            if minute == away.stop:
                await service.restart()
            for second in range(1, 10):
                moment = at(60 * minute + second)
                await clock.sleep_until(moment)
                for seed in seeds:
                    await tell(service, seed, 60 * minute + second)
                    if not offline:
                        seed.known = seed.stored.copy()
                    seed.drives(moment)
            moment = at(60 * minute + 30)
            await clock.sleep_until(moment)
            if minute in reconnecting:
                continue
            stopped = max_offline is not None and minute in away[2:]
            for seed, old, new, waited in zip(seeds, before, exact, pulses, strict=True):
                wanted = {} if stopped else seed.drives(moment)
                assert seed.driven == wanted, f"seed {seed.number}, minute {minute}"
                checked += 1
                driven += len(wanted)
                if minute not in away:
                    for pulse in waited:
                        due += 1
                        if pulse[2] not in new:
                            assert pulse in seed.pulses, f"seed {seed.number}: {pulse}"
                        elif pulse[2] in old:
                            assert pulse not in seed.pulses, f"seed {seed.number}: {pulse}"
        nursery.cancel_scope.cancel()
    for seed in seeds:
        assert seed.driven == {}, f"seed {seed.number}"
    # The stories are not about nothing.
    assert driven > checked / 2
    assert due > TOGETHER / 2


def priority(dispatch: Dispatch) -> float:
    value = dispatch.payload["priority"]
    assert isinstance(value, float)
    return value
