"""Scheduled backups of a store in a file, the oldest of which are removed."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import trio

from .. import clock
from .errors import StoreError
from .store import Store

__all__ = ["BackupSchedule", "BackupStatistics", "keep_backups"]

log = logging.getLogger("trio_dispatch.service.backups")

_NAME: Final = "dispatches-%Y%m%dT%H%M%SZ.db"
_PATTERN: Final = re.compile(r"dispatches-\d{8}T\d{6}Z\.db")
_RETRY: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class BackupSchedule:
    """When to make backups, and how many to keep.

    Attributes:
      directory: Where they are made.
      every: How often.
      keep: How many are kept: the latest.

    Raises:
      ValueError: the period or the number is not positive.
    """

    directory: Path
    every: timedelta = timedelta(days=1)
    keep: int = 7

    def prepare(self) -> None:
        """Create the directory unless it exists, so that only its owner can read it.

        Raises:
          OSError: it cannot be created.
        """
        self.directory.mkdir(mode=0o700, exist_ok=True)

    def __post_init__(self) -> None:
        if self.every <= timedelta():
            raise ValueError(f"every {self.every} is not above 0")
        if self.keep < 1:
            raise ValueError(f"keep {self.keep} is below 1")


@dataclass(slots=True)
class BackupStatistics:
    """What became of the backups.

    Attributes:
      last: When the last one was made, also by an earlier process, in UTC; None if none was.
      failed: How many failed.
    """

    last: datetime | None = None
    failed: int = 0


async def keep_backups(
    store: Store, schedule: BackupSchedule, statistics: BackupStatistics
) -> None:
    """Make backups until cancelled.

    The first one is made when the latest that exists is old enough, so that a service that is
    restarted often has backups nevertheless.  One that fails is logged and tried again after five
    minutes, or after `BackupSchedule.every` if that is less; the old ones are kept then.
    """
    statistics.last = await clock.run_in_thread(_last_backup, schedule.directory)
    while True:
        if statistics.last is not None:
            rest = statistics.last + schedule.every - clock.now()
            await trio.sleep(max(0.0, rest.total_seconds()))
        try:
            await _make(store, schedule, statistics)
        except (StoreError, OSError) as exc:
            statistics.failed += 1
            log.error("no backup could be made: %s", exc)  # noqa: TRY400
            await trio.sleep(min(_RETRY, schedule.every).total_seconds())


async def _make(store: Store, schedule: BackupSchedule, statistics: BackupStatistics) -> None:
    now = clock.now()
    path = schedule.directory / now.strftime(_NAME)
    await store.backup(path)
    statistics.last = now
    removed = await clock.run_in_thread(_remove_old, schedule.directory, schedule.keep)
    log.info("made the backup %s; removed %d old ones", path, removed)


def _backups(directory: Path) -> list[Path]:
    """The backups in a directory, the oldest first."""
    return sorted(path for path in directory.iterdir() if _PATTERN.fullmatch(path.name))


def _last_backup(directory: Path) -> datetime | None:
    found = _backups(directory)
    return datetime.strptime(f"{found[-1].name}+0000", f"{_NAME}%z") if found else None


def _remove_old(directory: Path, keep: int) -> int:
    old = _backups(directory)[:-keep]
    for path in old:
        path.unlink()
    return len(old)
