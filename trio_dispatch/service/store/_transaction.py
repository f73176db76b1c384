"""The statements by which a transaction reads and writes single dispatches."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from ...api.wire import Event
from . import queries
from ._schema import counters, dispatches, former, stamps
from .edits import Counters, Edit
from .rows import Change, Row

__all__ = ["Transaction", "find", "latest_stamp", "read_counters"]

_IDS_AT_ONCE = 500
_FIELDS = tuple(Row.__dataclass_fields__)
_wanted = dispatches.c.id == sa.bindparam("wanted")
_rows = sa.select(*(dispatches.c[name] for name in _FIELDS))
_FIND = _rows.where(_wanted)
_FIND_ALL = _rows.where(dispatches.c.id.in_(sa.bindparam("wanted", expanding=True)))
_REPLACE = dispatches.update().where(_wanted)
_REMOVE = dispatches.delete().where(_wanted)
_stamp_of_key = stamps.c.key == sa.bindparam("wanted")
_STAMP = sa.select(stamps.c.second).where(_stamp_of_key)
_RAISE_STAMP = stamps.update().where(_stamp_of_key).values(second=sa.bindparam("later"))


def read_counters(connection: sa.Connection) -> Counters:
    """Return the counters of a database."""
    return Counters(*connection.execute(sa.select(counters)).one())


def find(connection: sa.Connection, dispatch_id: int) -> Row | None:
    """Return the dispatch with an id, whatever its microgrid."""
    found = connection.execute(_FIND, {"wanted": dispatch_id}).one_or_none()
    return None if found is None else Row(*found)


def latest_stamp(connection: sa.Connection, key: bytes) -> int | None:
    """Return the newest second that is kept for a key."""
    return connection.execute(_STAMP, {"wanted": key}).scalar_one_or_none()


class Transaction:
    """Several writes in one transaction; `finish` before it is committed.

    Attributes:
      counters: The counters, with the changes so far.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._before = self.counters = read_counters(connection)

    def carry_out(self, edit: Edit) -> Sequence[Change]:
        """Let an edit decide, and write its changes down."""
        changes = edit.decide(self._find_all(edit.reads), self.counters)
        for change in changes:
            self._apply(change)
        self.counters = self.counters.after(changes)
        return changes

    def raise_stamp(self, key: bytes, second: int) -> None:
        """Keep the newest second for a key."""
        latest = latest_stamp(self._connection, key)
        if latest is None:
            self._connection.execute(stamps.insert(), [{"key": key, "second": second}])
        elif latest < second:
            self._connection.execute(_RAISE_STAMP, {"wanted": key, "later": second})

    def finish(self) -> None:
        """Write the counters down, and forget former sort keys that are no longer needed."""
        if self.counters == self._before:
            return
        last_id, sequence = self.counters.last_id, self.counters.sequence
        self._connection.execute(counters.update().values(last_id=last_id, sequence=sequence))
        forgotten = former.c.until <= sequence - queries.REMEMBERED_CHANGES
        self._connection.execute(former.delete().where(forgotten))

    def _find_all(self, ids: Collection[int]) -> dict[int, Row]:
        if len(ids) <= 1:
            rows = [find(self._connection, id_) for id_ in ids]
            return {row.id: row for row in rows if row is not None}
        found, wanted = {}, [*ids]
        for begin in range(0, len(wanted), _IDS_AT_ONCE):
            some = {"wanted": wanted[begin : begin + _IDS_AT_ONCE]}
            for columns in self._connection.execute(_FIND_ALL, some):
                row = Row(*columns)
                found[row.id] = row
        return found

    def _apply(self, change: Change) -> None:
        row, moved = change.row, change.moved
        match change.event:
            case Event.CREATED:
                self._connection.execute(dispatches.insert(), [_columns(row)])
            case Event.UPDATED:
                self._connection.execute(_REPLACE, {"wanted": row.id, **_columns(row)})
            case Event.DELETED:
                self._connection.execute(_REMOVE, {"wanted": row.id})
        if moved is not None:
            keys = {
                "until": row.updated_sequence,
                "id": moved.id,
                "created_sequence": moved.created_sequence,
                "updated_sequence": moved.updated_sequence,
                "start_time": moved.start_time,
                "update_time": moved.update_time,
            }
            self._connection.execute(former.insert(), [keys])


def _columns(row: Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in _FIELDS}
