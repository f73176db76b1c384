"""Remove old runs and changes from a database in PostgreSQL."""

from __future__ import annotations

from datetime import datetime

from ....model.times import time_to_nanos
from ..purge import Purged
from ..retention import TRIMMED_AT_ONCE
from . import log_sql
from .connection import TrioConnection, connect
from .errors import mapped_to_store_errors
from .schema import prepare
from .store import database_name

__all__ = ["purge_database"]


async def purge_database(
    url: str, before: datetime, *, runs: bool = True, changes: bool = True
) -> Purged:
    """Remove runs that have ended, and changes, while services go on.

    Args:
      before: Runs whose last report is earlier are removed, and changes that were made earlier.
      runs, changes: What to remove.

    Raises:
      StoreError: the database cannot be written, or belongs to a newer version of this package.
      ValueError: the URL is invalid.
    """
    nanos = time_to_nanos(before)
    with mapped_to_store_errors(database_name(url)):
        connection = await connect(url)
        try:
            await prepare(connection)
            return Purged(
                await _remove_all(connection, log_sql.TRIM_RUNS, nanos) if runs else 0,
                await _remove_all(connection, log_sql.TRIM_CHANGES, nanos) if changes else 0,
            )
        finally:
            await connection.close()


async def _remove_all(connection: TrioConnection, statement: str, before: int) -> int:
    total = 0
    while True:
        cursor = await connection.execute(statement, [before, TRIMMED_AT_ONCE])
        total += cursor.rowcount
        if not cursor.rowcount:
            return total
