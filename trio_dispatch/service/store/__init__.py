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
from .memory import MemoryStore
from .watchers import WatchersStatistics

__all__ = ["MemoryStore", "Store", "WatchersStatistics", "backup_file", "open_store"]


@asynccontextmanager
async def open_store(path: str | PathLike[str] | None) -> AsyncIterator[Store]:
    """Open a store for dispatches.

    Args:
      path: An SQLite file, which is created if it does not exist; None keeps the dispatches in
        memory.  One service at a time can have a file open.

    Raises:
      StoreError: the file cannot be opened or written, is not an SQLite database, belongs to
        another application or to a newer version of this package, or is open in another service.
    """
    if path is None:
        await trio.lowlevel.checkpoint()
        yield MemoryStore()
        return
    # SQLAlchemy is needed only for stores in files.
    from .sqlite import open_sqlite  # noqa: PLC0415

    async with open_sqlite(path) as store:
        yield store
