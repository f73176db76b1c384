"""A process that is killed leaves no component on: random stories with a cache and restarts.

The hardware keeps its last set-point while no process runs.  A killed process is one whose commands
no longer reach the hardware, and whose files stay as they were at that moment.  It is killed at any
moment: often within the steps in which dispatches start, change and end, or while actors and
`on_orphan` switch components off.
"""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import MINUTE, SECOND
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
        start_time=minute + rng.choice([-2, -1, 0, 0, 1, 2]) * MINUTE,
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
    killed: dict[str, bytes] = {}
    hardware = Hardware()
    dispatches: dict[int, Dispatch] = {}
    ids = [*range(8)]

    async with open_test_service(keepalive=False) as service:

        async def delete(at_: int) -> None:
            del dispatches[ids[at_]]
            await service.store.delete(1, ids[at_])
            ids[at_] += 100  # ids are not used again

        async def change() -> None:
            at_ = rng.randrange(len(ids))
            id_ = ids[at_]
            if id_ in dispatches and rng.random() < 0.3:
                await delete(at_)
            else:
                dispatch = random_dispatch(rng, id_)
                old = dispatches.get(id_)
                if old is None or not dispatch.duration is old.duration is None:
                    dispatches[id_] = dispatch
                    await service.put(dispatch)

        async def settle() -> None:
            """Wait until the process has done what was due, away from starts and ends."""
            await trio.sleep(GRACE.total_seconds() + 15)
            await trio.sleep(max(0, 20 - clock.now().second))

        async def kill(process: trio.Nursery, folder: Path) -> None:
            for _ in range(rng.choice([0, rng.randrange(50)])):
                await trio.lowlevel.checkpoint()
            # In this order: the journal is shortened after the file was written.
            killed.clear()
            for name in ("cache.journal", "cache"):
                with suppress(FileNotFoundError):
                    killed[name] = (folder / name).read_bytes()
            hardware.process += 1
            process.cancel_scope.cancel()

        async def check() -> int:
            await settle()
            assert hardware.power == wanted(dispatches), f"{clock.now()}"
            return sum(power > 0 for power in hardware.power.values())

        on = 0
        dispatches[0] = make_dispatch(0, duration=None, payload={"power": 1})
        await service.put(dispatches[0])
        for _ in range(3):
            await change()
        for number in range(6):
            # Of its own: a process that was not really killed may still write into the old one.
            folder = tmp_path / str(number)
            folder.mkdir()
            for name, data in killed.items():
                (folder / name).write_bytes(data)
            async with trio.open_nursery() as process:
                cache = folder / "cache"
                process.start_soon(hardware.run, service, cache, rng.choice([0, 0, 3]))
                for _ in range(rng.choice([0, 1, 2])):
                    on += await check()
                    await clock.sleep_until(next_minute() + rng.randint(1, 9) * SECOND)
                    await change()
                if rng.random() < 0.7:
                    on += await check()
                    # Either with what is due, or with changes.
                    await clock.sleep_until(next_minute())
                    if rng.random() < 0.6:
                        await trio.sleep(rng.randint(1, 9))
                        for _ in range(3):
                            await change()
                await trio.sleep(rng.choice([0, 0, 0.1, 0.25, 0.5, 3.1, 15]))
                await kill(process, folder)
            for _ in range(rng.randint(0, 3)):
                await clock.sleep_until(next_minute() + rng.randint(1, 9) * SECOND)
                await change()
            for at_, id_ in enumerate(ids):
                if id_ in dispatches and rng.random() < 0.4:
                    await delete(at_)
    assert on > 0


def next_minute() -> datetime:
    return clock.now().replace(second=0, microsecond=0) + MINUTE
