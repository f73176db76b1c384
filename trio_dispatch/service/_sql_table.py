"""What the steps of a transaction see of a database; see `store.Table`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ._schema import dispatches, former, stamps
from .row import Row

__all__ = ["STAMP", "SqlTable"]


class SqlTable:
    """The dispatches as one transaction sees them."""

    def __init__(self, connection: sa.Connection, last_id: int, changes: int) -> None:
        self._connection = connection
        self.last_id = last_id
        self.changes = changes

    def find(self, dispatch_id: int) -> Row | None:
        found = self._connection.execute(_FIND, {"wanted": dispatch_id}).one_or_none()
        return None if found is None else Row(*found)

    def insert(self, row: Row) -> None:
        self._connection.execute(dispatches.insert(), [_columns(row)])

    def replace(self, old: Row, new: Row) -> None:
        self._connection.execute(_REPLACE, {"wanted": new.id, **_columns(new)})
        self._connection.execute(
            former.insert(),
            [
                {
                    "until": new.changed,
                    "id": old.id,
                    "born": old.born,
                    "changed": old.changed,
                    "starts": old.starts,
                    "updated": old.updated,
                }
            ],
        )

    def remove(self, row: Row) -> None:
        self._connection.execute(_REMOVE, {"wanted": row.id})

    def note_stamp(self, key: bytes, second: int) -> None:
        latest = self._connection.execute(STAMP, {"wanted": key}).scalar_one_or_none()
        if latest is None:
            self._connection.execute(stamps.insert(), [{"key": key, "second": second}])
        elif latest < second:
            self._connection.execute(_RESTAMP, {"wanted": key, "later": second})


_NAMES = tuple(Row.__dataclass_fields__)
_wanted = dispatches.c.id == sa.bindparam("wanted")
_FIND = sa.select(*(dispatches.c[name] for name in _NAMES)).where(_wanted)
_REPLACE = dispatches.update().where(_wanted)
_REMOVE = dispatches.delete().where(_wanted)
_stamp_of_key = stamps.c.key == sa.bindparam("wanted")
STAMP = sa.select(stamps.c.second).where(_stamp_of_key)
"""The second that is kept of the key ``wanted``."""
_RESTAMP = stamps.update().where(_stamp_of_key).values(second=sa.bindparam("later"))


def _columns(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _NAMES}
