"""A battery that follows a charging plan.

The dispatch service stores the plan: charge at night, charge at noon when the sun shines, and
discharge in the evening.  The battery here is simulated; put your own in its place.  Set the
address of the service, and run the program::

    export DISPATCH_API_URL='grpc://localhost:50051?ssl=false' DISPATCH_API_AUTH_KEY=secret
    python charging_plan.py
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any

import trio

import trio_dispatch
from trio_dispatch import (
    ActorRun,
    DispatchClient,
    ElectricalComponentCategory,
    Frequency,
    MergeByComponent,
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

    It refuses more power than its inverter has.  It stops charging when it is full, and discharging
    when it is empty.
    """

    def __init__(self, id: int, *, capacity: float, max_power: float, energy: float) -> None:
        self.id = id
        self.capacity = capacity
        self.max_power = max_power
        self.efficiency = 0.95  # the share of the charged energy that is stored
        self._power = 0.0
        self._energy = energy
        self._as_of = trio.current_time()

    @property
    def energy(self) -> float:
        """The stored energy now."""
        hours = (trio.current_time() - self._as_of) / HOUR
        gain = self._power * hours * (self.efficiency if self._power > 0 else 1)
        return min(max(self._energy + gain, 0.0), self.capacity)

    @property
    def state_of_charge(self) -> float:
        """How full it is, from 0 to 1."""
        return self.energy / self.capacity

    @property
    def power(self) -> float:
        """The power now: the set-point, or 0 when the battery is full or empty."""
        if self._power > 0:
            return self._power if self.energy < self.capacity else 0.0
        return self._power if self.energy > 0 else 0.0

    async def set_power(self, power: float) -> None:
        """Set the power, which takes effect after a moment."""
        if abs(power) > self.max_power:
            raise ValueError(f"battery {self.id} has {self.max_power} kW, not {power}")
        await trio.sleep(0.2)
        self._energy, self._as_of = self.energy, trio.current_time()
        self._power = power


def power_of(payload: dict[str, Any]) -> float:
    """Parse a payload: the power in kW."""
    return float(payload["power_kw"])


async def follow(batteries: dict[int, Battery], run: ActorRun[float]) -> None:
    """The actor of one battery: sets the power of the dispatch, and sets it back at its end."""
    battery = batteries[run.component]
    if run.dry_run:
        report(f"dry run, {described(run)}", battery)
        return
    try:
        async for _ in run.changes:
            await battery.set_power(run.payload)
            report(described(run), battery)
    finally:
        with run.cleanup():
            await battery.set_power(0)
            report("off", battery)


def described(run: ActorRun[float]) -> str:
    until = f"until {run.until:%H:%M}" if run.until else "without end"
    return f"{run.payload:+g} kW {until}"


def report(what: str, battery: Battery) -> None:
    full = f"{battery.state_of_charge:.0%}"
    print(f"{clock.now():%H:%M:%S} battery {battery.id} at {full}: {what}")


PLAN = [
    (time(2), timedelta(hours=3), +10.0),
    (time(11), timedelta(hours=4), +5.0),
    (time(18), timedelta(hours=3), -12.0),
]


async def make_plan(client: DispatchClient) -> None:
    """Store the plan, unless the service has one."""
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
    async with open_dispatcher(MICROGRID, channel=channel, key=key) as dispatcher:
        await make_plan(dispatcher.client)
        await dispatcher.run_actors(
            "CHARGE",
            partial(follow, batteries),
            payload=power_of,
            dry_runs=True,
            merge=MergeByComponent(dict.fromkeys(batteries, ElectricalComponentCategory.BATTERY)),
        )


if __name__ == "__main__":
    trio_dispatch.run(main)
