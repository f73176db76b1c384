"""A merge strategy of your own: chargers on the same feeder share an actor.

Each feeder has one limit at a time, whichever of its chargers the dispatches are for: the one that
started last counts.  Say where the service is, and run the program::

    export DISPATCH_API_URL='grpc://localhost:50051?ssl=false' DISPATCH_API_AUTH_KEY=secret
    python merge_strategy.py
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from trio_dispatch import ActorRun, Dispatch, TargetIds, clock, open_dispatcher
from trio_dispatch.grpc import Channel

# The feeder of each charger.
FEEDERS = {11: "north", 12: "north", 21: "south", 22: "south"}


@dataclass(frozen=True)
class Feeder:
    name: str
    dry_run: bool


class MergeByFeeder:
    """One actor for each feeder, and another one for its dry runs."""

    def identities(self, dispatch: Dispatch) -> set[Feeder]:
        chargers = dispatch.target if isinstance(dispatch.target, TargetIds) else FEEDERS
        return {Feeder(FEEDERS[id_], dispatch.dry_run) for id_ in chargers}


async def limit(run: ActorRun) -> None:
    """The actor: limits what the chargers on a feeder may draw together."""
    assert isinstance(run.identity, Feeder)
    feeder = run.identity.name
    try:
        async for dispatch in run.changes:
            print(f"{clock.now():%H:%M} {feeder}: {dispatch.payload['limit_kw']:g} kW")
    finally:
        with run.cleanup():
            await trio.sleep(0.1)
            print(f"{clock.now():%H:%M} {feeder}: no limit")


async def main(channel: Channel | None = None, key: str | None = None) -> None:
    async with open_dispatcher(microgrid_id=1, channel=channel, key=key) as dispatcher:
        await dispatcher.run_actors("LIMIT", limit, merge=MergeByFeeder())


if __name__ == "__main__":
    trio.run(main)
