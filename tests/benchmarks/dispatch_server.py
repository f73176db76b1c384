"""The C-core dispatch service that all contenders sync from: the same bytes for all.

    python -m tests.benchmarks.dispatch_server KIND COUNT [PORT [STREAMS]]

It runs in the environment of the benchmarks, and prints a line of JSON: the port of the service,
and the port for orders, see `Control`.  Its answers are encoded beforehand, so that only the client
is measured.  Like any C-core service it sends nothing on a stream before the first event, and like
many it pages by offset.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeAlias

import grpc
from frequenz.api.common.v1alpha8.pagination.pagination_info_pb2 import PaginationInfo
from frequenz.api.common.v1alpha8.streaming import event_pb2
from frequenz.api.dispatch.v1 import dispatch_pb2 as pb

SERVICE = "frequenz.api.dispatch.v1.MicrogridDispatchService"
DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
NOW = datetime.now(UTC).replace(microsecond=0)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def make_row(kind: str, number: int) -> pb.Dispatch:
    """Make a dispatch that starts after an hour or later; a daily one began 30 days ago.

    Of the kind "mixed" every other one is daily.
    """
    daily = kind == "daily" or (kind == "mixed" and number % 2 == 0)
    first = NOW + timedelta(hours=1) + number % 1200 * MINUTE
    if daily:
        first -= 30 * DAY
    row = pb.Dispatch()
    row.metadata.dispatch_id = number
    row.metadata.create_time.FromDatetime(NOW - 31 * DAY)
    row.metadata.update_time.FromDatetime(NOW - 31 * DAY)
    data = row.data
    data.type = "CHARGE"
    data.start_time.FromDatetime(first)
    data.duration = 900
    data.target.component_ids.ids.extend([number, number + 1, number + 2])
    data.is_active = True
    data.payload.update({"power": 5000 + number, "mode": "eco"})
    if daily:
        data.recurrence.freq = pb.RecurrenceRule.FREQUENCY_DAILY
        data.recurrence.interval = 1
    else:
        row.metadata.end_time.FromDatetime(first + 15 * MINUTE)
    return row


class Service:
    """The dispatches and the watchers."""

    def __init__(self, kind: str, count: int) -> None:
        self.rows = [make_row(kind, number) for number in range(1, count + 1)]
        self.watchers: set[asyncio.Queue[bytes]] = set()
        self.counts = {"streams": 0, "lists": 0}
        self._happened = asyncio.Event()
        self.page = cache(self._page)

    async def list(self, request: bytes, context: Context) -> bytes:
        params = pb.ListMicrogridDispatchesRequest.FromString(request).pagination_params
        offset, size = 0, min(params.page_size or DEFAULT_PAGE, LARGEST_PAGE)
        if params.page_token:
            offset, size = map(int, params.page_token.split("+"))
        if offset + size >= len(self.rows):
            self._count("lists")
        return self.page(offset, size)

    def _page(self, offset: int, size: int) -> bytes:
        info = PaginationInfo(total_items=len(self.rows))
        if offset + size < len(self.rows):
            info.next_page_token = f"{offset + size}+{size}"
        page = pb.ListMicrogridDispatchesResponse(
            dispatches=self.rows[offset : offset + size], pagination_info=info
        )
        encoded: bytes = page.SerializeToString()
        return encoded

    async def stream(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.watchers.add(queue)
        self._count("streams")
        try:
            while True:
                yield await queue.get()
        finally:
            self.watchers.discard(queue)

    def _count(self, what: str) -> None:
        self.counts[what] += 1
        self._happened.set()
        self._happened = asyncio.Event()

    async def until(self, what: str, more_than: int) -> None:
        while self.counts[what] <= more_than:
            await self._happened.wait()

    def handler(self) -> Any:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "ListMicrogridDispatches": grpc.unary_unary_rpc_method_handler(self.list),
                "StreamMicrogridDispatches": grpc.unary_stream_rpc_method_handler(self.stream),
            },
        )


class Control:
    """Takes orders for the service, each a line of JSON, and answers with another one."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._serial = 0
        self._prepared: list[bytes] = []

    async def counts(self) -> dict[str, int]:
        """Return how many streams were opened, and how many whole lists were read."""
        return self.service.counts

    async def until(self, what: str, more_than: int) -> None:
        """Wait until there were more streams or lists than this."""
        await self.service.until(what, more_than)

    async def prepare(self, count: int) -> dict[str, int]:
        """Encode updates of one dispatch after another, with serial numbers in the payload.

        Returns:
          The serial number of the first and of the last update.
        """
        first = self._serial + 1
        self._prepared = [self._update() for _ in range(count)]
        self.service.page.cache_clear()
        return {"first": first, "last": self._serial}

    async def burst(self) -> None:
        """Send the prepared updates to the watchers."""
        for queue in self.service.watchers:
            for message in self._prepared:
                queue.put_nowait(message)

    async def rows(self, count: int) -> list[str]:
        """Return the bytes of the first `count` dispatches, in hex."""
        return [row.SerializeToString().hex() for row in self.service.rows[:count]]

    def _update(self) -> bytes:
        self._serial += 1
        row = self.service.rows[self._serial % len(self.service.rows)]
        row.data.payload["serial"] = self._serial
        row.metadata.update_time.GetCurrentTime()
        event = pb.StreamMicrogridDispatchesResponse(dispatch=row, event=event_pb2.EVENT_UPDATED)
        encoded: bytes = event.SerializeToString()
        return encoded

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            order = json.loads(line)
            method: Callable[..., Any] = getattr(self, order.pop("do"))
            writer.write(json.dumps(await method(**order)).encode() + b"\n")
        writer.close()


async def main() -> None:
    kind, count, *limits = sys.argv[1:]
    service = Service(kind, int(count))
    port, *streams = [int(each) for each in limits] or [0]
    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", each) for each in streams])
    server.add_generic_rpc_handlers([service.handler()])
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    control = await asyncio.start_server(Control(service).serve, "127.0.0.1", 0)
    [listener] = control.sockets
    print(json.dumps({"port": port, "control": listener.getsockname()[1]}), flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
