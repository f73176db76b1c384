"""A battery that follows a charging plan.

The plan is kept by the dispatch service: charge at night, and at noon when the sun shines, and feed
the evening.  The battery here is a simulated one; put your own in its place.  Say where the service
is, and run it::

    export DISPATCH_API_URL='grpc://localhost:50051?ssl=false' DISPATCH_API_AUTH_KEY=secret
    python charging_plan.py
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from functools import partial

import trio

from trio_dispatch import (
    ActorRun,
    DispatchClient,
    Frequency,
    MergeByTypeTarget,
    RecurrenceRule,
    TargetIds,
    clock,
    open_dispatcher,
)
from trio_dispatch.grpc import Channel

MICROGRID = 1
HOUR = 3600.0  # in seconds


class Battery:
    """A simulated battery.  Power is in kW, positive to charge; energy is in kWh.

    It refuses what its inverter cannot do, and of itself stops charging when it is full and
    discharging when it is empty.
    """

    def __init__(self, id: int, *, capacity: float, max_power: float, energy: float) -> None:
        self.id = id
        self.capacity = capacity
        self.max_power = max_power
        self.efficiency = 0.95  # of what is charged, so much arrives
        self._power = 0.0
        self._energy = energy
        self._as_of = trio.current_time()

    @property
    def energy(self) -> float:
        """What is in it now."""
        hours = (trio.current_time() - self._as_of) / HOUR
        gain = self._power * hours * (self.efficiency if self._power > 0 else 1)
        return min(max(self._energy + gain, 0.0), self.capacity)

    @property
    def state_of_charge(self) -> float:
        """How full it is, from 0 to 1."""
        return self.energy / self.capacity

    @property
    def power(self) -> float:
        """What flows now, which is less than the set-point when it is full or empty."""
        if self._power > 0:
            return self._power if self.energy < self.capacity else 0.0
        return self._power if self.energy > 0 else 0.0

    async def set_power(self, power: float) -> None:
        """Give it a set-point, which takes effect after a moment."""
        if abs(power) > self.max_power:
            raise ValueError(f"battery {self.id} can do {self.max_power} kW, not {power}")
        await trio.sleep(0.2)
        self._energy, self._as_of = self.energy, trio.current_time()
        self._power = power


async def follow(batteries: dict[int, Battery], run: ActorRun) -> None:
    """The actor: sets the power that a dispatch says, and takes it back when that ends."""
    # Dispatches for the same target share an actor, so it is the same all along.
    target = run.target if isinstance(run.target, TargetIds) else batteries
    mine = [batteries[id_] for id_ in target]
    if run.dry_run:
        report(f"dry run, {said(run)}", mine)
        return
    try:
        async for dispatch in run.changes:
            for battery in mine:
                await battery.set_power(dispatch.payload["power_kw"])
            report(said(run), mine)
    finally:
        with run.cleanup():
            for battery in mine:
                await battery.set_power(0)
            report("nothing", mine)


def said(run: ActorRun) -> str:
    until = f"until {run.until:%H:%M}" if run.until else "for ever"
    return f"{run.payload['power_kw']:+g} kW {until}"


def report(what: str, batteries: Iterable[Battery]) -> None:
    for battery in batteries:
        full = f"{battery.state_of_charge:.0%}"
        print(f"{clock.now():%H:%M:%S} battery {battery.id} at {full}: {what}")


PLAN = [
    (time(2), timedelta(hours=3), +10.0),
    (time(11), timedelta(hours=4), +5.0),
    (time(18), timedelta(hours=3), -12.0),
]


async def make_plan(client: DispatchClient) -> None:
    """Have the service keep the plan, unless it keeps one already."""
    async for page in client.list(MICROGRID):
        if any(dispatch.type == "CHARGE" for dispatch in page.dispatches):
            return
    tomorrow = clock.now().date() + timedelta(days=1)
    for begin, duration, power in PLAN:
        await client.create(
            MICROGRID,
            type="CHARGE",
            start_time=datetime.combine(tomorrow, begin, UTC),
            duration=duration,
            target=TargetIds(1),
            payload={"power_kw": power},
            recurrence=RecurrenceRule(Frequency.DAILY),
        )


async def main(channel: Channel | None = None, key: str | None = None) -> None:
    batteries = {1: Battery(1, capacity=40.0, max_power=15.0, energy=8.0)}
    async with open_dispatcher(microgrid_id=MICROGRID, channel=channel, key=key) as dispatcher:
        await make_plan(dispatcher.client)
        follow_batteries = partial(follow, batteries)
        await dispatcher.run_actors(
            "CHARGE", follow_batteries, merge=MergeByTypeTarget(), dry_runs=True
        )


if __name__ == "__main__":
    trio.run(main)
