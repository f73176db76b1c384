"""A dispatch service to embed: store, keys and server put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from os import PathLike

import trio

from ..grpc import KEEPALIVE_INTERVAL, Interceptor, Limits, Servable, Server
from .auth import Authenticator, Keys
from .handlers import CODEC, Handlers, end_who_is_cut
from .memory import MemoryStore
from .store import Store

__all__ = ["DispatchService", "open_service", "open_store"]


class DispatchService:
    """A dispatch service, see `open_service`.

    Attributes:
      server: Serves it: ``server.serve_tcp``, ``server.serve_stream`` and the others, each to be
        started in a nursery of the caller's.
      store: What it keeps.
    """

    def __init__(self, server: Server, store: Store, authenticator: Authenticator) -> None:
        self.server = server
        self.store = store
        self._authenticator = authenticator

    @property
    def keys(self) -> Keys | None:
        """The keys that are good; None if everyone may do everything.

        Others may be set at any time: they hold for the calls that come after.  If they are not the
        same, the streams that are under way end, with OK, so that whoever watches has to come again
        with a key that is good now.
        """
        return self._authenticator.keys

    @keys.setter
    def keys(self, keys: Keys | None) -> None:
        changed = keys != self._authenticator.keys
        self._authenticator.keys = keys
        if changed:
            self.store.watchers.end_all()

    def stop(self, *, grace: float = 30.0) -> None:
        """End the streams, take no more calls, and let those that run come to their end.

        Then the ``serve_*`` methods of the server return; after the grace period in any case.
        Streams end with OK when the changes that wait for them have been sent.

        Args:
          grace: In seconds.
        """
        self.server.stop(grace=grace)
        self.store.watchers.end_all()


@asynccontextmanager
async def open_service(
    store: Store | None = None,
    *,
    keys: Keys | None = None,
    services: Iterable[Servable] = (),
    interceptors: Sequence[Interceptor] = (),
    limits: Limits | None = None,
    keepalive_interval: float | None = KEEPALIVE_INTERVAL,
) -> AsyncIterator[DispatchService]:
    """Open a dispatch service, to be served by the caller on whatever listeners and streams::

        async with open_service() as service, trio.open_nursery() as nursery:
            nursery.start_soon(service.server.serve_stream, stream)

    Leaving the block ends the streams of all who watch.  The store stays open.

    Args:
      store: What keeps the dispatches; one in memory, if not given.
      keys: Who may do what.  Without keys everyone may do everything: let nobody but this machine
        reach it then.
      services: What else to serve, say health checks.  It is served with the same codec, and to
        holders of a key only; only health checks need none.
      interceptors: Further interceptors, around the one that looks at the keys.
      limits: What one client may do.
      keepalive_interval: After so many seconds without a word a client is asked for a sign of life;
        None to never do that.
    """
    if store is None:
        store = MemoryStore()
    authenticator = Authenticator(keys, store)
    server = Server(
        [Handlers(store), *services],
        codec=CODEC,
        interceptors=[*interceptors, authenticator, end_who_is_cut],
        limits=limits,
        keepalive_interval=keepalive_interval,
    )
    try:
        yield DispatchService(server, store, authenticator)
    finally:
        store.watchers.end_all()


@asynccontextmanager
async def open_store(path: str | PathLike[str] | None) -> AsyncIterator[Store]:
    """Open a store for dispatches.

    Args:
      path: An SQLite file, which is created if there is none; None keeps them in memory.  Only one
        service at a time can have a file open.

    Raises:
      StoreError: the file cannot be opened, is no SQLite database, or one of another application
        or of a newer version of this package, or another service has it open.
    """
    if path is None:
        await trio.lowlevel.checkpoint()
        yield MemoryStore()
        return
    # Whoever keeps dispatches in memory needs no SQLAlchemy.
    from .sqlite import open_sqlite  # noqa: PLC0415

    async with open_sqlite(path) as store:
        yield store
