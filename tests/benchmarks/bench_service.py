"""Benchmark of the dispatch service under load: calls per second, and the latency of each.

The service is ``trio-dispatch serve`` in another process, over TCP, with dispatches in memory, and
in SQLite, where each write is on the disk before it is acknowledged.  This process makes the calls
with `DispatchClient`, so its work is part of what is measured.  Watchers only receive bytes.  The
latency of a call ends with its answer; that of a change, from the begin of the update to its
arrival, is taken over all watchers and changes.

    python -m tests.benchmarks.bench_service [SECONDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, NamedTuple

import trio
from grpclib.encoding.base import CodecBase

from trio_dispatch import Dispatch, DispatchClient, TargetIds, open_client
from trio_dispatch.api import wire
from trio_dispatch.api.codec import WIRE
from trio_dispatch.grpc import Cardinality, Channel, open_channel

COMMAND = Path(sys.executable).with_name("trio-dispatch")
STREAM = "/frequenz.api.dispatch.v1.MicrogridDispatchService/StreamMicrogridDispatches"
KEY, MICROGRID, LISTED = "bench", 1, 2
SECONDS, AT_A_TIME, CONNECTIONS = 3.0, 32, 4
LIST_LENGTH, WATCHERS, CHANGES = 1000, 500, 30


class Row(NamedTuple):
    """One line of the table; latencies in milliseconds."""

    what: str
    store: str
    rate: float
    p50: float
    p99: float


class Bytes(CodecBase):
    """Leaves messages as bytes."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


@asynccontextmanager
async def serving(db: Path | None) -> AsyncIterator[str]:
    """Run a service, and yield its URL."""
    command = [COMMAND, "serve", "--listen", "127.0.0.1:0", "--key", KEY]
    command += [] if db is None else ["--db", db]
    process = await trio.lowlevel.open_process(
        list(map(str, command)), stdin=None, stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdout is not None
    try:
        said = b""
        while b"\n" not in said:
            some = await process.stdout.receive_some()
            if not some:
                raise RuntimeError("the service has ended")
            said += some
        yield said.split()[2].decode()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


async def create(client: DispatchClient, microgrid_id: int = MICROGRID) -> Dispatch:
    return await client.create(
        microgrid_id,
        type="CHARGE",
        start_time=datetime.now(UTC) + timedelta(hours=1),
        duration=timedelta(minutes=15),
        target=TargetIds(1, 2, 3),
        payload={"power": 5000.0, "mode": "eco"},
    )


Call = Callable[[DispatchClient, int], Awaitable[Any]]


async def measure(
    what: str, store: str, clients: list[DispatchClient], call: Call, seconds: float, tasks: int
) -> Row:
    """Make calls for some seconds, from several tasks, on all connections."""
    latencies: list[float] = []

    async def work(client: DispatchClient, number: int, until: float) -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            await call(client, number)
            latencies.append(time.perf_counter() - began)
            number += tasks

    for duration in (seconds / 5, seconds):  # first to warm up
        latencies.clear()
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for task in range(tasks):
                client = clients[task % len(clients)]
                nursery.start_soon(work, client, task, began + duration)
        took = time.perf_counter() - began
    return row_of(what, store, len(latencies) / took, latencies)


def row_of(what: str, store: str, rate: float, latencies: list[float]) -> Row:
    percentiles = statistics.quantiles(latencies, n=100)
    return Row(what, store, rate, percentiles[49] * 1e3, percentiles[98] * 1e3)


async def fan_out(url: str, client: DispatchClient, store: str) -> Row:
    """Update a dispatch repeatedly, and time the arrival of each change at all watchers."""
    dispatch = await create(client)
    arrivals: list[float] = []
    all_arrived = trio.Event()

    async def watch(channel: Channel, task_status: trio.TaskStatus[None]) -> None:
        request = WIRE.encode(
            wire.StreamMicrogridDispatchesRequest(microgrid_id=MICROGRID),
            wire.StreamMicrogridDispatchesRequest,
        )
        async with channel.request(
            STREAM, Cardinality.UNARY_STREAM, bytes, bytes, metadata={"key": KEY}
        ) as call:
            await call.send_message(request, end=True)
            await call.recv_initial_metadata()
            task_status.started()
            while await call.recv_message() is not None:
                arrivals.append(time.perf_counter())
                if len(arrivals) == WATCHERS:
                    all_arrived.set()

    latencies: list[float] = []
    async with AsyncExitStack() as stack:
        # A connection carries at most a hundred calls at a time.
        channels = [
            await stack.enter_async_context(open_channel(url, codec=Bytes())) for _ in range(10)
        ]
        nursery = await stack.enter_async_context(trio.open_nursery())
        for number in range(WATCHERS):
            await nursery.start(watch, channels[number % len(channels)])
        first = time.perf_counter()
        for number in range(CHANGES):
            arrivals.clear()
            all_arrived = trio.Event()
            began = time.perf_counter()
            await client.update(MICROGRID, dispatch.id, payload={"number": number})
            await all_arrived.wait()
            latencies += [arrival - began for arrival in arrivals]
        took = time.perf_counter() - first
        nursery.cancel_scope.cancel()
    return row_of(f"change to {WATCHERS} watchers", store, CHANGES / took, latencies)


async def measure_store(store: str, db: Path | None, seconds: float) -> list[Row]:
    """Measure all rows for one kind of store."""
    rows = []
    async with serving(db) as url, AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_client(url, key=KEY)) for _ in range(CONNECTIONS)
        ]
        known = [(await create(clients[0])).id for _ in range(100)]

        async def one(client: DispatchClient, number: int) -> None:
            await create(client)

        async def update(client: DispatchClient, number: int) -> None:
            await client.update(MICROGRID, known[number % len(known)], payload={"n": number})

        async def get(client: DispatchClient, number: int) -> None:
            await client.get(MICROGRID, known[number % len(known)])

        async def list_all(client: DispatchClient, number: int) -> None:
            async for page in client.list(LISTED, page_size=LIST_LENGTH):
                assert len(page) == LIST_LENGTH

        rows.append(await measure("create, one at a time", store, clients, one, seconds, 1))
        for what, call in (("create", one), ("update", update), ("get", get)):
            title = f"{what}, {AT_A_TIME} at a time"
            rows.append(await measure(title, store, clients, call, seconds, AT_A_TIME))
        for _ in range(LIST_LENGTH):
            await create(clients[0], LISTED)
        title = f"list of {LIST_LENGTH:,}, 2 at a time"
        rows.append(await measure(title, store, clients, list_all, seconds, 2))
        rows.append(await fan_out(url, clients[0], store))
    return rows


def rows(seconds: float = SECONDS) -> list[Row]:
    """Measure everything."""
    with tempfile.TemporaryDirectory(prefix="trio-dispatch-bench-") as directory:
        return [
            row
            for store, db in (("SQLite", Path(directory) / "bench.db"), ("memory", None))
            for row in trio.run(measure_store, store, db, seconds)
        ]


def main() -> None:
    """Print the table."""
    print("| service | store | per second | 50th percentile, ms | 99th percentile, ms |")
    print("| --- | --- | ---: | ---: | ---: |")
    for row in rows(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS):
        print(f"| {row.what} | {row.store} | {row.rate:,.0f} | {row.p50:.2f} | {row.p99:.2f} |")


if __name__ == "__main__":
    main()
