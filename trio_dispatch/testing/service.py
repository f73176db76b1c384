"""The real dispatch service in memory, at the other end of memory streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from os import PathLike

import trio
import trio.testing

from ..api import wire
from ..api.codec import decode_dispatch
from ..api.wire import PaginationParams
from ..client.client import DispatchClient
from ..grpc import Channel, Status, open_channel
from ..model.dispatch import Dispatch
from ..service import Keys, Store, open_service, open_store
from ..service.listing import read_query
from .faults import Faults

__all__ = ["TEST_KEY", "LocalService", "open_test_service"]

TEST_KEY = "test-key"
_FAILURE = "the test made this fail"


class LocalService:
    """A dispatch service to test against, see `open_test_service`.

    Attributes:
      channel: A channel to it, to be given to `open_dispatcher` or `open_client`.
      client: A client with a connection of its own.
      key: The key that lets in.
      store: What it keeps.
    """

    def __init__(
        self, store: Store, nursery: trio.Nursery, key: str, keepalive: float | None
    ) -> None:
        self.store = store
        self.key = key
        self.channel: Channel
        self.client: DispatchClient
        self._nursery = nursery
        self._keepalive = keepalive
        self._faults = Faults()
        self._run: trio.CancelScope | None = None
        self._serve: Callable[[trio.abc.Stream], Awaitable[None]] | None = None
        # In order, for a set is ordered by addresses: the same test has to go the same each time.
        self._connections: dict[trio.abc.Stream, None] = {}

    @property
    def calls(self) -> Counter[str]:
        """How many calls have come so far, by method: ``service.calls["list"]``.

        Those that were refused count, and those of `client`.
        """
        return self._faults.calls.copy()

    async def connect(self) -> trio.abc.Stream:
        """A new connection: a connector for `trio_dispatch.grpc.open_channel`.

        Raises:
          ConnectionRefusedError: the service is stopped.
        """
        await trio.lowlevel.checkpoint()
        if self._serve is None:
            raise ConnectionRefusedError("the test service is stopped")
        ours, theirs = trio.testing.memory_stream_pair()
        self._connections[theirs] = None
        self._nursery.start_soon(self._serve_one, theirs)
        return ours

    async def put(self, dispatch: Dispatch, microgrid_id: int = 1) -> None:
        """Keep a dispatch exactly as it is, past times and all; watchers are told."""
        await self.store.put(microgrid_id, dispatch)

    async def dispatches(self, microgrid_id: int = 1) -> dict[int, Dispatch]:
        """All that the service keeps of a microgrid, by id."""
        found: dict[int, Dispatch] = {}
        request = wire.ListMicrogridDispatchesRequest(microgrid_id=microgrid_id)
        while True:
            page = await self.store.list(read_query(request))
            found.update((d.id, d) for d in map(decode_dispatch, page.messages))
            if page.next_token is None:
                return found
            request.pagination_params = PaginationParams(page_token=page.next_token)

    def delay(self, *methods: str, seconds: float) -> ExitStack:
        """Be late from now on: for the rest of the test, or of a ``with`` block::

            service.delay("list", seconds=5)
            with service.delay(seconds=90):
                ...

        What is asked is done at once, and the reply, good or bad, is late: a list tells what was
        there when it was asked for.  Of a stream, which has no single reply, the beginning is late.
        Whoever waits less long than that sees its call fail with DEADLINE_EXCEEDED, although what
        it asked for was done; with `math.inf` nobody ever gets a reply.  Several delays add up.
        Calls that have begun go on as they were.

        What is returned ends the delay when it is closed, or left as a context manager.

        Args:
          methods: "list", "get", "create", "update", "delete", "stream"; all, if none is given.
          seconds: In Trio's time.

        Raises:
          ValueError: there is no such method, or the time is negative.
        """
        return self._faults.delay(methods, seconds)

    def fail_next(
        self, method: str, status: Status, message: str = _FAILURE, *, times: int = 1
    ) -> None:
        """Refuse the next call of a method, whoever makes it; nothing is done then.

        Failures wait for their calls, in the order in which they were asked for.

        Args:
          method: "list", "get", "create", "update", "delete" or "stream".
          status: What it fails with.
          message: What it says.
          times: So many calls fail, one after the other.

        Raises:
          ValueError: there is no such method, or one of the others makes no sense.
        """
        self._faults.fail_next(method, status, message, times)

    def end_streams(self, status: Status = Status.UNAVAILABLE, message: str = _FAILURE) -> None:
        """End all streams under way with this status; with `Status.OK`, they end well.

        The connections stay, and new streams are welcome.

        Raises:
          ValueError: that is no status.
        """
        self._faults.end_streams(status, message)

    async def drop_connections(self) -> None:
        """Cut every connection, as a broken network does: without a farewell."""
        for stream in list(self._connections):
            await trio.aclose_forcefully(stream)

    async def stop(self) -> None:
        """End the service, and refuse connections; what it keeps is kept."""
        if self._run is not None:
            self._run.cancel()
            self._run = self._serve = None
        await self.drop_connections()

    async def restart(self) -> None:
        """End the service, if it runs, and begin anew with what it kept."""
        await self.stop()
        await self._nursery.start(self._run_service)

    async def _run_service(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.CancelScope() as self._run:
            async with open_service(
                self.store,
                keys=Keys.of(self.key),
                interceptors=[self._faults],
                keepalive_interval=self._keepalive,
            ) as service:
                self._serve = service.server.serve_stream
                task_status.started()
                await trio.sleep_forever()

    async def _serve_one(self, stream: trio.abc.Stream) -> None:
        serve = self._serve
        try:
            if serve is not None:
                await serve(stream)
        finally:
            self._connections.pop(stream, None)
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_test_service(
    *, key: str = TEST_KEY, db: str | PathLike[str] | None = None, keepalive: bool = True
) -> AsyncIterator[LocalService]:
    """Run the real dispatch service, in memory and over memory streams.

    ::

        async with (
            open_test_service() as service,
            open_dispatcher(microgrid_id=1, channel=service.channel, key=service.key) as dispatcher,
        ):
            await service.client.create(1, type="CHARGE", start_time="NOW", ...)

    Under a `trio.testing.MockClock` a day passes in milliseconds.

    Args:
      key: The key that lets in.
      db: Where to keep the dispatches, on SQLite; in memory, if not given.
      keepalive: Whether idle connections are probed; without, less happens in much virtual time.
    """
    async with open_store(db) as store, trio.open_nursery() as nursery:
        interval = 60.0 if keepalive else None
        service = LocalService(store, nursery, key, interval)
        await nursery.start(service._run_service)
        async with (
            open_channel(service.connect, keepalive_interval=interval) as channel,
            open_channel(service.connect, keepalive_interval=interval) as own,
        ):
            service.channel = channel
            service.client = DispatchClient(own, key=key)
            yield service
        nursery.cancel_scope.cancel()
