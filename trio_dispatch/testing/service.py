"""The real dispatch service in memory, at the other end of memory streams."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from os import PathLike

import trio
import trio.testing

from ..api.codec import decode_dispatch
from ..api.runs import decode_run
from ..client.client import DispatchClient
from ..grpc import Channel, Status, open_channel
from ..model.dispatch import Dispatch
from ..model.runs import ReportedRun
from ..service import Keys, Store, open_service, open_store
from ..service.store.logs import LogQuery, RunFilter
from ..service.store.queries import MAX_PAGE_SIZE, Query
from ..service.store.rows import Author
from .faults import Faults
from .lists import ForeignLists

__all__ = ["TEST_KEY", "LocalService", "open_test_service"]

TEST_KEY = "test-key"
_FAILURE = "the test made this fail"


class LocalService:
    """A dispatch service to test against, see `open_test_service`.

    Attributes:
      channel: A channel to the service, for `open_dispatcher` or `open_client`.
      client: A client with its own connection.
      key: The API key.
      store: The store of the service.
    """

    def __init__(
        self,
        store: Store,
        nursery: trio.Nursery,
        key: str,
        lists: ForeignLists,
        keepalive: float,
    ) -> None:
        self.store = store
        self.key = key
        self.channel: Channel
        self.client: DispatchClient
        self._nursery = nursery
        self._lists = lists
        self._keepalive = keepalive
        self._faults = Faults()
        self._run: trio.CancelScope | None = None
        self._serve: Callable[[trio.abc.Stream], Awaitable[None]] | None = None
        # In order of opening; a set would be in order of addresses, which differ from run to run.
        self._connections: dict[trio.abc.Stream, None] = {}

    @property
    def calls(self) -> Counter[str]:
        """How many calls were received, by method: ``service.calls["list"]``.

        Calls that failed and calls of `client` count, too.
        """
        return self._faults.calls.copy()

    async def connect(self) -> trio.abc.Stream:
        """Open a connection: a connector for `trio_dispatch.grpc.open_channel`.

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
        """Store a dispatch exactly as it is, past times included, and notify watchers.

        A dispatch with the same id is replaced.
        """
        await self.store.put(microgrid_id, dispatch, author=Author("test"))

    async def dispatches(self, microgrid_id: int = 1) -> dict[int, Dispatch]:
        """Return all stored dispatches of a microgrid, by id."""
        found: dict[int, Dispatch] = {}
        query: Query | None = Query(microgrid_id, page_size=MAX_PAGE_SIZE)
        while query is not None:
            page = await self.store.list(query)
            found.update((d.id, d) for d in map(decode_dispatch, page.messages))
            query = page.following
        return found

    async def runs(self, microgrid_id: int = 1) -> list[ReportedRun]:
        """Return all runs that were reported to a microgrid, in the order of their occurrences.

        Of those with the same occurrence, the one that was reported first comes first.  Dispatchers
        report in the background: in a test, let some time pass first.
        """
        found: list[ReportedRun] = []
        query: LogQuery[RunFilter] | None = LogQuery(
            microgrid_id, RunFilter(), page_size=MAX_PAGE_SIZE
        )
        while query is not None:
            page = await self.store.runs.list(query)
            found += map(decode_run, page.messages)
            query = page.following
        return found[::-1]

    def delay(self, *methods: str, seconds: float) -> ExitStack:
        """Delay replies from now on: for the rest of the test, or of a ``with`` block::

            service.delay("list", seconds=5)
            with service.delay(seconds=90):
                ...

        A request is carried out at once and its reply is late, whether good or bad: a list has what
        was stored when it was asked for.  A stream has no single reply, so its beginning is late.
        A client with a shorter timeout sees its call fail with DEADLINE_EXCEEDED, although the
        request was carried out; with `math.inf` no reply is ever sent.  Several delays add up.
        Calls under way are not delayed.

        Close the returned object, or leave it as a context manager, to end the delay.

        Args:
          methods: Names of methods of the client: "list", "get", "create", "update", "delete",
            "stream", "report_runs" and so on; all of them if none is given.
          seconds: In Trio's time.

        Raises:
          ValueError: a method is unknown, or the time is negative.
        """
        return self._faults.delay(methods, seconds)

    def fail_next(
        self, method: str, status: Status, message: str = _FAILURE, *, times: int = 1
    ) -> None:
        """Fail the next call of a method, from any client, without carrying it out.

        Several failures apply to successive calls, in the order in which they were asked for.

        Args:
          method: The name of a method of the client, such as "list" or "report_runs".
          status: The status of the failure.
          message: The message of the failure.
          times: How many calls fail.

        Raises:
          ValueError: the method is unknown, or another argument is invalid.
        """
        self._faults.fail_next(method, status, message, times)

    def end_streams(self, status: Status = Status.UNAVAILABLE, message: str = _FAILURE) -> None:
        """End all streams under way with a status.

        Connections stay open, and new streams are accepted.

        Raises:
          ValueError: the status is not a `Status`.
        """
        self._faults.end_streams(status, message)

    def mute_streams(self, loss: float = 1.0) -> None:
        """Lose messages of the streams under way, which stay open.

        So does a proxy that has lost its connection to the service but answers keepalive pings.
        The messages are lost for good.  Streams that are opened later are not affected.

        Args:
          loss: The probability with which each message is lost; 0 ends the fault.

        Raises:
          ValueError: the probability is not between 0 and 1.
        """
        self._faults.mute_streams(loss)

    async def drop_connections(self) -> None:
        """Break every connection without closing it properly, as a failing network does."""
        for stream in list(self._connections):
            await trio.aclose_forcefully(stream)

    async def stop(self) -> None:
        """Stop the service and refuse connections.  The store keeps its content."""
        if self._run is not None:
            self._run.cancel()
            self._run = self._serve = None
        await self.drop_connections()

    async def restart(self) -> None:
        """Stop the service if it runs, and start it again with the same store."""
        await self.stop()
        await self._nursery.start(self._run_service)

    async def _run_service(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.CancelScope() as self._run:
            async with open_service(
                self.store,
                keys=Keys.of(self.key),
                interceptors=[self._faults, self._lists],
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
    *,
    key: str = TEST_KEY,
    db: str | PathLike[str] | None = None,
    keepalive: bool = True,
    totals: bool = True,
    offset_paging: bool = False,
) -> AsyncIterator[LocalService]:
    """Run the real dispatch service, in memory and over memory streams.

    ::

        async with (
            open_test_service() as service,
            open_dispatcher(microgrid_id=1, channel=service.channel, key=service.key) as dispatcher,
        ):
            await service.client.create(1, type="CHARGE", start_time="NOW", ...)

    Under a `trio.testing.MockClock` a day with one dispatcher costs a few seconds of CPU time, or
    less with a longer `probe_interval` and `resync_interval`, see `open_dispatcher`.

    Args:
      key: The API key that the service demands.
      db: The SQLite file in which dispatches are stored; by default they are stored in memory.
      keepalive: Whether idle connections are probed.  A test that lets days pass is faster without.
      totals: Whether lists say how many dispatches they have; some services do not.
      offset_paging: Whether lists are paged by row number, as by some services: when dispatches
        are created or deleted between two pages, the next page omits or repeats dispatches.  A list
        then has 1,000 dispatches at most.
    """
    async with open_store(db) as store, trio.open_nursery() as nursery:
        interval = 60.0 if keepalive else math.inf
        lists = ForeignLists(totals=totals, offset_paging=offset_paging)
        service = LocalService(store, nursery, key, lists, interval)
        await nursery.start(service._run_service)
        async with (
            open_channel(service.connect, keepalive_interval=interval) as channel,
            open_channel(service.connect, keepalive_interval=interval) as own,
        ):
            service.channel = channel
            service.client = DispatchClient(own, key=key)
            yield service
        nursery.cancel_scope.cancel()
