"""Stopping actors: at every step, many at once, by a signal."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import trio
import trio.testing

from tests.helpers.acting import acting, lasting, now
from tests.helpers.dispatching import CancelAt, dispatching
from tests.helpers.effort import cases
from trio_dispatch import (
    ActorRun,
    ElectricalComponentCategory,
    MergeByComponent,
    MergeByType,
    MergeStrategy,
)
from trio_dispatch.testing import LocalService, open_test_service


class Light:
    """Lights that actors switch on, and must have switched off in the end."""

    def __init__(self) -> None:
        self.on: set[int] = set()
        self.switched = 0

    @contextmanager
    def switch(self, id_: int) -> Iterator[None]:
        assert id_ not in self.on, "two actors for one dispatch"
        self.on.add(id_)
        self.switched += 1
        yield

    async def actor(self, run: ActorRun) -> None:
        id_ = run.dispatch.id
        with self.switch(id_):
            try:
                async for _ in run.changes:
                    await trio.sleep(0.5)
                if id_ % 3 == 0:
                    raise KeyError("fails at its end")
            finally:
                with run.cleanup():
                    await trio.sleep(1)
                    self.on.remove(id_)


async def live(service: LocalService, light: Light, merge: MergeStrategy | None) -> None:
    """Go through starts, changes, stops, pulses, failures and the end."""
    async with (
        dispatching(service) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(partial(dispatcher.run_actors, "CHARGE", light.actor, merge=merge))
        await trio.sleep(1)
        await service.put(lasting(1, 0, 10, payload={"n": 1}))
        await trio.sleep(5)
        await service.store.delete(1, 2)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()


STRIDE = cases(2, long=1)
COMPONENTS = dict.fromkeys(range(1, 5), ElectricalComponentCategory.BATTERY)


@pytest.mark.parametrize("merge", [None, MergeByComponent(COMPONENTS)], ids=["each", "merged"])
async def test_cancellation_at_every_step_leaves_nothing_on(
    autojump_clock: trio.testing.MockClock, merge: MergeStrategy | None
) -> None:
    steps = switched = 0
    finished = False
    while not finished:
        steps += STRIDE if steps < 500 else 7
        light = Light()
        begin = now()
        async with open_test_service(keepalive=False) as service:
            for dispatch in (
                lasting(1, begin, 10),
                lasting(2, begin, None),
                lasting(3, begin + 2, 0),
                lasting(4, begin + 4, 4),
            ):
                await service.put(dispatch)
            with trio.CancelScope() as scope:
                instrument = CancelAt(steps, scope)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await live(service, light, merge)
                    finished = not scope.cancel_called
                finally:
                    trio.lowlevel.remove_instrument(instrument)
        assert not light.on, f"still on after {steps} steps"
        switched = max(switched, light.switched)
        assert not [name for name in task_names() if "Light" in name]
    assert steps > 150
    assert switched == 4


def task_names() -> list[str]:
    """Return the names of all tasks of this run."""
    tasks = [trio.lowlevel.current_root_task()]
    for task in tasks:
        assert task is not None
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return sorted(task.name for task in tasks if task is not None)


@pytest.mark.parametrize("merged", [False, True])
async def test_a_thousand_actors_start_and_stop_in_a_second(
    autojump_clock: trio.testing.MockClock, service: LocalService, merged: bool
) -> None:
    alive: set[int] = set()
    most = ends = 0

    async def actor(run: ActorRun) -> None:
        nonlocal most, ends
        id_ = run.dispatch.id
        alive.add(id_)
        most = max(most, len(alive))
        try:
            await trio.sleep_forever()
        finally:
            with run.cleanup():
                await trio.lowlevel.checkpoint()
                alive.remove(id_)
                ends += 1

    merge = MergeByType() if merged else None
    for id_ in range(1000):
        await service.put(lasting(id_, 1, 1))
    async with acting(service, actor, merge=merge):
        pass
    await trio.testing.wait_all_tasks_blocked()
    before = task_names()
    async with acting(service, actor, merge=merge):
        await trio.sleep(1.5)
        assert most == len(alive) == (1 if merged else 1000)
        await trio.sleep(0.6)
        assert not alive
        assert ends == most
        assert not [name for name in task_names() if "actor for" in name]
    await trio.testing.wait_all_tasks_blocked()
    assert task_names() == before


INTERRUPTED = """
import sys
import trio
from trio_dispatch import TargetIds, open_dispatcher
from trio_dispatch.testing import open_test_service

async def charge(run):
    try:
        print(f"on {run.dispatch.id}", flush=True)
        while True:
            if sys.argv[1] == "busy":
                await trio.lowlevel.checkpoint()  # the signal may come while an actor is at work
            else:
                await trio.sleep_forever()
    finally:
        with run.cleanup():
            await trio.sleep(0.2)
            print(f"off {run.dispatch.id}", flush=True)

async def main():
    async with open_test_service() as service:
        for _ in range(3):
            await service.client.create(
                1, type="CHARGE", start_time="NOW", duration=None, target=TargetIds(1)
            )
        async with open_dispatcher(
            microgrid_id=1, channel=service.channel, key=service.key
        ) as dispatcher:
            await dispatcher.run_actors("CHARGE", charge)

trio.run(main)
"""


@pytest.mark.parametrize("how", ["idle", "busy"])
def test_ctrl_c_lets_actors_send_their_last_command(how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        try:
            on = [program.stdout.readline() for _ in range(3)]
            assert sorted(on) == ["on 1\n", "on 2\n", "on 3\n"]
            program.send_signal(signal.SIGINT)
            off = program.stdout.read().splitlines()
            errors = program.stderr.read()
            program.wait(timeout=20)
        finally:
            program.kill()
    assert sorted(off) == ["off 1", "off 2", "off 3"], errors
    assert "KeyboardInterrupt" in errors
    assert program.returncode in {-signal.SIGINT, 1}
