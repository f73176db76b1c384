"""The load generator for dispatch services, the same for all of them.

It runs in the environment of the benchmarks and takes orders, see `children`.  It makes calls with
the official client, from many tasks on several connections.  Its watchers are as light as they can
be, so that the service is measured and not they: a hundred streams on each connection, whose frames
are only counted.  Each dispatch carries the time of its request in its type, so a watcher knows
how long the change took to arrive.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from frequenz.api.common.v1alpha8.pagination.pagination_params_pb2 import PaginationParams
from frequenz.api.dispatch.v1 import dispatch_pb2 as pb
from frequenz.api.dispatch.v1 import dispatch_pb2_grpc as stubs

from tests.benchmarks.children import obey

CONNECTIONS, STREAMS = 4, 100
MICROGRIDS = 200
"""Writers and watchers that are spread use so many microgrids."""

SETTLE_WITHIN = 60.0  # seconds
MARK = b"sent at "
STAMPED = len(MARK) + 16
TICK = os.sysconf("SC_CLK_TCK")


def stamp() -> str:
    """Return a type for a dispatch that is requested now."""
    return f"{MARK.decode()}{time.perf_counter_ns():016x}"


# Calls.


class Client:
    """The official client on some connections, which tasks use in turn."""

    def __init__(self, port: int, key: str) -> None:
        self.metadata = (("key", key),)
        # Without the option, all channels of a process share a connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [
            grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
            for _ in range(CONNECTIONS)
        ]
        self.stubs = [stubs.MicrogridDispatchServiceStub(channel) for channel in self._channels]

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()

    async def create(self, task: int, microgrid_id: int) -> int:
        request = pb.CreateMicrogridDispatchRequest(microgrid_id=microgrid_id)
        data = request.dispatch_data
        data.type = stamp()
        data.start_time.FromSeconds(int(time.time()) + 3600)
        data.duration = 900
        data.target.component_ids.ids.extend([1, 2, 3])
        data.is_active = True
        data.payload.update({"power": 5000.0, "mode": "eco"})
        stub = self.stubs[task % CONNECTIONS]
        reply = await stub.CreateMicrogridDispatch(request, metadata=self.metadata)
        return int(reply.dispatch.metadata.dispatch_id)

    async def update(self, task: int, microgrid_id: int, dispatch_id: int) -> None:
        request = pb.UpdateMicrogridDispatchRequest(
            microgrid_id=microgrid_id, dispatch_id=dispatch_id
        )
        request.update_mask.paths.append("payload")
        request.update.payload.update({"power": float(time.perf_counter_ns() % 10_000)})
        stub = self.stubs[task % CONNECTIONS]
        await stub.UpdateMicrogridDispatch(request, metadata=self.metadata)

    async def delete(self, task: int, microgrid_id: int, dispatch_id: int) -> None:
        request = pb.DeleteMicrogridDispatchRequest(
            microgrid_id=microgrid_id, dispatch_id=dispatch_id
        )
        stub = self.stubs[task % CONNECTIONS]
        await stub.DeleteMicrogridDispatch(request, metadata=self.metadata)

    async def get(self, task: int, microgrid_id: int, dispatch_id: int) -> None:
        request = pb.GetMicrogridDispatchRequest(microgrid_id=microgrid_id, dispatch_id=dispatch_id)
        stub = self.stubs[task % CONNECTIONS]
        await stub.GetMicrogridDispatch(request, metadata=self.metadata)

    async def list(self, task: int, microgrid_id: int, size: int) -> None:
        request = pb.ListMicrogridDispatchesRequest(
            microgrid_id=microgrid_id, pagination_params=PaginationParams(page_size=size)
        )
        stub = self.stubs[task % CONNECTIONS]
        reply = await stub.ListMicrogridDispatches(request, metadata=self.metadata)
        assert len(reply.dispatches) == size, len(reply.dispatches)


@asynccontextmanager
async def open_client(port: int, key: str) -> AsyncIterator[Client]:
    client = Client(port, key)
    try:
        yield client
    finally:
        await client.close()


async def repeat(
    call: Callable[[int], Awaitable[Any]], tasks: int, seconds: float, pid: int
) -> dict[str, Any]:
    """Make calls from several tasks for some seconds; returns rate, latencies and CPU."""
    latencies: list[float] = []

    async def work(task: int) -> None:
        while (began := time.perf_counter()) < until:
            await call(task)
            latencies.append(time.perf_counter() - began)

    began, cpu = time.perf_counter(), cpu_of(pid)
    until = began + seconds
    await asyncio.gather(*(work(task) for task in range(tasks)))
    took = time.perf_counter() - began
    return {
        "value": len(latencies) / took,
        "count": len(latencies),
        "cpu": (cpu_of(pid) - cpu) / len(latencies) * 1e6,
        **percentiles("call", latencies),
    }


def percentiles(what: str, seconds: Sequence[float]) -> dict[str, float]:
    """Return median and 99th percentile in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else [*seconds] * 99
    return {f"{what}_50": cuts[49] * 1e3, f"{what}_99": cuts[98] * 1e3}


def cpu_of(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


# Watchers.


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """Encode a header without compression."""
    return b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4
WINDOW = (1 << 30).to_bytes(4, "big")
PATH = "/frequenz.api.dispatch.v1.MicrogridDispatchService/StreamMicrogridDispatches"


class Watchers(asyncio.Protocol):
    """The watchers on one connection.

    Attributes:
      counts: The number of events by stream.
      latencies: The number of events by their milliseconds; those that came in one frame count as
        the oldest of them.
      failures: What ended streams.
    """

    def __init__(self, microgrids: Sequence[int], key: str) -> None:
        self.counts = {2 * number + 1: 0 for number in range(len(microgrids))}
        self.microgrids = dict(zip(self.counts, microgrids, strict=True))
        self.latencies: Counter[int] = Counter()
        self.failures: list[str] = []
        self.started = asyncio.Event()
        self._key = key
        self._answered: set[int] = set()
        self._data = b""
        self._tails: dict[int, bytes] = {}
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Windows so large that only TCP slows the service down.
        settings = struct.pack(">HIHI", 2, 0, 4, 1 << 30)
        sent = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(SETTINGS, 0, 0, settings)]
        sent.append(frame(WINDOW_UPDATE, 0, 0, WINDOW))
        for stream, microgrid_id in self.microgrids.items():
            headers = b"".join(
                literal(name, value)
                for name, value in (
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":path", PATH),
                    (":authority", "127.0.0.1"),
                    ("te", "trailers"),
                    ("content-type", "application/grpc"),
                    ("key", self._key),
                )
            )
            sent.append(frame(HEADERS, END_HEADERS, stream, headers))
            request = pb.StreamMicrogridDispatchesRequest(microgrid_id=microgrid_id)
            message = request.SerializeToString()
            message = struct.pack(">BI", 0, len(message)) + message
            sent.append(frame(DATA, END_STREAM, stream, message))
        transport.write(b"".join(sent))

    def close(self) -> None:
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.failures.append(f"the connection was lost: {exc}")
        self.started.set()

    def data_received(self, received: bytes) -> None:
        now = time.perf_counter_ns()
        data = self._data + received if self._data else received
        begin, size = 0, len(data)
        while size - begin >= 9:
            end = begin + 9 + (data[begin] << 16 | data[begin + 1] << 8 | data[begin + 2])
            if end > size:
                break
            kind, flags = data[begin + 3], data[begin + 4]
            stream = int.from_bytes(data[begin + 5 : begin + 9], "big")
            if kind == DATA:
                self._events(stream, data, begin + 9, end, now)
                self._received += end - begin - 9
            else:
                self._other(kind, flags, stream, data[begin + 9 : end])
            begin = end
        self._data = data[begin:]
        if self._received > 1 << 28:
            credit = self._received.to_bytes(4, "big")
            self._transport.write(frame(WINDOW_UPDATE, 0, 0, credit))
            self._received = 0

    def _events(self, stream: int, data: bytes, begin: int, end: int, now: int) -> None:
        """Count the events in a frame; one that ends with a later frame counts with that."""
        if (tail := self._tails.pop(stream, None)) is not None:
            data, begin, end = tail + data[begin:end], 0, len(tail) + end - begin
        count = data.count(MARK, begin, end)
        if count:
            last = data.rfind(MARK, begin, end)
            if last + STAMPED > end:
                count -= 1
                self._tails[stream] = data[last:end]
        if stream not in self._tails and data[end - 1 : end] in MARK:
            self._tails[stream] = data[max(begin, end - len(MARK) + 1) : end]
        if count:
            first = data.find(MARK, begin, end) + len(MARK)
            self.counts[stream] += count
            self.latencies[(now - int(data[first : first + 16], 16)) // 1_000_000] += count

    def _other(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS:
            if flags & END_STREAM:
                self.failures.append(f"a stream has ended: {payload!r}")
            self._answered.add(stream)
            if len(self._answered) == len(self.counts):
                self.started.set()
        elif kind in {SETTINGS, PING} and not flags & ACK:
            self._transport.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind in {RST_STREAM, GOAWAY}:
            self.failures.append(f"a stream was reset: {payload!r}")


@asynccontextmanager
async def watching(port: int, key: str, microgrids: Sequence[int]) -> AsyncIterator[list[Watchers]]:
    """Watch these microgrids, one watcher for each item."""
    loop = asyncio.get_running_loop()
    connections = []
    for begin in range(0, len(microgrids), STREAMS):
        make = partial(Watchers, microgrids[begin : begin + STREAMS], key)
        _, watchers = await loop.create_connection(make, "127.0.0.1", port)
        connections.append(watchers)
        # One after the other: C-core refuses requests while a thousand wait to be handled.
        await asyncio.wait_for(watchers.started.wait(), SETTLE_WITHIN)
    try:
        yield connections
    finally:
        for watchers in connections:
            watchers.close()


# Orders.


def load(
    port: int, key: str, pid: int, writers: int, watchers: int, spread: bool, seconds: float
) -> dict[str, Any]:
    """Create dispatches while watchers are there; everything is counted."""

    async def run() -> dict[str, Any]:
        created: Counter[int] = Counter()
        failures: list[str] = []
        microgrids = MICROGRIDS if spread else 1
        # Other microgrids than in any measurement before.
        first = 1000 + time.time_ns() // 1_000_000 % 10**12 * 1000
        watched = [first + number % microgrids for number in range(watchers)]

        async def create(task: int) -> None:
            microgrid_id = first + task % microgrids
            try:
                await client.create(task, microgrid_id)
            except grpc.RpcError as exc:
                failures.append(f"a call has failed: {exc}")
            else:
                created[microgrid_id] += 1

        async with open_client(port, key) as client, watching(port, key, watched) as connections:
            cpu, began = cpu_of(pid), time.perf_counter()
            result = await repeat(create, writers, seconds, pid)
            expected = sum(created[microgrid_id] for microgrid_id in watched)
            deadline = time.perf_counter() + SETTLE_WITHIN
            while (  # noqa: ASYNC110 - an event would cost time for each change
                sum(sum(each.counts.values()) for each in connections) < expected
                and time.perf_counter() < deadline
            ):
                await asyncio.sleep(0.01)
            took = time.perf_counter() - began
            lost = sum(
                created[each.microgrids[stream]] - count
                for each in connections
                for stream, count in each.counts.items()
            )
            failures += [failure for each in connections for failure in each.failures]
            latencies: Counter[int] = Counter()
            for each in connections:
                latencies.update(each.latencies)
        return {
            **result,
            "events": expected / took,
            "event_cpu": (cpu_of(pid) - cpu) / expected * 1e6 if expected else 0.0,
            "event_50": percentile(latencies, 0.5),
            "event_99": percentile(latencies, 0.99),
            "lost": lost,
            "cut": len(failures),
            "why": failures[:1],
        }

    return asyncio.run(run())


def percentile(counts: Counter[int], part: float) -> float:
    """Return a percentile of values that are counted."""
    left = counts.total() * part
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value + 0.5
    return 0.0


def calls(
    port: int, key: str, pid: int, call: str, tasks: int, seconds: float, size: int = 100
) -> dict[str, Any]:
    """Make calls of one kind; `size` dispatches are there beforehand."""

    async def run() -> dict[str, Any]:
        microgrid_id = 1000 + time.time_ns() // 1_000_000 % 10**12 * 1000
        async with open_client(port, key) as client:
            known: list[int] = []
            if call != "create":
                for _ in range(0, size, 100):
                    creating = [client.create(task, microgrid_id) for task in range(100)]
                    known += await asyncio.gather(*creating)
            numbers = iter(range(1 << 60))

            async def once(task: int) -> None:
                if call == "create":
                    await client.create(task, microgrid_id)
                elif call == "list":
                    await client.list(task, microgrid_id, size)
                elif call == "create and delete":
                    dispatch_id = await client.create(task, microgrid_id)
                    await client.delete(task, microgrid_id, dispatch_id)
                else:
                    dispatch_id = known[next(numbers) % len(known)]
                    await getattr(client, call)(task, microgrid_id, dispatch_id)

            return await repeat(once, tasks, seconds, pid)

    return asyncio.run(run())


if __name__ == "__main__":
    obey(calls, load)
