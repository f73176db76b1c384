"""The tables of a store in SQLite, and how a file gets them.

A file says in its `application_id` that it is one of ours, and in its `user_version` which of the
`MIGRATIONS` it has been through.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from .errors import StoreError

__all__ = [
    "APPLICATION_ID",
    "NEVER",
    "Moment",
    "counters",
    "dispatches",
    "former",
    "prepare",
    "stamps",
]

APPLICATION_ID = int.from_bytes(b"tdsp", "big")
_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NEVER = "never"
"""What stands for the end of what does not end; as text it comes after every year."""


class Moment(TypeDecorator[int]):
    """Nanoseconds since 1970 as a text that sorts as they do; None as `NEVER`.

    The years 1 to 9999 in nanoseconds are more than 64 bits hold.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Any) -> str:
        if value is None:
            return NEVER
        seconds, nanos = divmod(value, _SECOND)
        return f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]}.{nanos:09}Z"

    def process_result_value(self, value: str | None, dialect: Any) -> int | None:
        if value is None or value == NEVER:
            return None
        delta = datetime.fromisoformat(f"{value[:19]}+00:00") - _EPOCH
        return (delta.days * 86_400 + delta.seconds) * _SECOND + int(value[20:29])


class Unsigned(TypeDecorator[int]):
    """A number of 64 bits without a sign, in one with a sign: the upper half is negative."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Any) -> int | None:
        return value if value is None or value < 1 << 63 else value - (1 << 64)

    def process_result_value(self, value: int | None, dialect: Any) -> int | None:
        return value if value is None or value >= 0 else value + (1 << 64)


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
    sa.Column("starts", Moment, nullable=False),
    sa.Column("ends", Moment, nullable=False),
    sa.Column("created", Moment, nullable=False),
    sa.Column("updated", Moment, nullable=False),
    sa.Column("born", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("message", sa.LargeBinary, nullable=False),
)
"""The dispatches, column by column a `Row`."""

former = sa.Table(
    "former",
    _metadata,
    sa.Column("until", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", Unsigned, nullable=False),
    sa.Column("born", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("starts", Moment, nullable=False),
    sa.Column("updated", Moment, nullable=False),
)
"""By what a dispatch was sorted from the change `changed` up to the change `until`."""

counters = sa.Table(
    "counters",
    _metadata,
    sa.Column("last_id", Unsigned, nullable=False),
    sa.Column("changes", sa.BigInteger, nullable=False),
)
"""The single row of what must survive a deletion of the newest dispatch, or of all."""

stamps = sa.Table(
    "stamps",
    _metadata,
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("second", sa.BigInteger, nullable=False),
)
"""The newest second for which a signature of a key was good, by the digest of the key."""


def _first(connection: sa.Connection) -> None:
    # Written out: what a migration does must not change when the tables above do.
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


def _second(connection: sa.Connection) -> None:
    connection.exec_driver_sql(
        "CREATE TABLE stamps (key BLOB NOT NULL PRIMARY KEY, second BIGINT NOT NULL)"
    )


MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (_first, _second)
"""What takes a file from each version to the next; a new file goes through all of them."""


def prepare(connection: sa.Connection, path: Path) -> None:
    """Make a new file ours, or bring one of ours up to date, within the transaction.

    Raises:
      StoreError: it is a database of something else, or of a newer version of this package.
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
            f"{version}, and this one knows those up to {len(MIGRATIONS)}"
        )
    for migrate in MIGRATIONS[version:]:
        migrate(connection)
    if version < len(MIGRATIONS):
        connection.exec_driver_sql(f"PRAGMA user_version = {len(MIGRATIONS)}")
