"""The statements by which a transaction reads and writes dispatches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

import sqlalchemy as sa

from . import queries
from ._schema import changes, counters, dispatches, former, stamps
from ._sql_errors import DRIVER_ERRORS
from ._sqlite_files import raw_connection
from ._statements import ManyRows, decoder_of
from .batch import Batch
from .edits import Counters
from .logs import ChangeRow
from .rows import Row

__all__ = ["find_all", "latest_stamp", "read_batch", "read_counters", "write_batch"]

_FIELDS = tuple(Row.__dataclass_fields__)
_wanted = dispatches.c.id == sa.bindparam("wanted")
_FIND_ALL = (
    f"SELECT {', '.join(_FIELDS)} FROM dispatches"  # noqa: S608 - no value of a client
    " WHERE id IN (SELECT value FROM json_each(?))"
)
_decode = decoder_of(dispatches.c[name] for name in _FIELDS)
_INSERT = ManyRows(dispatches.insert())
_REPLACE = ManyRows(dispatches.update().where(_wanted), wanted="id")
_REMOVE = ManyRows(dispatches.delete().where(_wanted))
_REMEMBER = ManyRows(former.insert())
_FORGET = ManyRows(former.delete().where(former.c.until <= sa.bindparam("wanted")))
_LOG = ManyRows(changes.insert())
_COUNT = ManyRows(counters.update())
_COUNTERS = str(sa.select(counters))
_decode_counters = decoder_of(counters.c)
_stamp_of_key = stamps.c.key == sa.bindparam("wanted")
_STAMP = sa.select(stamps.c.second).where(_stamp_of_key)
_RAISE_STAMP = stamps.update().where(_stamp_of_key).values(second=sa.bindparam("later"))

_R = TypeVar("_R")


class _Wanted(NamedTuple):
    wanted: int


def read_counters(connection: sa.Connection) -> Counters:
    """Return the counters of a database."""
    return Counters(*_decode_counters(raw_connection(connection).execute(_COUNTERS).fetchone()))


def find_all(connection: sa.Connection, ids: Iterable[int]) -> dict[int, Row]:
    """Return the dispatches with these ids, whatever their microgrids."""
    wanted = json.dumps([id_ if id_ < 1 << 63 else id_ - (1 << 64) for id_ in ids])
    rows = [Row(*_decode(row)) for row in raw_connection(connection).execute(_FIND_ALL, (wanted,))]
    return {row.id: row for row in rows}


def latest_stamp(connection: sa.Connection, key: bytes) -> int | None:
    """Return the newest second that is kept for a key."""
    return connection.execute(_STAMP, {"wanted": key}).scalar_one_or_none()


def read_batch(connection: sa.Connection, ids: Iterable[int]) -> Batch:
    """Read what a batch of writes needs; a damaged dispatch fails only the writes that read it."""
    wanted = set(ids)
    stored: Mapping[int, Row | Exception] | Exception
    stored = _attempt(partial(find_all, connection, wanted))
    if isinstance(stored, Exception):
        each = {id_: _attempt(partial(find_all, connection, [id_])) for id_ in wanted}
        stored = {
            id_: found if isinstance(found, Exception) else found[id_]
            for id_, found in each.items()
            if found
        }
    return Batch(read_counters(connection), stored)


def _attempt(read: Callable[[], _R]) -> _R | Exception:
    try:
        return read()
    except DRIVER_ERRORS:
        raise
    except Exception as exc:  # noqa: BLE001 - it is raised by the writes that it concerns
        return exc


def write_batch(connection: sa.Connection, batch: Batch, before: Counters) -> None:
    """Write down what has changed, and forget former sort keys that are no longer needed.

    Args:
      before: The counters before the writes.
    """
    for key, second in batch.stamps.items():
        latest = latest_stamp(connection, key)
        if latest is None:
            connection.execute(stamps.insert(), [{"key": key, "second": second}])
        elif latest < second:
            connection.execute(_RAISE_STAMP, {"wanted": key, "later": second})
    if batch.counters == before:
        return
    _REMOVE.execute(connection, map(_Wanted, batch.removed()))
    _REPLACE.execute(connection, batch.replaced())
    _INSERT.execute(connection, batch.added())
    _REMEMBER.execute(connection, batch.former)
    _LOG.execute(connection, map(ChangeRow.of, batch.changes))
    _COUNT.execute(connection, [batch.counters])
    forgotten = batch.counters.sequence - queries.REMEMBERED_CHANGES
    _FORGET.execute(connection, [_Wanted(forgotten)])
