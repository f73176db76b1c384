"""Two batteries, one actor for each: targets respected, dry runs visible, safe to stop.

``components.toml`` says which batteries this program controls.  Dispatches for other components are
ignored, and a target by category, like "all batteries", is resolved.  If several dispatches are for
one battery, the one with the highest ``priority`` in its payload drives it.  A dry run is printed,
and moves nothing.  SIGTERM and Ctrl-C stop both batteries before the program ends.

Set the address of the service, and run the program::

    export DISPATCH_API_URL='grpc://localhost:50051?ssl=false' DISPATCH_API_AUTH_KEY=secret
    python two_batteries.py
"""

from __future__ import annotations

import logging
import tomllib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

import trio_dispatch
from trio_dispatch import (
    ActorRun,
    BatteryType,
    Dispatch,
    MergeByComponent,
    TargetIds,
    open_dispatcher,
)
from trio_dispatch.grpc import Channel

COMPONENTS = Path(__file__).with_name("components.toml")


@dataclass(frozen=True)
class Setting:
    """The payload of a CHARGE dispatch."""

    power_kw: float
    priority: float = 0.0

    @classmethod
    def parse(cls, payload: dict[str, Any]) -> Setting:
        """Parse a payload; an exception rejects the dispatch."""
        setting = cls(**payload)
        if not -100 <= setting.power_kw <= 100:
            raise ValueError(f"power_kw {setting.power_kw} is not from -100 to 100")
        return setting


class Battery:
    """A simulated battery.  Put your own in its place."""

    def __init__(self, id: int, max_power_kw: float) -> None:
        self.id = id
        self.max_power_kw = max_power_kw

    async def set_power(self, power_kw: float) -> None:
        power_kw = min(max(power_kw, -self.max_power_kw), self.max_power_kw)
        await trio.sleep(0.1)  # the battery takes a moment
        print(f"battery {self.id}: {power_kw:g} kW")


async def charge(batteries: dict[int, Battery], run: ActorRun[Setting]) -> None:
    """The actor of one battery: sets the power, and sets it back when no dispatch is left."""
    battery = batteries[run.component]
    if run.dry_run:
        print(f"battery {battery.id}: dry run, would be {run.payload.power_kw:g} kW")
        return
    try:
        async for _ in run.changes:
            await battery.set_power(run.payload.power_kw)
    finally:
        with run.cleanup():
            await battery.set_power(0)


async def switch_off(batteries: dict[int, Battery], orphan: Dispatch) -> None:
    """Stop what was still on when the last process crashed."""
    assert isinstance(orphan.target, TargetIds)  # MergeByComponent resolves it
    for id_ in orphan.target:
        await batteries[id_].set_power(0)


def priority(dispatch: Dispatch) -> float:
    """The priority of a dispatch, 0 by default."""
    value = dispatch.payload.get("priority")
    return value if isinstance(value, float) else 0.0


async def main(channel: Channel | None = None, key: str | None = None) -> None:
    config = tomllib.loads(COMPONENTS.read_text())["battery"]
    components = {each["id"]: BatteryType[each["type"]] for each in config}
    batteries = {each["id"]: Battery(each["id"], each["max_power_kw"]) for each in config}
    async with open_dispatcher(
        1, channel=channel, key=key, cache="two_batteries.cache"
    ) as dispatcher:
        await dispatcher.run_actors(
            "CHARGE",
            partial(charge, batteries),
            payload=Setting.parse,
            dry_runs=True,
            merge=MergeByComponent(components),
            priority=priority,
            on_orphan=partial(switch_off, batteries),
        )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    trio_dispatch.run(main)
