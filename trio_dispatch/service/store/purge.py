"""Remove old runs and changes from the database of a store, whether or not a service runs on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...model.times import time_to_nanos
from ..errors import StoreError

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["Purged", "purge_file"]

_BUSY_TIMEOUT: Final = 30.0
_PAUSE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Purged:
    """How many runs and changes were removed."""

    runs: int
    changes: int


def purge_file(
    path: str | PathLike[str], before: datetime, *, runs: bool = True, changes: bool = True
) -> Purged:
    """Remove runs that have ended, and changes, from the database of a dispatch service.

    A service that runs on it goes on meanwhile: each transaction removes a few hundred entries, and
    the service has its turn in between.  The file does not become smaller; the room is used again.
    This call blocks: from Trio, use `trio_dispatch.clock.run_in_thread`.

    Args:
      before: Runs whose last report is earlier are removed, and changes that were made earlier.
      runs, changes: What to remove.

    Raises:
      StoreError: the database cannot be written, does not belong to a dispatch service, or has not
        been opened by a service of this version.
    """
    # SQLAlchemy is needed only for stores in files.
    from ._schema import check_current  # noqa: PLC0415
    from ._sql_errors import mapped_to_store_errors  # noqa: PLC0415
    from ._sql_logs import remove_changes, remove_runs  # noqa: PLC0415
    from ._sqlite_files import make_engine  # noqa: PLC0415

    file = Path(path)
    if not file.is_file():
        raise StoreError(f"there is no database {file}")
    engine = make_engine(file, _BUSY_TIMEOUT, connections=1)
    nanos = time_to_nanos(before)
    try:
        with mapped_to_store_errors(file):
            with engine.begin() as connection:
                check_current(connection, file)
            return Purged(
                _remove_all(engine, lambda c: remove_runs(c, before=nanos)) if runs else 0,
                _remove_all(engine, lambda c: remove_changes(c, before=nanos)) if changes else 0,
            )
    finally:
        engine.dispose()


def _remove_all(engine: sa.Engine, remove: Callable[[sa.Connection], int]) -> int:
    writing = engine.execution_options(begin="BEGIN IMMEDIATE")
    total = 0
    while True:
        with writing.begin() as connection:
            count = remove(connection)
        total += count
        if not count:
            return total
        time.sleep(_PAUSE)
