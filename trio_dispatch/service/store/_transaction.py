"""The statements by which a transaction reads and writes dispatches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import TypeVar

import sqlalchemy as sa

from . import queries
from ._schema import changes, counters, dispatches, former, stamps
from ._sql_errors import DRIVER_ERRORS
from .batch import Batch
from .edits import Counters
from .logs import ChangeRow
from .rows import Row

__all__ = ["find_all", "latest_stamp", "read_batch", "read_counters", "write_batch"]

_IDS_AT_ONCE = 500
_FIELDS = tuple(Row.__dataclass_fields__)
_wanted = dispatches.c.id == sa.bindparam("wanted")
_FIND_ALL = sa.select(*(dispatches.c[name] for name in _FIELDS)).where(
    dispatches.c.id.in_(sa.bindparam("wanted", expanding=True))
)
_INSERT = dispatches.insert()
_LOG = changes.insert()
_REPLACE = dispatches.update().where(_wanted)
_REMOVE = dispatches.delete().where(_wanted)
_stamp_of_key = stamps.c.key == sa.bindparam("wanted")
_STAMP = sa.select(stamps.c.second).where(_stamp_of_key)
_RAISE_STAMP = stamps.update().where(_stamp_of_key).values(second=sa.bindparam("later"))

_R = TypeVar("_R")


def read_counters(connection: sa.Connection) -> Counters:
    """Return the counters of a database."""
    return Counters(*connection.execute(sa.select(counters)).one())


def find_all(connection: sa.Connection, ids: Iterable[int]) -> dict[int, Row]:
    """Return the dispatches with these ids, whatever their microgrids."""
    found, wanted = {}, [*ids]
    for begin in range(0, len(wanted), _IDS_AT_ONCE):
        some = {"wanted": wanted[begin : begin + _IDS_AT_ONCE]}
        for columns in connection.execute(_FIND_ALL, some):
            row = Row(*columns)
            found[row.id] = row
    return found


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
    former_rows = [asdict(keys) for keys in batch.former]
    for row in former_rows:
        del row["microgrid_id"]
    for statement, rows in (
        (_REMOVE, [{"wanted": id_} for id_ in batch.removed()]),
        (_REPLACE, [{"wanted": row.id, **_columns(row)} for row in batch.replaced()]),
        (_INSERT, [_columns(row) for row in batch.added()]),
        (former.insert(), former_rows),
        (_LOG, [asdict(ChangeRow.of(change)) for change in batch.changes]),
    ):
        if rows:
            connection.execute(statement, rows)
    last_id, sequence = batch.counters.last_id, batch.counters.sequence
    connection.execute(counters.update().values(last_id=last_id, sequence=sequence))
    forgotten = former.c.until <= sequence - queries.REMEMBERED_CHANGES
    connection.execute(former.delete().where(forgotten))


def _columns(row: Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in _FIELDS}
