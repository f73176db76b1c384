"""A dispatch service to embed: store, keys and server put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from .. import clock
from ..api.definitions import definitions
from ..concurrency.nursery import open_service_nursery
from ..grpc import KEEPALIVE_INTERVAL, Interceptor, Limits, Servable, Server
from ..grpc.tracing import is_tracing, trace_server
from ..model.dispatchers import DispatcherInfo
from .auth import Authenticator
from .auth_log import Fault
from .calls import CODEC
from .handlers import Handlers
from .keys import Keys
from .run_handlers import RunHandlers
from .statuses import Statuses
from .store import MemoryStore, Store

__all__ = ["DispatchService", "open_service"]

MAX_REQUEST_BYTES: Final = 512 * 1024
"""A request has at most a whole dispatch, a filter or a page token."""


class DispatchService:
    """A dispatch service, see `open_service`.

    Attributes:
      server: Serves the service with ``server.serve_tcp``, ``server.serve_stream`` and the others,
        each of which the caller starts in a nursery.
      store: The store of the dispatches.
    """

    def __init__(
        self, server: Server, store: Store, authenticator: Authenticator, statuses: Statuses
    ) -> None:
        self.server = server
        self.store = store
        self._authenticator = authenticator
        self._statuses = statuses

    @property
    def refused(self) -> Counter[str]:
        """How many calls were refused as unauthenticated, by what was wrong."""
        refused = self._authenticator.faults.refused
        return Counter({fault.value: refused[fault] for fault in Fault})

    async def dispatchers(self) -> dict[int, list[DispatcherInfo]]:
        """Return the dispatchers that have reported, by microgrid, by name.

        Raises:
          StoreError: they cannot be read.
        """
        return await self._statuses.all_dispatchers(clock.now())

    @property
    def keys(self) -> Keys | None:
        """The valid API keys; None permits everything to everyone.

        They may be set at any time and apply to later calls.  If they differ from the present ones,
        all streams end with OK, so that their clients connect again with a key that is valid now.
        """
        return self._authenticator.keys

    @keys.setter
    def keys(self, keys: Keys | None) -> None:
        changed = keys != self._authenticator.keys
        self._authenticator.keys = keys
        if changed:
            self.store.end_watchers()

    def stop(self, *, grace: float = 30.0) -> None:
        """Stop serving: accept no more calls and wait for those under way.

        The ``serve_*`` methods of the server return when the last call has ended, at the latest
        after the grace period.  Streams end with OK when the changes that wait for them are sent.

        Args:
          grace: In seconds.
        """
        self.server.stop(grace=grace)
        self.store.end_watchers()


@asynccontextmanager
async def open_service(
    store: Store | None = None,
    *,
    keys: Keys | None = None,
    services: Iterable[Servable] = (),
    interceptors: Sequence[Interceptor] = (),
    reflection: bool = False,
    limits: Limits | None = None,
    keepalive_interval: float = KEEPALIVE_INTERVAL,
) -> AsyncIterator[DispatchService]:
    """Open a dispatch service, which the caller serves on any listeners and streams::

        async with open_service() as service, trio.open_nursery() as nursery:
            nursery.start_soon(service.server.serve_stream, stream)

    Leaving the block ends the streams of all watchers.  The store stays open.  If a tracer provider
    of OpenTelemetry is set by then, a span is recorded for each call.

    Args:
      store: The store of the dispatches; by default a new one in memory.
      keys: The valid API keys.  Without keys everything is permitted to everyone: serve this
        machine only.
      services: Further services on the same server, such as health checks.  They use the same codec
        and need a key; only health checks need none.
      interceptors: Further interceptors, called before the one that checks the keys.
      reflection: Whether clients such as grpcurl can ask for the definitions of the API, with any
        valid key.
      limits: Per-connection limits on one client.
      keepalive_interval: A connection on which nothing was received for this many seconds is tested
        with a ping; `math.inf` for never.
    """
    if store is None:
        store = MemoryStore()
    authenticator = Authenticator(keys, store)
    statuses = Statuses(store.runs)
    tracing = [trace_server()] if is_tracing() else []
    server = Server(
        [Handlers(store), RunHandlers(store, statuses), *services],
        codec=CODEC,
        interceptors=[*tracing, *interceptors, authenticator],
        max_message_size=MAX_REQUEST_BYTES,
        limits=limits,
        keepalive_interval=keepalive_interval,
    )
    if reflection:
        server.add_reflection(definitions())
    try:
        async with open_service_nursery() as nursery:
            nursery.start_soon(statuses.run)
            yield DispatchService(server, store, authenticator, statuses)
            nursery.cancel_scope.cancel()
    finally:
        store.end_watchers()
