"""Map the errors of PostgreSQL to errors of a store."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from ...errors import StoreCorruptError, StoreError, StoreFullError, StoreUnavailableError

__all__ = ["mapped_to_store_errors", "reason_of"]

log = logging.getLogger("trio_dispatch.service.store")

_ERRORS: tuple[tuple[type[psycopg.Error], type[StoreError], str], ...] = (
    (errors.DiskFull, StoreFullError, "has no room left on its disk"),
    (errors.SequenceGeneratorLimitExceeded, StoreFullError, "has no more ids"),
    (errors.ReadOnlySqlTransaction, StoreUnavailableError, "is a standby, which only reads"),
    (errors.LockNotAvailable, StoreUnavailableError, "is locked by another transaction"),
    (errors.QueryCanceled, StoreUnavailableError, "took too long"),
    (errors.DataCorrupted, StoreCorruptError, "is damaged"),
    (errors.IndexCorrupted, StoreCorruptError, "is damaged"),
    (psycopg.OperationalError, StoreUnavailableError, "cannot be reached"),
)


@contextmanager
def mapped_to_store_errors(name: str) -> Iterator[None]:
    """Raise errors of the database as `StoreError` within a ``with`` block."""
    try:
        yield
    except psycopg.Error as exc:
        reason = reason_of(exc)
        log.warning("%s: %s", name, reason)
        for kind, store_error, what in _ERRORS:
            if isinstance(exc, kind):
                raise store_error(f"{name} {what}: {reason}") from exc
        raise StoreUnavailableError(f"{name} failed: {reason}") from exc


def reason_of(error: psycopg.Error) -> str:
    """Return what an error says, without details and hints."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
