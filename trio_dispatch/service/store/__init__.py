"""Stores: what keeps the dispatches of a service, in memory or in an SQLite file.

`base.Store` is the interface.  `edits` and `queries` decide what writes and lists mean, which is
the same for every store; `memory` and `sqlite` carry them out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import PathLike

import trio

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
      path: An SQLite file, which is created if it does not exist; None keeps the dispatches in
        memory.  One service at a time can have a file open.
      retention: How long runs and changes are kept; by default `Retention()`, and in memory only
        100,000 of each.

    Raises:
      StoreError: the file cannot be opened or written, is not an SQLite database, belongs to
        another application or to a newer version of this package, or is open in another service.
    """
    if path is None:
        await trio.lowlevel.checkpoint()
        yield MemoryStore(retention=retention or MEMORY_RETENTION)
        return
    # SQLAlchemy is needed only for stores in files.
    from .sqlite import open_sqlite  # noqa: PLC0415

    async with open_sqlite(path, retention=retention or DEFAULT_RETENTION) as store:
        yield store
