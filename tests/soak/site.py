"""A dispatcher of a soak with its batteries, stopped or killed now and then and started again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import trio
import trio.testing

from tests.helpers.killing import Machine, Reachable
from tests.helpers.witness import Notes, Witness, watch_actor, watch_statuses
from trio_dispatch import ActorRun, Dispatch, Dispatcher, clock

__all__ = ["Batteries", "Site", "act"]

PROBE_INTERVAL, RESYNC_INTERVAL = timedelta(minutes=1), timedelta(minutes=15)
"""Longer than by default: otherwise most of the time goes into decoding the same lists again."""


class Batteries:
    """What the actors of a dispatcher switch on and off, for each dispatch.

    Attributes:
      on: What is on, with the process that switched it on.
      started, stopped: How often something was switched on and off.
    """

    def __init__(self, complain: Callable[[str], None]) -> None:
        self.on: dict[int, int] = {}
        self.started = self.stopped = 0
        self._complain = complain

    def switch_on(self, process: int, id_: int) -> None:
        """An actor starts."""
        if self.on.get(id_) == process:
            self._complain(f"two actors at a time for dispatch {id_}")
        self.on[id_] = process
        self.started += 1

    def switch_off(self, process: int, id_: int) -> None:
        """An actor ends."""
        if self.on.get(id_) != process:
            self._complain(f"an actor stops dispatch {id_}, which is not on")
        else:
            del self.on[id_]
        self.stopped += 1


async def act(notes: Notes, process: int, rng: random.Random, run: ActorRun) -> None:
    """Note what an actor sees; sometimes fail, or return early."""
    how = rng.choice(["over", "failed", *[""] * 18])
    seconds = rng.uniform(0, 300) if how else 10**9
    await watch_actor(notes, process, run, how=how, seconds=seconds)


@dataclass
class Counts:
    """What the dispatchers that have ended have counted."""

    announced: int = 0
    missed: int = 0
    delivered: int = 0
    lost: int = 0
    stale_streams: int = 0
    reconnects: int = 0
    probes: int = 0

    def add(self, dispatcher: Dispatcher) -> None:
        """Add the counters of a dispatcher."""
        counters = dispatcher.statistics()
        self.announced += counters.announced
        self.missed += counters.missed
        self.delivered += counters.reports_delivered
        self.lost = max(self.lost, counters.reports_lost)
        self.stale_streams += counters.stale_streams
        self.reconnects += counters.reconnects
        self.probes += counters.probes


class Site:
    """A dispatcher with a name and files, of which one process after the other runs.

    Args:
      kept: How long the service keeps a run that has ended.

    Attributes:
      name: Its name.
      microgrid_id: Its microgrid.
      witness: What its processes saw.
      batteries: What its actors drive.
      dispatcher: The present dispatcher; None between two processes.
      up_since: When the present process was ready.
      kills, restarts: How often a process was killed, or stopped.
    """

    def __init__(
        self,
        service: Reachable,
        folder: Path,
        name: str,
        microgrid_id: int,
        rng: random.Random,
        complain: Callable[[str], None],
        *,
        kept: timedelta,
    ) -> None:
        folder.mkdir()
        self.name = name
        self.microgrid_id = microgrid_id
        self.witness = Witness(kept=kept)
        self.batteries = Batteries(lambda text: complain(f"{name}: {text}"))
        self.dispatcher: Dispatcher | None = None
        self.up_since: datetime | None = None
        self.kills = self.restarts = 0
        self._counts = Counts()
        self._complain = complain
        self._rng = rng
        self._machine = Machine(service, folder, microgrid_id=microgrid_id, keepalive_interval=60.0)
        self._closing = trio.Event()

    @property
    def counts(self) -> Counts:
        """What all processes so far have counted."""
        counts = Counts(**vars(self._counts))
        if self.dispatcher is not None:
            counts.add(self.dispatcher)
        return counts

    def close(self) -> None:
        """Let the present process end, and start no other."""
        self._closing.set()

    async def run(self, lasts: float, down: float) -> None:
        """Run processes until closed.

        Args:
          lasts: How long a process lasts on average.
          down: How long it takes at most until the next one starts.
        """
        rng = self._rng
        while not self._closing.is_set():
            await self._live(trio.current_time() + rng.expovariate(1 / lasts))
            if not self._closing.is_set():
                await trio.sleep(rng.choice([0, rng.uniform(0, down)]))

    async def _live(self, deadline: float) -> None:
        """Run a process until a moment of Trio's clock, or until this is closed."""
        process = self.witness.process
        killed = self._rng.random() < 0.7
        async with (
            self._machine.process(
                name=self.name, probe_interval=PROBE_INTERVAL, resync_interval=RESYNC_INTERVAL
            ) as dispatcher,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(watch_statuses, self.witness, process, dispatcher)
            nursery.start_soon(
                partial(
                    dispatcher.run_actors,
                    "CHARGE",
                    partial(self._drive, process),
                    on_orphan=partial(self._stop_orphan, process),
                )
            )
            self.dispatcher, self.up_since = dispatcher, clock.now()
            with trio.move_on_at(deadline):
                await self._closing.wait()
            if self._closing.is_set():
                killed = False
            if killed:
                await self._machine.kill()
                self.witness.kill(clock.now())
                self.kills += 1
            else:
                # Otherwise what is announced at the end may not be seen.
                await trio.testing.wait_all_tasks_blocked()
                self.restarts += 1
            self._counts.add(dispatcher)
            self.dispatcher = self.up_since = None
            nursery.cancel_scope.cancel()

    async def _drive(self, process: int, run: ActorRun) -> None:
        id_ = run.dispatch.id
        self._switch(process, id_, on=True)
        try:
            await act(self.witness, process, self._rng, run)
        finally:
            with run.cleanup():
                await trio.lowlevel.checkpoint()
            self._switch(process, id_, on=False)

    async def _stop_orphan(self, process: int, dispatch: Dispatch) -> None:
        await trio.lowlevel.checkpoint()
        if dispatch.id in self.batteries.on:
            self.batteries.on[dispatch.id] = process
            self._switch(process, dispatch.id, on=False)

    def _switch(self, process: int, id_: int, *, on: bool) -> None:
        if process != self.witness.process:
            return  # it was killed
        if on:
            self.batteries.switch_on(process, id_)
        else:
            self.batteries.switch_off(process, id_)
