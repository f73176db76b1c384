"""A merge strategy of one's own: chargers on the same feeder share an actor.

Each feeder has one limit at a time, whatever dispatches there are for the chargers on it: the one
that started last counts.  Say where the service is, and run it::

    export DISPATCH_API_URL='grpc://localhost:50051?ssl=false' DISPATCH_API_AUTH_KEY=secret
    python merge_strategy.py
"""

from __future__ import annotations

from collections.abc import Hashable

import trio

from trio_dispatch import ActorRun, Dispatch, TargetIds, clock, open_dispatcher
from trio_dispatch.grpc import Channel

# Which charger hangs on which feeder.
FEEDERS = {11: "north", 12: "north", 21: "south", 22: "south"}


def feeders_of(dispatch: Dispatch) -> frozenset[str]:
    if not isinstance(dispatch.target, TargetIds):
        return frozenset(FEEDERS.values())
    return frozenset(FEEDERS[id_] for id_ in dispatch.target)


class MergeByFeeder:
    """Dispatches for the same feeders share an actor; dry runs have one of their own."""

    def identity(self, dispatch: Dispatch) -> Hashable:
        return feeders_of(dispatch), dispatch.dry_run


async def limit(run: ActorRun) -> None:
    """The actor: limits what the chargers on a feeder may draw together."""
    feeders = " and ".join(sorted(feeders_of(run.dispatch)))
    try:
        async for dispatch in run.changes:
            print(f"{clock.now():%H:%M} {feeders}: {dispatch.payload['limit_kw']:g} kW")
    finally:
        with run.cleanup():
            await trio.sleep(0.1)
            print(f"{clock.now():%H:%M} {feeders}: no limit")


async def main(channel: Channel | None = None, key: str | None = None) -> None:
    async with open_dispatcher(microgrid_id=1, channel=channel, key=key) as dispatcher:
        await dispatcher.run_actors("LIMIT", limit, merge=MergeByFeeder())


if __name__ == "__main__":
    trio.run(main)
