"""What a store has, in numbers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["StoreStatistics", "disk_statistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatistics:
    """What a store has.

    Attributes:
      kind: What it keeps the dispatches in.
      dispatches: The number of dispatches, of all microgrids.
      oldest_change: When the oldest change was made that is still in the log, in nanoseconds since
        1970; None if the log is empty.
      size: The size of the database in bytes; None in memory.
      disk_free, disk_size: The file system of the database, in bytes: what this process may still
        write, and all of it.  None if that is not known.
    """

    kind: Literal["memory", "sqlite", "postgresql"]
    dispatches: int
    oldest_change: int | None = None
    size: int | None = None
    disk_free: int | None = None
    disk_size: int | None = None


def disk_statistics(database: Path) -> tuple[int, int, int]:
    """Return the size of a database in a file with its log, what is free on its disk, and its size.

    Raises:
      OSError: they cannot be determined.
    """
    size = database.stat().st_size
    log = database.with_name(f"{database.name}-wal")
    if log.exists():
        size += log.stat().st_size
    disk = os.statvfs(database.parent)
    return size, disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
