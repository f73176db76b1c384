"""Commits of a store in SQLite that fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from trio_dispatch.service.store.sqlite import SqliteStore


def io_error(code: int = sqlite3.SQLITE_IOERR) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


@contextmanager
def failing_commit(
    store: SqliteStore, *, takes_effect: bool, code: int = sqlite3.SQLITE_IOERR
) -> Iterator[None]:
    """Make the next commit fail, after or before it has taken effect."""
    left = 1

    @sa.event.listens_for(store._engine, "commit")
    def commit(connection: sa.Connection) -> None:
        nonlocal left
        options = connection.get_execution_options()
        if left == 0 or options.get("begin") != "BEGIN IMMEDIATE":
            return
        left -= 1
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        if takes_effect:
            driver.execute("COMMIT")
        raise io_error(code)

    try:
        yield
        assert left == 0
    finally:
        sa.event.remove(store._engine, "commit", commit)
