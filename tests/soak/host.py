"""The service of a soak: real, on an SQLite file, over memory streams, and stopped now and then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import trio
import trio.testing

from trio_dispatch.service import Keys, Retention, open_service, open_store
from trio_dispatch.testing.faults import Faults

__all__ = ["Host"]


class Host:
    """Runs the service, again and again on the same file.

    Attributes:
      key: The API key.
      faults: What goes wrong with its calls and streams.
      starts: How often it was started.
    """

    def __init__(self, nursery: trio.Nursery, db: Path, retention: Retention) -> None:
        self.key = "soak-key"
        self.faults = Faults()
        self.starts = 0
        self._nursery = nursery
        self._db = db
        self._retention = retention
        self._run: trio.CancelScope | None = None
        self._stopped = trio.Event()
        self._serve: Callable[[trio.abc.Stream], Awaitable[None]] | None = None
        self._connections: dict[trio.abc.Stream, None] = {}

    @property
    def is_down(self) -> bool:
        """Whether it is stopped."""
        return self._serve is None

    async def connect(self) -> trio.abc.Stream:
        """Open a connection.

        Raises:
          ConnectionRefusedError: the service is stopped.
        """
        await trio.lowlevel.checkpoint()
        if self._serve is None:
            raise ConnectionRefusedError("the service is stopped")
        ours, theirs = trio.testing.memory_stream_pair()
        self._connections[theirs] = None
        self._nursery.start_soon(self._serve_one, self._serve, theirs)
        return ours

    async def start(self) -> None:
        """Open the file, and serve."""
        await self._nursery.start(self._run_service)
        self.starts += 1

    async def stop(self) -> None:
        """Break all connections, stop at once, and close the file."""
        assert self._run is not None
        self._serve = None
        await self.drop_connections()
        self._run.cancel()
        await self._stopped.wait()

    async def drop_connections(self) -> None:
        """Break all connections without closing them properly."""
        for stream in [*self._connections]:
            await trio.aclose_forcefully(stream)

    async def _run_service(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self._stopped = trio.Event()
        with trio.CancelScope() as self._run:
            async with (
                open_store(self._db, retention=self._retention) as store,
                open_service(store, keys=Keys.of(self.key), interceptors=[self.faults]) as service,
            ):
                self._serve = service.server.serve_stream
                task_status.started()
                await trio.sleep_forever()
        self._stopped.set()

    async def _serve_one(
        self, serve: Callable[[trio.abc.Stream], Awaitable[None]], stream: trio.abc.Stream
    ) -> None:
        try:
            await serve(stream)
        finally:
            self._connections.pop(stream, None)
            await trio.aclose_forcefully(stream)


KEPT = Retention(run_age=timedelta(hours=4), change_age=timedelta(hours=4))
"""So short that the database is full after the first tenth of a soak."""
