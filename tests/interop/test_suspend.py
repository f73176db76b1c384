"""A process that is suspended during a start and a stop, in real time."""

from __future__ import annotations

import signal
import sys

import trio

from tests.helpers.interop.peers import start, within

SCRIPT = """
import sys
from datetime import timedelta
import trio
from trio_dispatch import TargetIds, clock, open_dispatcher
from trio_dispatch.testing import make_dispatch, open_test_service

async def main(catch_up, length):
    async with (
        open_test_service() as service,
        open_dispatcher(
            microgrid_id=1, channel=service.channel, key=service.key,
            catch_up=timedelta(seconds=catch_up),
        ) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        async def tell(channel, what):
            with channel.new_receiver() as receiver:
                async for message in receiver:
                    print(what(message), flush=True)

        nursery.start_soon(tell, dispatcher.missed_runs, lambda m: f"missed {m.dispatch.id}")
        nursery.start_soon(
            tell, dispatcher.running_status_change,
            lambda d: f"{d.running().name} {d.id}, message {dispatcher.statistics().announced}",
        )
        start = clock.now() + timedelta(seconds=1.5)
        await service.put(make_dispatch(1, start_time=start, duration=timedelta(seconds=length)))
        while 1 not in dispatcher.dispatches:
            await trio.sleep(0.01)
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(main, float(sys.argv[1]), float(sys.argv[2]))
"""


CASES = [
    # The run is over when the process goes on.  It was announced, late, and so was its end,
    # which is all that there is left to do.
    (60, 1, "STOPPED 1, message 2"),
    # Later than that it was missed.
    (1, 1, "missed 1"),
    # A run that goes on is announced however late it is.
    (1, 3600, "RUNNING 1, message 1"),
]


@within(60)
async def test_suspended_over_a_start_and_a_stop() -> None:
    async with trio.open_nursery() as nursery:
        for case in CASES:
            nursery.start_soon(suspend, *case)


async def suspend(catch_up: float, length: float, told: str) -> None:
    async with start(sys.executable, "-c", SCRIPT, str(catch_up), str(length)) as process:
        assert await process.line() == "ready"
        process.send_signal(signal.SIGSTOP)
        await trio.sleep(4)
        process.send_signal(signal.SIGCONT)
        assert await process.line() == told
