"""A service over memory streams, and calls to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
import trio.testing

from trio_dispatch import Dispatch, TargetIds, clock
from trio_dispatch.api import wire
from trio_dispatch.api.codec import WIRE, time_to_nanos
from trio_dispatch.client.client import DispatchClient
from trio_dispatch.grpc import Channel, open_channel
from trio_dispatch.service import DispatchService, Keys, Store, open_service
from trio_dispatch.service.store.rows import Change
from trio_dispatch.service.store.watchers import Watcher

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = time_to_nanos(START)

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


class Wired:
    """A service that clients reach by gRPC over memory streams."""

    def __init__(self, service: DispatchService, nursery: trio.Nursery) -> None:
        self.service = service
        self.store = service.store
        self._nursery = nursery

    async def connect(self) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.service.server.serve_stream, theirs)
        await trio.lowlevel.checkpoint()
        return ours

    @asynccontextmanager
    async def client(
        self, key: str = "k", secret: str | None = None
    ) -> AsyncIterator[DispatchClient]:
        async with open_channel(self.connect) as channel:
            yield DispatchClient(channel, key=key, sign_secret=secret)

    @asynccontextmanager
    async def wire_channel(self) -> AsyncIterator[Channel]:
        """A channel on which messages are betterproto2's own."""
        async with open_channel(self.connect, codec=WIRE) as channel:
            yield channel


@asynccontextmanager
async def wired(store: Store | None = None, keys: Keys | None = None) -> AsyncIterator[Wired]:
    async with open_service(store, keys=keys) as service, trio.open_nursery() as nursery:
        yield Wired(service, nursery)
        nursery.cancel_scope.cancel()


async def create(client: DispatchClient, microgrid_id: int = 1, **changes: object) -> Dispatch:
    arguments: dict[str, object] = {
        "type": "CHARGE",
        "start_time": clock.now() + HOUR,
        "duration": HOUR,
        "target": TargetIds(1, 2),
    }
    arguments.update(changes)
    return await client.create(microgrid_id, **arguments)  # type: ignore[arg-type]


async def listed(client: DispatchClient, microgrid_id: int = 1, **filters: object) -> list[int]:
    pages = client.list(microgrid_id, **filters)  # type: ignore[arg-type]
    return [dispatch.id async for page in pages for dispatch in page]


async def take(watcher: Watcher[Change], count: int) -> list[Change]:
    """Return the next changes of a watcher, which must be waiting or still to come."""
    taken: list[Change] = []
    while len(taken) < count:
        taken += await anext(watcher)
    assert len(taken) == count
    return taken


def target(*ids: int) -> wire.TargetComponents:
    return wire.TargetComponents(component_ids=wire.TargetComponentsIdSet(ids=list(ids)))


def data(**changes: Any) -> wire.DispatchData:
    fields: dict[str, Any] = {
        "type": "CHARGE",
        "start_time": START,
        "duration": 60,
        "target": target(1),
        "is_active": True,
    }
    fields.update(changes)
    return wire.DispatchData(**fields)
