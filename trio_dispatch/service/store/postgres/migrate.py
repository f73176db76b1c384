"""Move the database of a service from SQLite to PostgreSQL."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final
from urllib.parse import quote

from .... import clock
from ...errors import StoreError
from .._schema import APPLICATION_ID, MIGRATIONS
from .._sqlite_files import lock, unlock
from .connection import TrioConnection, connect
from .errors import mapped_to_store_errors
from .schema import prepare
from .sql import storable, transposed
from .store import MAX_SEQUENCE, database_name

__all__ = ["Migrated", "migrate_file"]

_ROWS_AT_ONCE: Final = 500

# The columns of each table in both databases, with their types.  The values are the same in both,
# except that SQLite has no booleans.
_TABLES: Final = {
    "dispatches": {
        "id": "bigint",
        "microgrid_id": "bigint",
        "type": "text",
        "target": "text",
        "active": "boolean",
        "dry_run": "boolean",
        "recurring": "boolean",
        "start_time": "text",
        "end_time": "text",
        "create_time": "text",
        "update_time": "text",
        "created_sequence": "bigint",
        "updated_sequence": "bigint",
        "message": "bytea",
    },
    "changes": {
        "microgrid_id": "bigint",
        "sequence": "bigint",
        "time": "bigint",
        "event": "integer",
        "dispatch_id": "bigint",
        "key_name": "text",
        "peer": "text",
        "old": "bytea",
        "new": "bytea",
    },
    "runs": {
        "microgrid_id": "bigint",
        "number": "bigint",
        "revision": "bigint",
        "dispatcher": "text",
        "dispatch_id": "bigint",
        "start_time": "text",
        "actor": "text",
        "component_id": "bigint",
        "type": "text",
        "state": "integer",
        "message": "bytea",
        "reported": "bigint",
    },
    "dispatchers": {
        "microgrid_id": "bigint",
        "name": "text",
        "version": "text",
        "first_report": "bigint",
        "last_report": "bigint",
        "lost": "bigint",
        "status": "bytea",
    },
    "reporters": {
        "microgrid_id": "bigint",
        "dispatcher": "text",
        "name": "text",
        "last_sequence": "bigint",
        "lost": "bigint",
        "turn": "bigint",
    },
    "stamps": {"key": "bytea", "second": "bigint"},
}
_KEYS: Final = {
    "dispatches": "id",
    "changes": "microgrid_id, sequence",
    "runs": "microgrid_id, number",
    "dispatchers": "microgrid_id, name",
    "reporters": "microgrid_id, dispatcher, name",
    "stamps": "key",
}


@dataclass(frozen=True, slots=True)
class Migrated:
    """What was moved: the number of rows."""

    dispatches: int
    changes: int
    runs: int


async def migrate_file(source: str | PathLike[str], url: str) -> Migrated:
    """Copy the database of a service from SQLite to an empty one in PostgreSQL, and verify it.

    Ids, times, the log of changes and the runs stay as they are.  No service may run on the source,
    which is not changed.  Everything is copied in one transaction: if anything fails, the target is
    as empty as before.

    Raises:
      StoreError: the source cannot be read, is in use or was last opened by an older version; or
        the target cannot be written, or contains something.
      ValueError: the URL is invalid.
    """
    name = database_name(url)
    path = Path(source)
    sqlite = await clock.run_in_thread(_open, path)
    try:
        with mapped_to_store_errors(name):
            connection = await connect(url)
            try:
                await prepare(connection)
                await connection.execute("BEGIN")
                counts = await _copy(sqlite, connection, name)
                await _verify(sqlite, connection, path)
                await connection.execute("COMMIT")
            finally:
                await connection.close()
    finally:
        sqlite.close()
    return Migrated(counts["dispatches"], counts["changes"], counts["runs"])


def _open(path: Path) -> sqlite3.Connection:
    """Open the source, and keep services from writing to it.

    Raises:
      StoreError: it cannot be read, is in use or was last opened by an older version.
    """
    if not path.is_file():
        raise StoreError(f"there is no database {path}")
    unlock(path, lock(path))  # fails while a service has it open
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=rw",
        uri=True,
        check_same_thread=False,
        isolation_level=None,
    )
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise StoreError(f"{path} is a database, but not of a dispatch service")
        if version != len(MIGRATIONS):
            raise StoreError(
                f"{path} was last opened by another version of trio-dispatch: "
                "start a service of this version on it once, and stop it"
            )
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as exc:
        connection.close()
        raise StoreError(f"{path} cannot be read: {exc}") from exc
    except StoreError:
        connection.close()
        raise
    return connection


class _Table:
    """The rows of a table in SQLite, in the order of its key."""

    def __init__(self, sqlite: sqlite3.Connection, name: str) -> None:
        self._types = _TABLES[name]
        self.columns = ", ".join(self._types)
        self.order = _KEYS[name]
        query = f"SELECT {self.columns} FROM {name} ORDER BY {self.order}"  # noqa: S608
        self._cursor = sqlite.execute(query)
        arrays = ", ".join(f"%s::{type_}[]" for type_ in self._types.values())
        self.insert = f"INSERT INTO {name} ({self.columns}) SELECT * FROM unnest({arrays})"  # noqa: S608

    def fetch(self) -> list[tuple[object, ...]]:
        """Return the next rows, with the values that PostgreSQL is to keep."""
        return [
            tuple(
                bool(value)
                if type_ == "boolean"
                else storable(value)
                if isinstance(value, str)
                else value
                for value, type_ in zip(row, self._types.values(), strict=True)
            )
            for row in self._cursor.fetchmany(_ROWS_AT_ONCE)
        ]


async def _copy(
    sqlite: sqlite3.Connection, connection: TrioConnection, name: str
) -> dict[str, int]:
    """Copy all tables, and let the counters continue; return the number of rows of each.

    Raises:
      StoreError: the target contains something.
    """
    counts = dict.fromkeys(_TABLES, 0)
    for table in _TABLES:
        cursor = await connection.execute(f"SELECT FROM {table} LIMIT 1")
        if await cursor.fetchone() is not None:
            raise StoreError(f"{name} contains something already: choose an empty database")
        rows = await clock.run_in_thread(_Table, sqlite, table)
        while some := await clock.run_in_thread(rows.fetch):
            await connection.execute(rows.insert, transposed(some))
            counts[table] += len(some)
    last_id, sequence = sqlite.execute("SELECT last_id, sequence FROM counters").fetchone()
    last_id = last_id if last_id >= 0 else MAX_SEQUENCE  # in SQLite, the upper half is negative
    await connection.execute(
        "SELECT setval('dispatch_ids', %s, %s)", [max(1, last_id), last_id > 0]
    )
    # There it is one sequence for all microgrids; here each continues from its end.
    await connection.execute(
        "INSERT INTO microgrids SELECT DISTINCT microgrid_id, %s::bigint FROM "
        "(SELECT microgrid_id FROM dispatches UNION SELECT microgrid_id FROM changes) AS known",
        [sequence],
    )
    number, revision = sqlite.execute("SELECT last_number, revision FROM run_counters").fetchone()
    await connection.execute(
        "INSERT INTO run_counters SELECT DISTINCT microgrid_id, %s::bigint, %s::bigint FROM runs",
        [number, revision],
    )
    return counts


async def _verify(sqlite: sqlite3.Connection, connection: TrioConnection, path: Path) -> None:
    """Compare both databases, value by value.

    Raises:
      StoreError: they differ.
    """
    for table in _TABLES:
        rows = await clock.run_in_thread(_Table, sqlite, table)
        async with connection.cursor(f"verify_{table}", binary=True) as cursor:
            query = f"SELECT {rows.columns} FROM {table} ORDER BY {rows.order}"  # noqa: S608
            await cursor.execute(query)
            while True:
                expected = await clock.run_in_thread(rows.fetch)
                if await cursor.fetchmany(_ROWS_AT_ONCE) != expected:
                    raise StoreError(f"the copy of {path} differs in {table}: it was not kept")
                if not expected:
                    break
