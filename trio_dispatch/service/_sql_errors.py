"""What a database raises, as errors of a store."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from ..errors import DispatchError
from .errors import StoreCorruptError, StoreFullError, StoreUnavailableError

__all__ = ["DRIVER_ERRORS", "again", "translated"]

log = logging.getLogger("trio_dispatch.service.store")

DRIVER_ERRORS = (sa.exc.DBAPIError, sqlite3.Error)

_FAILED = {
    sqlite3.SQLITE_BUSY: (StoreUnavailableError, "is locked by another program"),
    sqlite3.SQLITE_LOCKED: (StoreUnavailableError, "is locked by another program"),
    sqlite3.SQLITE_FULL: (StoreFullError, "has no room left on its disk"),
    sqlite3.SQLITE_CORRUPT: (StoreCorruptError, "is damaged"),
    sqlite3.SQLITE_NOTADB: (StoreCorruptError, "is not an SQLite database"),
}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns what the database raises into a `StoreError`."""
    try:
        yield
    except DRIVER_ERRORS as exc:
        cause = exc.orig if isinstance(exc, sa.exc.DBAPIError) else exc
        code = getattr(cause, "sqlite_errorcode", 0)
        log.warning("%s: %s", path, cause)
        kind, what = _FAILED.get(code & 0xFF, (StoreUnavailableError, f"fails: {cause}"))
        raise kind(f"{path} {what}") from cause


def again(error: DispatchError) -> DispatchError:
    """The same error anew: an exception is to be raised in one task only."""
    fresh = type(error)(*error.args)
    fresh.__cause__ = error.__cause__
    return fresh
