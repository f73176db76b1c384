"""Contenders that follow the dispatches of the C-core dispatch service."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.benchmarks.children import control, obey

MICROGRID, KEY = 1, "a-key"
QUIET = 5.0  # seconds


def url_of(port: int) -> str:
    return f"grpc://127.0.0.1:{port}?ssl=false"


# Ours.


def ours_sync(port: int, count: int) -> float:
    """Return the seconds until all dispatches are known."""
    import trio

    from trio_dispatch import open_dispatcher

    async def sync() -> float:
        began = time.perf_counter()
        async with open_dispatcher(
            microgrid_id=MICROGRID, server_url=url_of(port), key=KEY
        ) as dispatcher:
            took = time.perf_counter() - began
            assert len(dispatcher.dispatches) == count
        return took

    return trio.run(sync)


def ours_sync_each(port: int, count: int) -> float:
    """Return the microseconds for each dispatch of the first sync."""
    return ours_sync(port, count) / count * 1e6


def ours_burst(port: int, control_port: int, count: int, updates: int) -> dict[str, Any]:
    """Return the updates per second that a receiver gets during a burst."""
    import trio
    import trio.testing

    from trio_dispatch import Receiver, open_dispatcher

    async def receive(events: Receiver[Any], burst: Burst) -> None:
        burst.send()
        with trio.move_on_after(QUIET) as patience:
            async for event in events:
                patience.deadline = trio.current_time() + QUIET
                if burst.received(event.dispatch):
                    return

    async def run() -> dict[str, Any]:
        counts = control(control_port, "counts")
        async with open_dispatcher(
            microgrid_id=MICROGRID, server_url=url_of(port), key=KEY
        ) as dispatcher:
            assert len(dispatcher.dispatches) == count
            await trio.to_thread.run_sync(until_more, control_port, "streams", counts)
            events = dispatcher.lifecycle_events.new_receiver()
            # The first event shows that the stream is established, which a small probe confirms.
            await receive(events, Burst(control_port, 1))
            await trio.testing.wait_all_tasks_blocked(0.5)
            burst = Burst(control_port, updates)
            await receive(events, burst)
        return burst.result()

    return trio.run(run)


def until_more(control_port: int, what: str, counts: dict[str, int]) -> None:
    """Wait until the server has counted more of something."""
    control(control_port, "until", what=what, more_than=counts[what])


class Burst:
    """A burst of updates with serial numbers, and which of them were received."""

    def __init__(self, control_port: int, count: int) -> None:
        self._control_port = control_port
        self._count = count
        prepared = control(control_port, "prepare", count=count)
        self._first, self._last = prepared["first"], prepared["last"]
        self._seen: set[int] = set()
        self._began = self._latest = 0.0

    def send(self) -> None:
        self._began = time.perf_counter()
        control(self._control_port, "burst")

    def received(self, dispatch: Any) -> bool:
        """Whether all have been received.  They may arrive in another order."""
        serial = int(dispatch.payload.get("serial", 0))
        if self._first <= serial:
            self._latest = time.perf_counter()
            self._seen.add(serial)
        return len(self._seen) == self._count

    def result(self) -> dict[str, Any]:
        """Return the rate, and the number of lost updates."""
        rate = len(self._seen) / (self._latest - self._began)
        return {"value": rate, "lost": self._count - len(self._seen)}


def ours_memory(port: int, count: int) -> dict[str, Any]:
    """Return the MiB of a process that knows all dispatches."""
    import trio

    from trio_dispatch import open_dispatcher

    async def sync() -> dict[str, Any]:
        before = resident("VmRSS")
        async with open_dispatcher(
            microgrid_id=MICROGRID, server_url=url_of(port), key=KEY
        ) as dispatcher:
            assert len(dispatcher.dispatches) == count
            await trio.sleep(1)
            after = resident("VmRSS")
        return {
            "value": after / 2**20,
            "before": before / 2**20,
            "peak": resident("VmHWM") / 2**20,
            "each": (after - before) / count,
        }

    return trio.run(sync)


def resident(what: str) -> int:
    """Return the bytes of memory that this process uses, or its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(what)


# frequenz-dispatch.


def frequenz_sync(port: int) -> float:
    """Return the seconds until it reports that it is initialised."""
    from frequenz.client.common.microgrid import MicrogridId
    from frequenz.dispatch import Dispatcher

    async def sync() -> float:
        began = time.perf_counter()
        async with Dispatcher(
            microgrid_id=MicrogridId(MICROGRID), server_url=url_of(port), auth_key=KEY
        ) as dispatcher:
            await dispatcher.wait_for_initialization()
            return time.perf_counter() - began

    return asyncio.run(sync())


def frequenz_burst(port: int, control_port: int, updates: int) -> dict[str, Any]:
    """Like `ours_burst`.  This dispatcher opens the stream after it has read the list."""
    from frequenz.client.common.microgrid import MicrogridId
    from frequenz.dispatch import Dispatcher

    async def receive(events: Any, burst: Burst) -> None:
        burst.send()
        with suppress(TimeoutError):
            while True:
                event = await asyncio.wait_for(events.receive(), QUIET)
                if burst.received(event.dispatch):
                    return

    async def run() -> dict[str, Any]:
        counts = control(control_port, "counts")
        # It is not closed: after a burst, that does not end.
        dispatcher = Dispatcher(
            microgrid_id=MicrogridId(MICROGRID), server_url=url_of(port), auth_key=KEY
        )
        dispatcher.start()
        await dispatcher.wait_for_initialization()
        await asyncio.to_thread(until_more, control_port, "streams", counts)
        events = dispatcher.new_lifecycle_events_receiver("CHARGE")
        await receive(events, Burst(control_port, 1))
        burst = Burst(control_port, updates)
        await receive(events, burst)
        return burst.result()

    return asyncio.run(run())


if __name__ == "__main__":
    obey(ours_sync, ours_sync_each, ours_burst, ours_memory, frequenz_sync, frequenz_burst)
