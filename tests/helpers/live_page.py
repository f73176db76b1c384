"""A site with a live page, in a thread of its own: a service, its page, and a dispatcher."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import trio
import trio.testing

from trio_dispatch import (
    ActorRun,
    BatteryType,
    Dispatch,
    MergeByComponent,
    TargetIds,
    clock,
    open_dispatcher,
)
from trio_dispatch.client.client import DispatchClient
from trio_dispatch.grpc import open_channel
from trio_dispatch.service import DispatchService, Key, Keys, Right, open_service
from trio_dispatch.web.page import Page, open_page
from trio_dispatch.web.sessions import KeyInfo
from trio_dispatch.web.site import Backend

T = TypeVar("T")
MICROGRID = 1
WRITE_KEY, READ_KEY = "operator-key", "viewer-key"
HOUR = timedelta(hours=1)
_START_TIMEOUT = 30


class LivePage:
    """A service, and its page on a port of this machine.

    Methods named `run` and `call` work from other threads.

    Attributes:
      client: A client of the service with the right to write.
      url: The address of the page.
    """

    def __init__(self, service: DispatchService, nursery: trio.Nursery) -> None:
        self.client: DispatchClient
        self.url = ""
        self._service = service
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self._streams: set[trio.abc.Stream] = set()
        self._reachable = True
        self._browsers: set[trio.abc.Stream] = set()
        self._refuses = False

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run an async function in the thread of the site, and return its result."""
        return trio.from_thread.run(function, *args, trio_token=self._token)

    def create(self, type: str, **fields: Any) -> Dispatch:
        """Create a dispatch as another client does."""

        async def create() -> Dispatch:
            values: dict[str, Any] = {
                "start_time": clock.now().replace(microsecond=0) + HOUR,
                "duration": HOUR,
                "target": TargetIds(1),
            } | fields
            return await self.client.create(MICROGRID, type=type, **values)

        return self.run(create)

    def update(self, dispatch: Dispatch, **fields: Any) -> Dispatch:
        """Update a dispatch as another client does."""
        change = partial(self.client.update, MICROGRID, dispatch.id, **fields)
        return self.run(change)

    def lose_service(self) -> None:
        """Let no one reach the service, until `recover_service`."""

        async def lose() -> None:
            self._reachable = False
            for stream in [*self._streams]:
                await trio.aclose_forcefully(stream)
            self._streams.clear()

        self.run(lose)

    def recover_service(self) -> None:
        self._reachable = True

    def lose_browsers(self) -> None:
        """Cut the connections of all browsers and refuse new ones, until `recover_browsers`."""

        async def lose() -> None:
            self._refuses = True
            for stream in [*self._browsers]:
                await trio.aclose_forcefully(stream)

        self.run(lose)

    def recover_browsers(self) -> None:
        self._refuses = False

    async def serve(self, page: Page) -> None:
        """Serve the page on a free port."""

        async def handle(stream: trio.SocketStream) -> None:
            if self._refuses:
                await trio.aclose_forcefully(stream)
                return
            self._browsers.add(stream)
            try:
                await page.server.serve_stream(stream)
            finally:
                self._browsers.discard(stream)

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        self._nursery.start_soon(trio.serve_listeners, handle, listeners)

    async def connect(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if not self._reachable:
            raise ConnectionRefusedError("the service is away")
        return await self.connect_anyway()

    async def connect_anyway(self) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        self._streams.add(ours)
        self._nursery.start_soon(self._service.server.serve_stream, theirs)
        await trio.lowlevel.checkpoint()
        return ours


async def _charge(run: ActorRun[Any]) -> None:
    if run.dispatch.payload.get("broken"):
        raise RuntimeError("the battery does not answer")
    await trio.sleep_forever()


async def _serve_dispatcher(site: LivePage) -> None:
    """Carry out dispatches of the type CHARGE, and report their runs."""
    async with (
        open_channel(site.connect) as channel,
        open_dispatcher(MICROGRID, channel=channel, key=WRITE_KEY, name="site-7") as dispatcher,
    ):
        merge = MergeByComponent(dict.fromkeys(range(1, 50), BatteryType.LI_ION))
        await dispatcher.run_actors("CHARGE", _charge, merge=merge)


@asynccontextmanager
async def _open_site() -> AsyncIterator[LivePage]:
    keys = Keys(
        [
            Key(WRITE_KEY, name="operator"),
            Key(READ_KEY, name="viewer", rights=frozenset({Right.READ})),
        ]
    )

    def find_key(text: str) -> KeyInfo | None:
        key = keys.find(text)
        if key is None:
            return None
        return KeyInfo(key.name, frozenset(each.value for each in key.rights))

    async with open_service(keys=keys) as service, trio.open_nursery() as nursery:
        site = LivePage(service, nursery)
        async with (
            open_channel(site.connect_anyway) as own,
            open_channel(site.connect) as channel,
            open_page(Backend(channel=channel, find_key=find_key, microgrids=(1,))) as page,
        ):
            site.client = DispatchClient(own, key=WRITE_KEY)
            await site.serve(page)
            nursery.start_soon(_serve_dispatcher, site)
            yield site
            nursery.cancel_scope.cancel()


@contextmanager
def live_page() -> Iterator[LivePage]:
    """Run a site in a thread."""
    ready = threading.Event()
    found: list[LivePage] = []
    scopes: list[trio.CancelScope] = []
    errors: list[BaseException] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            async with _open_site() as site:
                found.append(site)
                ready.set()
                await trio.sleep_forever()

    def work() -> None:
        try:
            trio.run(main)
        except BaseException as exc:
            errors.append(exc)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="site")
    thread.start()
    assert ready.wait(_START_TIMEOUT), "the site did not start"
    try:
        if found:
            yield found[0]
    finally:
        if found and not errors:
            trio.from_thread.run_sync(scopes[0].cancel, trio_token=found[0]._token)
        thread.join(_START_TIMEOUT)
        if errors:
            raise errors[0]
