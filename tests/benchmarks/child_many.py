"""Contenders that follow many microgrids in one process."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.benchmarks.child_sync import KEY, resident, url_of
from tests.benchmarks.children import obey


def ours_many(port: int, microgrids: int, each: int) -> dict[str, Any]:
    """Return the seconds until the dispatches of all microgrids are known."""
    import trio

    from trio_dispatch import Dispatcher, open_dispatcher
    from trio_dispatch.grpc import Channel, open_channel

    async def follow(
        microgrid_id: int,
        channel: Channel,
        task_status: trio.TaskStatus[Dispatcher] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with open_dispatcher(microgrid_id, channel=channel, key=KEY) as dispatcher:
            task_status.started(dispatcher)
            await trio.sleep_forever()

    async def open_one(nursery: trio.Nursery, microgrid_id: int, channel: Channel) -> None:
        dispatcher = await nursery.start(follow, microgrid_id, channel)
        assert len(dispatcher.dispatches) == each

    async def run() -> dict[str, Any]:
        before = resident("VmRSS")
        began = time.perf_counter()
        async with open_channel(url_of(port)) as channel, trio.open_nursery() as nursery:
            async with trio.open_nursery() as opening:
                for microgrid_id in range(1, microgrids + 1):
                    opening.start_soon(open_one, nursery, microgrid_id, channel)
            took = time.perf_counter() - began
            used = resident("VmRSS") - before
            nursery.cancel_scope.cancel()
        return {"value": took, "kib": used / 1024 / microgrids}

    return trio.run(run)


def frequenz_many(port: int, microgrids: int, each: int) -> dict[str, Any]:
    """Do the same with a dispatcher for each microgrid."""
    from frequenz.client.common.microgrid import MicrogridId
    from frequenz.dispatch import Dispatcher

    async def run() -> dict[str, Any]:
        before = resident("VmRSS")
        began = time.perf_counter()
        dispatchers = [
            Dispatcher(microgrid_id=MicrogridId(number), server_url=url_of(port), auth_key=KEY)
            for number in range(1, microgrids + 1)
        ]
        for dispatcher in dispatchers:
            dispatcher.start()
        for dispatcher in dispatchers:
            await dispatcher.wait_for_initialization()
        took = time.perf_counter() - began
        return {"value": took, "kib": (resident("VmRSS") - before) / 1024 / microgrids}

    # Nothing is cancelled and closed: with many dispatchers, that does not end.
    return asyncio.new_event_loop().run_until_complete(run())


if __name__ == "__main__":
    obey(ours_many, frequenz_many)
