"""Benchmark of many dispatchers over one channel: start-up, size, and an outage of the service.

The service runs in another process, on a loopback socket: ``trio-dispatch serve`` with SQLite and a
dispatch for each microgrid, and a C-core server that allows 100 streams on a connection.  Once all
dispatchers are live, the service is killed and started again.  Calls are counted when their request
is sent on a connection, and the peak is taken over any second after the service was back.

    python tests/benchmarks/bench_many.py [--count N] [--outage SECONDS]
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, NamedTuple

import trio

from trio_dispatch import Dispatcher, SyncPhase, TargetIds, open_client, open_dispatcher
from trio_dispatch.grpc import Channel, open_channel

ROOT = Path(__file__).parents[2]
OURS = Path(sys.executable).with_name("trio-dispatch")
PEERS = [ROOT / name / "bin" / "python" for name in (".venv-bench", ".venv-interop")]
KEY = "bench"
MAX_STREAMS = 100
PATIENCE = 300.0  # seconds


class Row(NamedTuple):
    """One line of the table."""

    service: str
    first_live: float
    first_peak: int
    connections: int
    memory: float
    tasks: float
    live_again: float
    peak: int


@asynccontextmanager
async def running(command: Sequence[str]) -> AsyncIterator[trio.Process]:
    """Run a service from its first line of output until it is killed."""
    process = await trio.lowlevel.open_process(
        command, stdin=None, stdout=PIPE, stderr=DEVNULL, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        if not await process.stdout.receive_some():
            raise RuntimeError(f"{command[0]} has ended")
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


class Calls:
    """Counts the calls on a channel over time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._samples: list[tuple[float, int]] = []

    async def sample(self) -> None:
        """Count until cancelled."""
        while True:
            self._samples.append((time.perf_counter(), self._channel.statistics().messages_sent))
            await trio.sleep(0.02)

    def peak(self, since: float) -> int:
        """Return the most calls in one second from then on."""
        samples = [sample for sample in self._samples if sample[0] >= since]
        most = first = 0
        for now, count in samples:
            while samples[first][0] < now - 1.0:
                first += 1
            most = max(most, count - samples[first][1])
        return most


def memory() -> float:
    """Return the resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def until(condition: Callable[[], bool]) -> float:
    """Wait for a condition; return when it held."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - many dispatchers are looked at
            await trio.sleep(0.02)
    return time.perf_counter()


async def measure(what: str, port: int, command: list[str], count: int, outage: float) -> Row:
    """Open the dispatchers, and restart the service."""
    logging.getLogger("trio_dispatch").addHandler(logging.NullHandler())
    url = f"grpc://127.0.0.1:{port}?ssl=false"
    dispatchers: list[Dispatcher] = []

    def live() -> int:
        return sum(each.sync_state.value.phase is SyncPhase.LIVE for each in dispatchers)

    async def follow(microgrid_id: int, channel: Channel) -> None:
        async with open_dispatcher(microgrid_id, channel=channel, key=KEY) as dispatcher:
            dispatchers.append(dispatcher)
            await trio.sleep_forever()

    async with open_channel(url) as channel, trio.open_nursery() as nursery:
        calls = Calls(channel)
        nursery.start_soon(calls.sample)
        async with running(command):
            memory_before, tasks_before = memory(), tasks()
            began = time.perf_counter()
            for microgrid_id in range(1, count + 1):
                nursery.start_soon(follow, microgrid_id, channel)
            first_live = await until(lambda: live() == count) - began
            first_peak = calls.peak(began)
            connections = channel.statistics().connections
            memory_each = (memory() - memory_before) / count
            tasks_each = (tasks() - tasks_before) / count
        await until(lambda: live() == 0)
        await trio.sleep(outage)
        async with running(command):
            began = time.perf_counter()
            live_again = await until(lambda: live() == count) - began
            peak = calls.peak(began)
            nursery.cancel_scope.cancel()
    return Row(what, first_live, first_peak, connections, memory_each, tasks_each, live_again, peak)


async def fill(port: int, command: list[str], count: int) -> None:
    """Create a dispatch for each microgrid."""
    async with (
        running(command),
        open_client(f"grpc://127.0.0.1:{port}?ssl=false", key=KEY) as client,
    ):
        for microgrid_id in range(1, count + 1):
            await client.create(
                microgrid_id,
                type="CHARGE",
                start_time=datetime.now(UTC) + timedelta(days=1),
                duration=timedelta(minutes=15),
                target=TargetIds(1, 2, 3),
            )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def alone(*arguments: Any) -> Row:
    """Measure in a new process, whose memory nothing else has used."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(trio.run, measure, *arguments).result()


def rows(count: int, outage: float) -> list[Row]:
    """Measure with both services, or with ours if there is no environment of the peers."""
    measured = []
    with tempfile.TemporaryDirectory(prefix="trio-dispatch-bench-") as directory:
        port, db = free_port(), f"{directory}/bench.db"
        command = [str(OURS), "serve", "--listen", f"127.0.0.1:{port}", "--key", KEY, "--db", db]
        trio.run(fill, port, command, count)
        measured.append(alone("trio-dispatch", port, command, count, outage))
    for python in filter(Path.exists, PEERS):
        port = free_port()
        module = "tests.benchmarks.dispatch_server"
        command = [str(python), "-m", module, "once", "1", str(port), str(MAX_STREAMS)]
        measured.append(alone("C-core", port, command, count, outage))
        break
    return measured


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="dispatchers (%(default)s)")
    parser.add_argument("--outage", type=float, default=5.0, help="seconds (%(default)s)")
    arguments = parser.parse_args()
    print(
        f"| {arguments.count:,} dispatchers | all live, s | calls/s at the peak | connections "
        "| KiB each | tasks each | live after the restart, s | calls/s at the peak |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows(arguments.count, arguments.outage):
        print(
            f"| {row.service} | {row.first_live:.1f} | {row.first_peak:,} | {row.connections} "
            f"| {row.memory * 1024:.0f} | {row.tasks:.1f} | {row.live_again:.1f} | {row.peak:,} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
