"""A process that is killed leaves no component on: random stories with a cache and restarts.

The hardware keeps its last set-point while no process runs.  A killed process is one whose commands
no longer reach the hardware, and whose cache file stays as it was at that moment.
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import MINUTE, SECOND, at
from tests.helpers.dispatching import dispatching
from tests.helpers.effort import cases
from trio_dispatch import (
    ActorRun,
    Dispatch,
    ElectricalComponentCategory,
    MergeByComponent,
    TargetIds,
    clock,
)
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

SEEDS = cases(10, long=200)
COMPONENTS = range(1, 9)
MERGE = MergeByComponent(dict.fromkeys(COMPONENTS, ElectricalComponentCategory.BATTERY))
GRACE = 5 * SECOND


class Hardware:
    """Components that keep their power, whichever process runs."""

    def __init__(self) -> None:
        self.power = dict.fromkeys(COMPONENTS, 0.0)
        self.process = 0

    async def run(self, service: LocalService, cache: Path, delay: float) -> None:
        """Run a process until it is cancelled; only the last process reaches the hardware."""
        self.process += 1
        number = self.process

        def set_power(components: TargetIds, power: float) -> None:
            if number == self.process:
                self.power.update(dict.fromkeys(components, power))

        async def charge(run: ActorRun[float]) -> None:
            target = TargetIds(run.component)
            try:
                async for _ in run.changes:
                    set_power(target, run.payload)
            finally:
                with run.cleanup():
                    await trio.sleep(0.2)
                    set_power(target, 0)

        async def switch_off(orphan: Dispatch) -> None:
            assert isinstance(orphan.target, TargetIds)
            await trio.sleep(0.2)
            set_power(orphan.target, 0)

        async with dispatching(service, cache=cache) as dispatcher:
            # What has changed meanwhile may be known before the actors are started, or after.
            await trio.sleep(delay)
            run = partial(dispatcher.run_actors, "CHARGE", charge, merge=MERGE, payload=power_of)
            await run(on_orphan=switch_off, grace=GRACE)


def power_of(payload: dict[str, Any]) -> float:
    return float(payload["power"])


def random_dispatch(rng: random.Random, id_: int) -> Dispatch:
    now = clock.now()
    minute = now.replace(second=0, microsecond=0)
    return make_dispatch(
        id_,
        start_time=minute + rng.randint(-2, 3) * MINUTE,
        duration=rng.choice([None, MINUTE, 2 * MINUTE, 5 * MINUTE]),
        target=TargetIds(*rng.choices(COMPONENTS, k=rng.choice([1, 2, 3]))),
        active=rng.random() < 0.8,
        dry_run=rng.random() < 0.1,
        payload={"power": rng.randint(1, 100)},
        update_time=now,
    )


def wanted(dispatches: dict[int, Dispatch]) -> dict[int, float]:
    """The power of each component, found by looking at every dispatch."""
    now = clock.now()
    power = dict.fromkeys(COMPONENTS, 0.0)
    for dispatch in sorted(dispatches.values(), key=lambda each: (each.start_time, each.id)):
        start, duration = dispatch.start_time, dispatch.duration
        runs = start <= now and (duration is None or now < start + duration)
        if dispatch.active and not dispatch.dry_run and runs:
            assert isinstance(dispatch.target, TargetIds)
            power.update(dict.fromkeys(dispatch.target, float(str(dispatch.payload["power"]))))
    return power


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_nothing_stays_on_after_a_restart(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    cache = tmp_path / "cache"
    hardware = Hardware()
    dispatches: dict[int, Dispatch] = {}
    ids = [*range(8)]

    async with open_test_service(keepalive=False) as service:

        async def change() -> None:
            at_ = rng.randrange(len(ids))
            id_ = ids[at_]
            if id_ in dispatches and rng.random() < 0.3:
                del dispatches[id_]
                ids[at_] += 100  # ids are not used again
                await service.store.delete(1, id_)
            else:
                dispatch = random_dispatch(rng, id_)
                old = dispatches.get(id_)
                if old is None or not dispatch.duration is old.duration is None:
                    dispatches[id_] = dispatch
                    await service.put(dispatch)

        on = minute = 0
        for _ in range(6):
            async with trio.open_nursery() as process:
                process.start_soon(hardware.run, service, cache, rng.choice([0, 0, 3]))
                for _ in range(rng.randint(1, 3)):
                    await trio.sleep(GRACE.total_seconds() + 15)
                    assert hardware.power == wanted(dispatches), f"minute {minute}"
                    on += sum(power > 0 for power in hardware.power.values())
                    minute += 1
                    await clock.sleep_until(at(60 * minute + rng.randint(1, 9)))
                    await change()
                    await clock.sleep_until(at(60 * minute + 30))
                killed = cache.read_bytes()
                hardware.process += 1
                process.cancel_scope.cancel()
            cache.write_bytes(killed)
            for _ in range(rng.randint(0, 3)):
                minute += 1
                await clock.sleep_until(at(60 * minute + rng.randint(1, 9)))
                await change()
    assert on > 0
