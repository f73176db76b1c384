"""Benchmark of the lateness of a thousand dispatches that start in the same second."""

from __future__ import annotations

import statistics
from datetime import timedelta

import trio

from trio_dispatch import Dispatch, clock, open_dispatcher
from trio_dispatch.testing import make_dispatch, open_test_service

COUNT = 1_000
SECOND = timedelta(seconds=1)


async def measure() -> list[float]:
    """Return the seconds from each start until a receiver has its message."""
    late: list[float] = []
    async with (
        open_test_service() as service,
        open_dispatcher(microgrid_id=1, channel=service.channel, key=service.key) as dispatcher,
    ):
        start = clock.now().replace(microsecond=0) + 8 * SECOND
        for number in range(COUNT):
            moment = start + number * SECOND / COUNT
            await service.put(make_dispatch(number, start_time=moment))
        with dispatcher.running_status_change.new_receiver() as status:
            while len(late) < COUNT:
                message: Dispatch = await status.receive()
                late.append((clock.now() - message.start_time).total_seconds())
    return late


def main() -> None:
    """Print the median, the 99th percentile and the worst."""
    late = sorted(trio.run(measure))
    middle, worst = statistics.median(late), late[-1]
    print("| dispatches in a second | median | 99th percentile | worst |")
    print("| --- | --- | --- | --- |")
    print(
        f"| {COUNT:,} | {middle * 1e3:.1f} ms | {late[COUNT * 99 // 100] * 1e3:.1f} ms "
        f"| {worst * 1e3:.1f} ms |"
    )


if __name__ == "__main__":
    main()
