"""A merge strategy of your own: chargers on the same feeder share an actor.

Each feeder has one limit at a time, whichever of its chargers the dispatches are for: the limit
that started last.  Dry runs are not executed.  Set the address of the service, and run the
program::

    export DISPATCH_API_URL='grpc://localhost:50051?ssl=false' DISPATCH_API_AUTH_KEY=secret
    python merge_strategy.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

import trio_dispatch
from trio_dispatch import ActorRun, Dispatch, TargetIds, clock, open_dispatcher
from trio_dispatch.grpc import Channel

# The feeder of each charger.
FEEDERS = {11: "north", 12: "north", 21: "south", 22: "south"}


@dataclass(frozen=True)
class Feeder:
    """The identity of the dispatches for chargers on one feeder."""

    name: str


class MergeByFeeder:
    """One actor for each feeder."""

    def identities(self, dispatch: Dispatch) -> set[Feeder]:
        chargers = dispatch.target if isinstance(dispatch.target, TargetIds) else FEEDERS
        return {Feeder(FEEDERS[id_]) for id_ in chargers}


def limit_of(payload: dict[str, Any]) -> float:
    """Parse a payload: the limit in kW."""
    return float(payload["limit_kw"])


async def limit(run: ActorRun[float]) -> None:
    """The actor: limits the power of all chargers on a feeder together."""
    assert isinstance(run.identity, Feeder)
    feeder = run.identity.name
    try:
        async for _ in run.changes:
            print(f"{clock.now():%H:%M} {feeder}: {run.payload:g} kW")
    finally:
        with run.cleanup():
            await trio.sleep(0.1)
            print(f"{clock.now():%H:%M} {feeder}: no limit")


async def main(channel: Channel | None = None, key: str | None = None) -> None:
    async with open_dispatcher(1, channel=channel, key=key) as dispatcher:
        await dispatcher.run_actors("LIMIT", limit, payload=limit_of, merge=MergeByFeeder())


if __name__ == "__main__":
    trio_dispatch.run(main)
