"""What the tests of the service share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_dispatch.client import DispatchClient
from trio_dispatch.codec import DOMAIN, WIRE
from trio_dispatch.grpc import Channel, open_channel
from trio_dispatch.service import DispatchService, Keys, Store, open_service, open_store

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


@pytest.fixture(params=["memory", "sqlite"])
def open_any_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens a store; each time the same file, if it is one."""
    path = tmp_path / "dispatches.db" if request.param == "sqlite" else None
    return lambda: open_store(path)


@pytest.fixture
async def store(open_any_store: OpenStore) -> AsyncIterator[Store]:
    async with open_any_store() as store:
        yield store


class Wired:
    """A service at the other end of memory streams, with real gRPC between."""

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
        async with open_channel(self.connect, codec=DOMAIN) as channel:
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
