"""Random faults and crashes: the service has of each run what was seen of it, and nothing else.

The service is restarted, its streams are cut and muted, and the process is stopped or killed at
random moments and started again on the same disk.  What happened at the very moment of a kill may
be reported or not: the report may not have been written yet.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.helpers.acting import SECOND
from tests.helpers.effort import cases
from tests.helpers.killing import Machine
from tests.helpers.witness import Key, Witness, key_of, watch_actor, watch_statuses
from trio_dispatch import ActorRun, Dispatch, clock
from trio_dispatch.model.recurrence.rule import Frequency, RecurrenceRule
from trio_dispatch.model.runs import ReportedRun
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

SEEDS = cases(100, long=10_000)


def random_dispatch(rng: random.Random, id_: int, version: int) -> Dispatch:
    now = clock.now()
    recurs = rng.random() < 0.5
    seconds = rng.choice([1, 10, 30, 59, None] if recurs else [10, 90, None])
    return make_dispatch(
        id_,
        start_time=now.replace(microsecond=0) + rng.randint(-2, 40) * SECOND,
        duration=None if seconds is None else seconds * SECOND,
        payload={"version": version},
        active=rng.random() < 0.8,
        recurrence=RecurrenceRule(Frequency.MINUTELY) if recurs else None,
        # Two versions never have the same.
        update_time=now + timedelta(microseconds=version),
    )


async def disturb(service: LocalService, rng: random.Random, version: int) -> None:
    """Change a dispatch, or let something go wrong."""
    chance = rng.random()
    if chance < 0.6:
        known = await service.dispatches()
        if known and rng.random() < 0.3:
            await service.store.delete(1, rng.choice([*known]))
        else:
            id_ = rng.choice([*known, rng.randint(1, 5)])
            await service.put(random_dispatch(rng, id_, version))
    elif chance < 0.7:
        service.mute_streams(rng.choice([0, 0.5, 1]))
    elif chance < 0.8:
        await service.drop_connections()
    elif chance < 0.9:
        await service.restart()
    else:
        await service.stop()
        await trio.sleep(rng.uniform(0, 30))
        await service.restart()


async def act(witness: Witness, process: int, rng: random.Random, run: ActorRun) -> None:
    """Act for a while, and sometimes fail or return."""
    how = rng.choice(["over", "failed", "", "", ""])
    await watch_actor(witness, process, run, how=how, seconds=rng.uniform(0, 30) if how else 10**6)


async def live(machine: Machine, witness: Witness, rng: random.Random, disturb: Disturb) -> None:
    """Run a process until it is stopped or killed."""
    process = witness.process
    killed = rng.random() < 0.8
    async with (
        machine.process(killed=killed, name="site-7") as dispatcher,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(watch_statuses, witness, process, dispatcher)
        nursery.start_soon(dispatcher.run_actors, "CHARGE", partial(act, witness, process, rng))
        if not killed:
            # Otherwise what is announced at the end may not be seen.
            await trio.testing.wait_all_tasks_blocked()
        for _ in range(rng.randint(0, 6)):
            await trio.sleep(rng.choice([0, 0.1, 1, 20]))
            await disturb()
        await trio.sleep(rng.choice([0, 0, rng.uniform(0, 60)]))
        for _ in range(rng.choice([0, rng.randrange(50)])):
            await trio.lowlevel.checkpoint()
        if killed:
            await machine.kill()
            witness.kill(clock.now())
        witness.close(clock.now())
        nursery.cancel_scope.cancel()


Disturb = Callable[[], Awaitable[None]]


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_service_has_of_each_run_what_was_seen_of_it(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seed: int,
) -> None:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    rng = random.Random(seed)
    witness = Witness()
    version = 0

    async with open_test_service(keepalive=False) as service:

        async def change() -> None:
            nonlocal version
            version += 1
            await disturb(service, rng, version)

        machine = Machine(service, tmp_path)
        for id_ in range(1, 4):
            await service.put(random_dispatch(rng, id_, 0))
        for _ in range(rng.randint(1, 4)):
            await live(machine, witness, rng, change)
            for _ in range(rng.choice([0, 0, 2])):
                await trio.sleep(rng.choice([0, 20, 60]))
                await change()
        await service.restart()
        async with machine.process(name="site-7") as dispatcher, trio.open_nursery() as nursery:
            process = witness.process
            nursery.start_soon(watch_statuses, witness, process, dispatcher)
            nursery.start_soon(dispatcher.run_actors, "CHARGE", partial(act, witness, process, rng))
            # Long enough to connect and to deliver everything; at this moment nothing happens.
            await trio.sleep(150.5137)
            assert dispatcher.statistics().reports_waiting == 0
            assert [*witness.problems(witness.seen, await runs_of(service), clock.now())] == []
            nursery.cancel_scope.cancel()
        assert not any(info.lost for info in await service.client.list_dispatchers(1))


async def runs_of(service: LocalService) -> dict[Key, ReportedRun]:
    pages = service.client.list_runs(1)
    return {key_of(run): run async for page in pages for run in page}
