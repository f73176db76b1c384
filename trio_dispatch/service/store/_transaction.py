"""The statements by which a transaction reads and writes single dispatches.

A statement for many rows costs little more than one for a single row.  So a transaction keeps the
rows that its writes read and change, and writes all of them down at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from ...api.wire import Event
from . import queries
from ._schema import counters, dispatches, former, stamps
from .edits import Counters, Edit
from .rows import Change, Row

__all__ = ["Transaction", "find_all", "latest_stamp", "read_counters"]

_IDS_AT_ONCE = 500
_FIELDS = tuple(Row.__dataclass_fields__)
_wanted = dispatches.c.id == sa.bindparam("wanted")
_FIND_ALL = sa.select(*(dispatches.c[name] for name in _FIELDS)).where(
    dispatches.c.id.in_(sa.bindparam("wanted", expanding=True))
)
_INSERT = dispatches.insert()
_REPLACE = dispatches.update().where(_wanted)
_REMOVE = dispatches.delete().where(_wanted)
_stamp_of_key = stamps.c.key == sa.bindparam("wanted")
_STAMP = sa.select(stamps.c.second).where(_stamp_of_key)
_RAISE_STAMP = stamps.update().where(_stamp_of_key).values(second=sa.bindparam("later"))


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


class Transaction:
    """Several writes in one transaction; `finish` before it is committed.

    Attributes:
      counters: The counters, with the changes so far.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._before = self.counters = read_counters(connection)
        # The dispatches that were read, and what has become of them; None for one that is missing.
        self._stored: dict[int, Row | None] = {}
        self._rows: dict[int, Row | None] = {}
        self._former: list[dict[str, int]] = []

    def read(self, ids: Iterable[int]) -> None:
        """Read dispatches that edits need, unless they were read before."""
        missing = {id_ for id_ in ids if id_ not in self._rows}
        if missing:
            found = find_all(self._connection, missing)
            self._stored.update((id_, found.get(id_)) for id_ in missing)
            self._rows.update((id_, found.get(id_)) for id_ in missing)

    def carry_out(self, edit: Edit) -> Sequence[Change]:
        """Let an edit decide on its changes."""
        self.read(edit.reads)
        found = {id_: row for id_ in edit.reads if (row := self._rows[id_]) is not None}
        changes = edit.decide(found, self.counters)
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
        """Write all changes down, and forget former sort keys that are no longer needed."""
        if self.counters == self._before:
            return
        removed, replaced, added = [], [], []
        for id_, row in self._rows.items():
            stored = self._stored.get(id_)
            if row is stored:
                continue
            if row is None:
                removed.append({"wanted": id_})
            elif stored is None:
                added.append(_columns(row))
            else:
                replaced.append({"wanted": id_, **_columns(row)})
        for statement, rows in (
            (_REMOVE, removed),
            (_REPLACE, replaced),
            (_INSERT, added),
            (former.insert(), self._former),
        ):
            if rows:
                self._connection.execute(statement, rows)
        last_id, sequence = self.counters.last_id, self.counters.sequence
        self._connection.execute(counters.update().values(last_id=last_id, sequence=sequence))
        forgotten = former.c.until <= sequence - queries.REMEMBERED_CHANGES
        self._connection.execute(former.delete().where(forgotten))

    def _apply(self, change: Change) -> None:
        row, moved = change.row, change.moved
        self._rows[row.id] = None if change.event is Event.DELETED else row
        if moved is not None:
            self._former.append(
                {
                    "until": row.updated_sequence,
                    "id": moved.id,
                    "created_sequence": moved.created_sequence,
                    "updated_sequence": moved.updated_sequence,
                    "start_time": moved.start_time,
                    "update_time": moved.update_time,
                }
            )


def _columns(row: Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in _FIELDS}
