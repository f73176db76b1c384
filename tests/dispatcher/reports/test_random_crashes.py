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
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.helpers.acting import SECOND
from tests.helpers.effort import cases
from tests.helpers.killing import Machine
from trio_dispatch import ActorRun, Dispatch, Dispatcher, clock
from trio_dispatch.model.recurrence.rule import Frequency, RecurrenceRule
from trio_dispatch.model.runs import ReportedRun, ReportedState, StopReason
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

SEEDS = cases(100, long=10_000)

Key = tuple[int, datetime, bool]
"""The dispatch, the occurrence, and whether it is about an actor."""


@dataclass
class Seen:
    """What was seen of a run.

    Attributes:
      started: When it started.
      calls, short_calls: How often the actor was called; how often it ended at the same moment.
      attempts: The most calls without a pause of the dispatch in between, which begins a new count.
      ended: When it ended last; None while it runs.
      how: How it ended: "over", "early", "failed" or "killed".
      unsure: Whether something happened at the moment of a kill.
    """

    started: datetime
    calls: int = 1
    short_calls: int = 0
    attempts: int = 1
    calls_since_pause: int = 1
    process: int = 0
    ended: datetime | None = None
    how: str = ""
    unsure: bool = False


class World:
    """What the processes saw, each until it was killed."""

    def __init__(self, rng: random.Random) -> None:
        self.seen: dict[Key, Seen] = {}
        self.process = 0
        self.kills: set[datetime] = set()
        self._rng = rng
        self._touched: dict[Key, datetime] = {}

    def kill(self) -> None:
        """What the present process sees from now on does not count."""
        self.process += 1
        now = clock.now()
        self.kills.add(now)
        for key, seen in self.seen.items():
            if seen.ended is None:
                seen.ended, seen.how = now, "killed"
            seen.unsure |= self._touched[key] == now

    def begin(self, process: int, key: Key) -> None:
        if process != self.process:
            return
        self._touched[key] = clock.now()
        seen = self.seen.get(key)
        if seen is None:
            self.seen[key] = Seen(clock.now(), process=process)
        else:
            paused = seen.how == "early" and seen.process == process
            seen.calls += 1
            seen.calls_since_pause = 1 if paused else seen.calls_since_pause + 1
            seen.attempts = max(seen.attempts, seen.calls_since_pause)
            seen.ended, seen.how, seen.process = None, "", process

    def end(self, process: int, key: Key, until: datetime | None, how: str = "") -> None:
        if process != self.process:
            return
        now = clock.now()
        seen = self.seen[key]
        seen.short_calls += self._touched[key] == now
        self._touched[key] = now
        seen.ended = now
        seen.how = how or ("over" if until is not None and until <= now else "early")

    async def watch(self, process: int, dispatcher: Dispatcher) -> None:
        """Note what a receiver sees."""
        running: dict[int, tuple[Key, datetime | None]] = {}
        try:
            with dispatcher.running_status_change.new_receiver() as receiver:
                async for message in receiver:
                    before = running.pop(message.id, None)
                    start = occurrence(message)
                    if before is not None and before[0][1] != start:
                        self.end(process, *before)
                        before = None
                    if start is not None:
                        key = message.id, start, False
                        if before is None:
                            self.begin(process, key)
                        running[message.id] = key, message.end_of(start)
        finally:
            for key, until in running.values():
                self.end(process, key, until)

    async def act(self, process: int, run: ActorRun) -> None:
        """Note what an actor sees, and sometimes fail or return."""
        rng = self._rng
        start = occurrence(run.dispatch)
        key: Key | None = None
        if start is not None:
            key = run.dispatch.id, start, True
            self.begin(process, key)
        until = run.until
        plan, how = rng.choice(["over", "failed", "", "", ""]), ""
        try:
            with trio.move_on_after(rng.uniform(0, 30) if plan else 10**6):
                async for dispatch in run.changes:
                    start = occurrence(dispatch)
                    assert start is not None
                    if key is not None and key[1] != start:
                        self.end(process, key, until)
                        key = None
                    if key is None:
                        key = dispatch.id, start, True
                        self.begin(process, key)
                    until = run.until
            how = plan
            if how == "failed":
                raise RuntimeError("the battery does not answer")
        finally:
            if key is not None:
                self.end(process, key, until, how)


def occurrence(message: Dispatch) -> datetime | None:
    now = clock.now()
    return message.run_at(now if message.sent_at is None else max(now, message.sent_at))


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
        update_time=now,
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


async def live(machine: Machine, world: World, rng: random.Random, disturb: Disturb) -> None:
    """Run a process until it is stopped or killed."""
    process = world.process
    killed = rng.random() < 0.8
    async with (
        machine.process(killed=killed, name="site-7") as dispatcher,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(world.watch, process, dispatcher)
        nursery.start_soon(dispatcher.run_actors, "CHARGE", partial(world.act, process))
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
            world.kill()
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
    world = World(rng)
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
            await live(machine, world, rng, change)
            for _ in range(rng.choice([0, 0, 2])):
                await trio.sleep(rng.choice([0, 20, 60]))
                await change()
        await service.restart()
        async with machine.process(name="site-7") as dispatcher, trio.open_nursery() as nursery:
            nursery.start_soon(world.watch, world.process, dispatcher)
            nursery.start_soon(dispatcher.run_actors, "CHARGE", partial(world.act, world.process))
            # Long enough to connect and to deliver everything.
            await trio.sleep(150.5)
            assert dispatcher.statistics().reports_waiting == 0
            check(world, await runs_of(service))
            nursery.cancel_scope.cancel()
        assert not any(info.lost for info in await service.client.list_dispatchers(1))


async def runs_of(service: LocalService) -> dict[Key, ReportedRun]:
    pages = service.client.list_runs(1)
    return {
        (run.dispatch_id, run.start_time, bool(run.actor)): run
        async for page in pages
        for run in page
    }


STATES = {
    "": ReportedState.RUNNING,
    "over": ReportedState.COMPLETED,
    "early": ReportedState.STOPPED,
    "failed": ReportedState.FAILED,
    "killed": ReportedState.STOPPED,
}


def check(world: World, runs: dict[Key, ReportedRun]) -> None:
    for key, seen in world.seen.items():
        run = runs.pop(key, None)
        if seen.unsure or (seen.started == seen.ended and run is None):
            continue
        assert run is not None, (key, seen)
        assert run.state is STATES[seen.how], (key, seen, run)
        started = run.started_time
        assert started == seen.started or started in world.kills, (key, seen, run)
        if run.actor:
            assert seen.attempts - seen.short_calls <= run.attempts <= seen.calls, (key, seen, run)
        if seen.how == "killed":
            assert seen.ended is not None
            assert run.ended_time is not None
            assert run.reason is StopReason.CRASHED, (key, seen, run)
            assert run.ended_time >= seen.ended
        else:
            assert run.reason is not StopReason.CRASHED
            shut_down = run.reason is StopReason.SHUTDOWN
            assert run.ended_time == seen.ended or shut_down, (key, seen, run)
    for run in runs.values():
        is_short = run.started_time == run.ended_time or run.started_time in world.kills
        assert run.state is ReportedState.MISSED or is_short, run
