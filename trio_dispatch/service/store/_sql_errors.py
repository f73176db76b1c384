"""Map the errors of a database to errors of a store."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from ..errors import StoreBusyError, StoreCorruptError, StoreFullError, StoreUnavailableError

__all__ = ["DRIVER_ERRORS", "mapped_to_store_errors"]

log = logging.getLogger("trio_dispatch.service.store")

DRIVER_ERRORS = (sa.exc.DBAPIError, sqlite3.Error)

_ERRORS = {
    sqlite3.SQLITE_BUSY: (StoreUnavailableError, "is locked by another program"),
    sqlite3.SQLITE_LOCKED: (StoreUnavailableError, "is locked by another program"),
    sqlite3.SQLITE_READONLY: (StoreUnavailableError, "cannot be written: it is read-only"),
    sqlite3.SQLITE_FULL: (StoreFullError, "has no room left on its disk"),
    sqlite3.SQLITE_CORRUPT: (StoreCorruptError, "is damaged"),
    sqlite3.SQLITE_NOTADB: (StoreCorruptError, "is not an SQLite database"),
}


@contextmanager
def mapped_to_store_errors(path: Path) -> Iterator[None]:
    """Raise errors of the database as `StoreError` within a ``with`` block."""
    try:
        yield
    except DRIVER_ERRORS as exc:
        cause = exc.orig if isinstance(exc, sa.exc.DBAPIError) else exc
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_INTERRUPT:
            raise StoreBusyError("the list took too long: use a simpler filter") from cause
        log.warning("%s: %s", path, cause)
        kind, what = _ERRORS.get(code, (StoreUnavailableError, f"failed: {cause}"))
        raise kind(f"{path} {what}") from cause
