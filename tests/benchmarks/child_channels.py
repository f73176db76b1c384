"""Contenders that deliver each message to a hundred receivers, each in its own task."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from tests.benchmarks.children import obey

RECEIVERS = 100
SECONDS = 0.5


def ours_receive(burst: int) -> float:
    return _ours(burst, batches=False)


def ours_receive_batch(burst: int) -> float:
    return _ours(burst, batches=True)


def _ours(burst: int, *, batches: bool) -> float:
    """Return lifecycle events, each about a different dispatch."""
    import trio

    from trio_dispatch import Created, Receiver, open_dispatcher
    from trio_dispatch.testing import make_dispatch, open_test_service

    messages = [Created(make_dispatch(number)) for number in range(1, burst + 1)]

    async def run() -> float:
        async with (
            open_test_service() as service,
            open_dispatcher(microgrid_id=1, channel=service.channel, key=service.key) as dispatcher,
            trio.open_nursery() as nursery,
        ):
            gate = Gate(trio.Event)

            async def one_by_one(receiver: Receiver[Any]) -> None:
                async for _ in receiver:
                    gate.pass_on(1)

            async def in_batches(receiver: Receiver[Any]) -> None:
                while True:
                    gate.pass_on(len(await receiver.receive_batch()))

            for _ in range(RECEIVERS):
                receiver = dispatcher.lifecycle_events.new_receiver()
                nursery.start_soon(in_batches if batches else one_by_one, receiver)
            await trio.testing.wait_all_tasks_blocked()
            publish = dispatcher.lifecycle_events.publish
            began = time.perf_counter()
            while time.perf_counter() < began + SECONDS:
                gate.expect(RECEIVERS * burst)
                for message in messages:
                    publish(message)
                await gate.event.wait()
            took = time.perf_counter() - began
            nursery.cancel_scope.cancel()
        return gate.passed / took

    import trio.testing

    return trio.run(run)


def trio_channels(burst: int) -> float:
    """Use a memory channel for each receiver, as a plain Trio program would."""
    import trio
    import trio.testing

    async def run() -> float:
        async with trio.open_nursery() as nursery:
            gate = Gate(trio.Event)
            senders: list[trio.MemorySendChannel[object]] = []

            async def receive(channel: trio.MemoryReceiveChannel[object]) -> None:
                async for _ in channel:
                    gate.pass_on(1)

            for _ in range(RECEIVERS):
                send, channel = trio.open_memory_channel[object](math.inf)
                senders.append(send)
                nursery.start_soon(receive, channel)
            await trio.testing.wait_all_tasks_blocked()
            messages = [object() for _ in range(burst)]
            began = time.perf_counter()
            while time.perf_counter() < began + SECONDS:
                gate.expect(RECEIVERS * burst)
                for message in messages:
                    for send in senders:
                        send.send_nowait(message)
                await gate.event.wait()
            took = time.perf_counter() - began
            nursery.cancel_scope.cancel()
        return gate.passed / took

    return trio.run(run)


def frequenz_channels(burst: int) -> float:
    """Use the `Broadcast` of frequenz-channels."""
    from frequenz.channels import Broadcast

    async def run() -> float:
        channel = Broadcast[object](name="bench")
        gate = Gate(asyncio.Event)

        async def receive(receiver: Any) -> None:
            async for _ in receiver:
                gate.pass_on(1)

        tasks = [asyncio.create_task(receive(channel.new_receiver())) for _ in range(RECEIVERS)]
        await asyncio.sleep(0.1)
        sender = channel.new_sender()
        messages = [object() for _ in range(burst)]
        began = time.perf_counter()
        while time.perf_counter() < began + SECONDS:
            gate.expect(RECEIVERS * burst)
            for message in messages:
                await sender.send(message)
            await gate.event.wait()
        took = time.perf_counter() - began
        for task in tasks:
            task.cancel()
        return gate.passed / took

    return asyncio.run(run())


class Gate:
    """Signals when all receivers have received a whole burst."""

    def __init__(self, event: Any) -> None:
        self._make = event
        self.passed = 0
        self._left = 0
        self.event = event()

    def expect(self, count: int) -> None:
        self._left = count
        self.event = self._make()

    def pass_on(self, count: int) -> None:
        self.passed += count
        self._left -= count
        if not self._left:
            self.event.set()


if __name__ == "__main__":
    obey(ours_receive, ours_receive_batch, trio_channels, frequenz_channels)
