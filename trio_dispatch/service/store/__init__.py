"""Stores: what keeps the dispatches of a service, in memory, in SQLite or in PostgreSQL.

`base.Store` is the interface.  `edits` and `queries` decide what writes and lists mean, which is
the same for every store; `memory`, `sqlite` and `postgres` carry them out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import PathLike

import trio

from ..errors import StoreError
from .backup import backup_file
from .base import Store
from .memory import MEMORY_RETENTION, MemoryStore
from .purge import Purged, purge_file
from .retention import DEFAULT_RETENTION, Retention
from .watchers import WatchersStatistics

__all__ = [
    "MemoryStore",
    "Purged",
    "Retention",
    "Store",
    "WatchersStatistics",
    "backup_file",
    "open_store",
    "purge_file",
]


@asynccontextmanager
async def open_store(
    path: str | PathLike[str] | None, *, retention: Retention | None = None
) -> AsyncIterator[Store]:
    """Open a store for dispatches.

    Args:
      path: An SQLite file, which is created if it does not exist; one service at a time can have
        it open.  Or the URL of a PostgreSQL database, ``postgresql://...``, which any number of
        services can share; it needs the extra ``trio-dispatch[postgres]``.  None keeps the
        dispatches in memory.
      retention: How long runs and changes are kept; by default `Retention()`, and in memory only
        100,000 of each.

    Raises:
      StoreError: the file or database cannot be opened or written, is not of a dispatch service, or
        belongs to a newer version of this package; or the file is open in another service.
      ValueError: the URL is invalid.
    """
    if path is None:
        await trio.lowlevel.checkpoint()
        yield MemoryStore(retention=retention or MEMORY_RETENTION)
    elif isinstance(path, str) and path.startswith(("postgresql://", "postgres://")):
        try:
            from .postgres.store import open_postgres  # noqa: PLC0415
        except ModuleNotFoundError as exc:
            if exc.name != "psycopg":
                raise
            raise StoreError(
                f"{path.partition('://')[0]}://... needs psycopg: "
                "pip install 'trio-dispatch[postgres]'"
            ) from None
        async with open_postgres(path, retention=retention or DEFAULT_RETENTION) as store:
            yield store
    else:
        # SQLAlchemy is needed only for stores in files.
        from .sqlite import open_sqlite  # noqa: PLC0415

        async with open_sqlite(path, retention=retention or DEFAULT_RETENTION) as store:
            yield store
