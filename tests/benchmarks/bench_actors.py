"""Benchmark of actors: the cost of an update, with an actor for each of many components.

python -m tests.benchmarks.bench_actors [COMPONENTS DISPATCHES]
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import trio
import trio.testing

from trio_dispatch import (
    ActorRun,
    Dispatch,
    ElectricalComponentCategory,
    MergeByComponent,
    TargetCategories,
    TargetIds,
    clock,
)
from trio_dispatch.actors.messages import HandedOver
from trio_dispatch.actors.options import ActorOptions, unparsed
from trio_dispatch.actors.registry import ActorRegistry
from trio_dispatch.actors.supervisor import serve_actors
from trio_dispatch.dispatcher.cache import NoCache
from trio_dispatch.dispatcher.channels import status_channel
from trio_dispatch.model.arbitration import equal_priority
from trio_dispatch.testing import make_dispatch

BATTERY = ElectricalComponentCategory.BATTERY
MINUTE = timedelta(minutes=1)


async def measure(components: int, count: int) -> None:
    """Print the rows of the table."""
    rng = random.Random(1)
    started = clock.now() - 10 * MINUTE
    seen = 0

    async def actor(run: ActorRun) -> None:
        nonlocal seen
        async for _ in run.changes:
            seen += 1

    def make(id_: int) -> Dispatch:
        return make_dispatch(
            id_,
            start_time=started,
            duration=None,
            target=TargetIds(*rng.sample(range(components), 2)),
        )

    options = ActorOptions(
        microgrid_id=1,
        types=frozenset({"CHARGE"}),
        actor=actor,
        parse=unparsed,
        on_invalid="keep",
        targets=None,
        dry_runs=False,
        merge=MergeByComponent(dict.fromkeys(range(components), BATTERY)),
        priority=equal_priority,
        grace=timedelta(seconds=10),
        on_error="restart",
        on_orphan=None,
    )
    statuses = status_channel(lambda _: ())
    receiver = statuses.new_receiver(type="CHARGE")
    dispatches = [make(id_) for id_ in range(1, count + 1)]
    everything = replace(
        make(count + 1), start_time=started + MINUTE, target=TargetCategories(BATTERY)
    )
    for dispatch in [*dispatches, everything]:
        statuses.publish(dispatch.sent_for(clock.now()))

    async def cost(name: str, choose: Callable[[], Dispatch], updates: int) -> None:
        nonlocal seen
        messages = [replace(choose(), payload={"power": float(n)}) for n in range(updates)]
        seen, spent = 0, 0
        for message in messages:
            began = time.process_time_ns()
            statuses.publish(message.sent_for(clock.now()))
            await trio.testing.wait_all_tasks_blocked()
            spent += time.process_time_ns() - began
        each = spent / updates / 1e3
        print(f"| {name} | {seen / updates:.0f} | {each:,.0f} µs |", flush=True)

    print("| updated | actors that are shown it | an update |")
    print("| --- | --- | --- |")
    async with trio.open_nursery() as nursery:
        serve = partial(serve_actors, options, receiver, ActorRegistry(), NoCache())
        await nursery.start(serve, HandedOver([], []))
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        gc.freeze()
        await cost("2 components, not driving", lambda: rng.choice(dispatches), 2000)
        await cost("all components, driving", lambda: everything, 200)
        nursery.cancel_scope.cancel()


def main() -> None:
    """Print the table."""
    components, dispatches = map(int, sys.argv[1:] or (200, 10_000))
    trio.run(measure, components, dispatches)


if __name__ == "__main__":
    main()
