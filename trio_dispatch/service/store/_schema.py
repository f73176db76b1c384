"""The tables of a store in SQLite, and their migrations.

The `application_id` of a file says that it belongs to a dispatch service, and its `user_version`
how many of the `MIGRATIONS` it has been through.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from ..errors import StoreError
from ._columns import from_signed, nanos_of_text, text_of_nanos, to_signed

__all__ = [
    "APPLICATION_ID",
    "changes",
    "check_current",
    "check_writable",
    "counters",
    "dispatchers",
    "dispatches",
    "former",
    "prepare",
    "reporters",
    "run_counters",
    "runs",
    "stamps",
]

APPLICATION_ID = int.from_bytes(b"tdsp", "big")


class Time(TypeDecorator[int]):
    """Nanoseconds since 1970 as a text, see `text_of_nanos`."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> str:
        return text_of_nanos(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else nanos_of_text(value)


class Unsigned(TypeDecorator[int]):
    """An unsigned number of 64 bits in a signed one: the upper half is negative."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else to_signed(value)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else from_signed(value)


_metadata = sa.MetaData()

dispatches = sa.Table(
    "dispatches",
    _metadata,
    sa.Column("id", Unsigned, primary_key=True, autoincrement=False),
    sa.Column("microgrid_id", Unsigned, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("dry_run", sa.Boolean, nullable=False),
    sa.Column("recurring", sa.Boolean, nullable=False),
    sa.Column("start_time", Time, nullable=False),
    sa.Column("end_time", Time, nullable=False),
    sa.Column("create_time", Time, nullable=False),
    sa.Column("update_time", Time, nullable=False),
    sa.Column("created_sequence", sa.BigInteger, nullable=False),
    sa.Column("updated_sequence", sa.BigInteger, nullable=False),
    sa.Column("message", sa.LargeBinary, nullable=False),
)
"""The dispatches; the columns are the fields of a `Row`."""

former = sa.Table(
    "former",
    _metadata,
    sa.Column("until", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", Unsigned, nullable=False),
    sa.Column("created_sequence", sa.BigInteger, nullable=False),
    sa.Column("updated_sequence", sa.BigInteger, nullable=False),
    sa.Column("start_time", Time, nullable=False),
    sa.Column("update_time", Time, nullable=False),
)
"""The sort keys of a dispatch from the change `updated_sequence` up to the change `until`."""

counters = sa.Table(
    "counters",
    _metadata,
    sa.Column("last_id", Unsigned, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
)
"""A single row: the counters of `edits.Counters`."""

stamps = sa.Table(
    "stamps",
    _metadata,
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("second", sa.BigInteger, nullable=False),
)
"""The newest second for which a signature of a key was accepted, by the digest of the key."""


changes = sa.Table(
    "changes",
    _metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("microgrid_id", Unsigned, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("event", sa.Integer, nullable=False),
    sa.Column("dispatch_id", Unsigned, nullable=False),
    sa.Column("key_name", sa.Text, nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("old", sa.LargeBinary),
    sa.Column("new", sa.LargeBinary),
)
"""The log of changes; the columns are the fields of a `ChangeRow`."""

runs = sa.Table(
    "runs",
    _metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("microgrid_id", Unsigned, nullable=False),
    sa.Column("dispatcher", sa.Text, nullable=False),
    sa.Column("dispatch_id", Unsigned, nullable=False),
    sa.Column("start_time", Time, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("component_id", Unsigned),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("state", sa.Integer, nullable=False),
    sa.Column("message", sa.LargeBinary, nullable=False),
    sa.Column("reported", sa.BigInteger, nullable=False),
)
"""The runs; the columns are the fields of a `RunRow`, and when it was reported last."""

run_counters = sa.Table(
    "run_counters",
    _metadata,
    sa.Column("last_number", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
)
"""A single row: the counters of `runs.RunCounters`."""

dispatchers = sa.Table(
    "dispatchers",
    _metadata,
    sa.Column("microgrid_id", Unsigned, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("first_report", sa.BigInteger, nullable=False),
    sa.Column("last_report", sa.BigInteger, nullable=False),
    sa.Column("lost", sa.BigInteger, nullable=False),
    sa.Column("status", sa.LargeBinary),
)
"""The dispatchers that have reported, with the encoded status of each."""

reporters = sa.Table(
    "reporters",
    _metadata,
    sa.Column("microgrid_id", Unsigned, primary_key=True, autoincrement=False),
    sa.Column("dispatcher", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("last_sequence", sa.BigInteger, nullable=False),
    sa.Column("lost", sa.BigInteger, nullable=False),
    sa.Column("turn", sa.BigInteger, nullable=False),
)
"""The queues of the dispatchers' reports: a `runs.Reporter`, and the order of the last reports."""


def _create_tables(connection: sa.Connection) -> None:
    # Written out: a migration must stay the same when the tables above change.
    for statement in (
        """CREATE TABLE dispatches (
            id INTEGER NOT NULL PRIMARY KEY,
            microgrid_id BIGINT NOT NULL,
            type TEXT NOT NULL,
            target TEXT NOT NULL,
            active BOOLEAN NOT NULL,
            dry_run BOOLEAN NOT NULL,
            recurring BOOLEAN NOT NULL,
            starts TEXT NOT NULL,
            ends TEXT NOT NULL,
            created TEXT NOT NULL,
            updated TEXT NOT NULL,
            born BIGINT NOT NULL,
            changed BIGINT NOT NULL,
            message BLOB NOT NULL
        )""",
        "CREATE INDEX dispatches_by_starts ON dispatches (microgrid_id, starts, id)",
        "CREATE INDEX dispatches_by_ends ON dispatches (microgrid_id, ends)",
        "CREATE INDEX dispatches_by_created ON dispatches (microgrid_id, created, id)",
        "CREATE INDEX dispatches_by_updated ON dispatches (microgrid_id, updated, id)",
        """CREATE TABLE former (
            until INTEGER NOT NULL PRIMARY KEY,
            id BIGINT NOT NULL,
            born BIGINT NOT NULL,
            changed BIGINT NOT NULL,
            starts TEXT NOT NULL,
            updated TEXT NOT NULL
        )""",
        "CREATE TABLE counters (last_id BIGINT NOT NULL, changes BIGINT NOT NULL)",
        "INSERT INTO counters (last_id, changes) VALUES (0, 0)",
    ):
        connection.exec_driver_sql(statement)


def _create_stamps(connection: sa.Connection) -> None:
    connection.exec_driver_sql(
        "CREATE TABLE stamps (key BLOB NOT NULL PRIMARY KEY, second BIGINT NOT NULL)"
    )


def _rename_columns(connection: sa.Connection) -> None:
    renamed = {
        "starts": "start_time",
        "ends": "end_time",
        "created": "create_time",
        "updated": "update_time",
        "born": "created_sequence",
        "changed": "updated_sequence",
    }
    for old, new in renamed.items():
        connection.exec_driver_sql(f"ALTER TABLE dispatches RENAME COLUMN {old} TO {new}")
    for old in ("starts", "updated", "born", "changed"):
        connection.exec_driver_sql(f"ALTER TABLE former RENAME COLUMN {old} TO {renamed[old]}")
    connection.exec_driver_sql("ALTER TABLE counters RENAME COLUMN changes TO sequence")


def _create_logs(connection: sa.Connection) -> None:
    for statement in (
        """CREATE TABLE changes (
            sequence INTEGER NOT NULL PRIMARY KEY,
            microgrid_id BIGINT NOT NULL,
            time BIGINT NOT NULL,
            event INTEGER NOT NULL,
            dispatch_id BIGINT NOT NULL,
            key_name TEXT NOT NULL,
            peer TEXT NOT NULL,
            old BLOB,
            new BLOB
        )""",
        "CREATE INDEX changes_by_time ON changes (microgrid_id, time)",
        "CREATE INDEX changes_by_dispatch ON changes (microgrid_id, dispatch_id, time)",
        "CREATE INDEX changes_by_key ON changes (microgrid_id, key_name, time)",
        """CREATE TABLE runs (
            number INTEGER NOT NULL PRIMARY KEY,
            revision BIGINT NOT NULL,
            microgrid_id BIGINT NOT NULL,
            dispatcher TEXT NOT NULL,
            dispatch_id BIGINT NOT NULL,
            start_time TEXT NOT NULL,
            actor TEXT NOT NULL,
            component_id BIGINT,
            type TEXT NOT NULL,
            state INTEGER NOT NULL,
            message BLOB NOT NULL,
            reported BIGINT NOT NULL
        )""",
        "CREATE INDEX runs_by_start_time ON runs (microgrid_id, start_time)",
        "CREATE INDEX runs_by_dispatch ON runs (microgrid_id, dispatch_id, start_time)",
        "CREATE INDEX runs_by_component ON runs (microgrid_id, component_id, start_time)",
        "CREATE INDEX runs_by_state ON runs (microgrid_id, state, start_time)",
        "CREATE INDEX runs_by_type ON runs (microgrid_id, type, start_time)",
        "CREATE INDEX runs_by_dispatcher ON runs (microgrid_id, dispatcher, start_time)",
        "CREATE INDEX runs_by_report ON runs (reported) WHERE state <> 1",
        "CREATE TABLE run_counters (last_number BIGINT NOT NULL, revision BIGINT NOT NULL)",
        "INSERT INTO run_counters (last_number, revision) VALUES (0, 0)",
        """CREATE TABLE dispatchers (
            microgrid_id BIGINT NOT NULL,
            name TEXT NOT NULL,
            version TEXT NOT NULL,
            first_report BIGINT NOT NULL,
            last_report BIGINT NOT NULL,
            lost BIGINT NOT NULL,
            PRIMARY KEY (microgrid_id, name)
        ) WITHOUT ROWID""",
        """CREATE TABLE reporters (
            microgrid_id BIGINT NOT NULL,
            dispatcher TEXT NOT NULL,
            name TEXT NOT NULL,
            last_sequence BIGINT NOT NULL,
            lost BIGINT NOT NULL,
            turn BIGINT NOT NULL,
            PRIMARY KEY (microgrid_id, dispatcher, name)
        ) WITHOUT ROWID""",
    ):
        connection.exec_driver_sql(statement)


def _add_status(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE dispatchers ADD COLUMN status BLOB")


MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (
    _create_tables,
    _create_stamps,
    _rename_columns,
    _create_logs,
    _add_status,
)
"""What takes a file from each version of the schema to the next; a new file needs all of them."""


def prepare(connection: sa.Connection, path: Path) -> None:
    """Set up a new file or migrate an older one, within the transaction.

    Raises:
      StoreError: the database belongs to another application, or to a newer version of this
        package.
    """

    def pragma(name: str) -> int:
        return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

    application, version = pragma("application_id"), pragma("user_version")
    if application != APPLICATION_ID:
        tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        if application or version or tables:
            raise StoreError(f"{path} is a database, but not of a dispatch service")
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} was written by a newer version of trio-dispatch: its schema has version "
            f"{version}, but this version supports only those up to {len(MIGRATIONS)}"
        )
    for migrate in MIGRATIONS[version:]:
        migrate(connection)
    if version < len(MIGRATIONS):
        _set_version(connection)


def check_current(connection: sa.Connection, path: Path) -> None:
    """Check that a file has been set up, with the present schema.

    Raises:
      StoreError: it has not.
    """
    application, version = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("application_id", "user_version")
    )
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is a database, but not of a dispatch service")
    if version != len(MIGRATIONS):
        raise StoreError(
            f"{path} has the schema of another version of trio-dispatch: serve it with this "
            "version first"
        )


def check_writable(connection: sa.Connection) -> None:
    """Write what the file contains already; in a file that is read-only this fails."""
    _set_version(connection)


def _set_version(connection: sa.Connection) -> None:
    connection.exec_driver_sql(f"PRAGMA user_version = {len(MIGRATIONS)}")
