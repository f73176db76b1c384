"""The writes that share a transaction: what they read, and what becomes of it.  No I/O.

A statement for many rows costs little more than one for a single row.  So a store first reads
everything that the writes of a transaction read, lets them decide one after the other, each on what
the ones before have left, and then writes down what has changed in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...api.wire import Event
from .edits import Counters, Edit
from .rows import Change, Row

__all__ = ["Batch", "FormerKeys"]


@dataclass(frozen=True, slots=True)
class FormerKeys:
    """The sort keys of a dispatch from the change `updated_sequence` up to the change `until`."""

    microgrid_id: int
    until: int
    id: int
    created_sequence: int
    updated_sequence: int
    start_time: int
    update_time: int


class Batch:
    """The writes of one transaction.

    Attributes:
      counters: The counters after the writes so far.
      changes: The changes so far, for the log.
      former: The former sort keys that walks under way need.
      stamps: The seconds to keep for keys, unless a newer one is kept.

    Args:
      counters: The counters before.
      stored: The dispatches that the writes read, as far as they exist.  An exception stands for
        one that cannot be decoded.
      new_ids: The ids for new dispatches, the next one last; None if those follow the highest id.
    """

    def __init__(
        self,
        counters: Counters,
        stored: Mapping[int, Row | Exception],
        new_ids: list[int] | None = None,
    ) -> None:
        self.counters = counters
        self.changes: list[Change] = []
        self.former: list[FormerKeys] = []
        self.stamps: dict[bytes, int] = {}
        self._stored = stored
        self._new_ids = new_ids
        self._imported: list[int] = []
        self._changed: dict[int, Row | None] = {}

    def carry_out(self, edit: Edit) -> Sequence[Change]:
        """Let an edit decide on its changes.

        Raises:
          Exception: what the edit raises; then it has changed nothing.
        """
        found = {id_: row for id_ in edit.reads if (row := self._row(id_)) is not None}
        if self._new_ids:
            self.counters = replace(self.counters, last_id=self._new_ids[-1] - 1)
        changes = edit.decide(found, self.counters)
        for change in changes:
            self._apply(change)
            if self._new_ids and change.row.id == self._new_ids[-1]:
                self._new_ids.pop()
            elif change.event is Event.CREATED:
                self._imported.append(change.row.id)
        self.changes += changes
        self.counters = self.counters.after(changes)
        return changes

    def raise_stamp(self, key: bytes, second: int) -> None:
        """Keep the newest second for a key."""
        self.stamps[key] = max(second, self.stamps.get(key, second))

    def removed(self) -> list[int]:
        """Return the ids of the stored dispatches that are to be removed."""
        return [id_ for id_, row in self._changed.items() if row is None and id_ in self._stored]

    def replaced(self) -> list[Row]:
        """Return what is to be stored in place of dispatches that are there."""
        return [row for row in self._remaining() if row.id in self._stored]

    def added(self) -> list[Row]:
        """Return the dispatches that are to be added."""
        return [row for row in self._remaining() if row.id not in self._stored]

    def imported(self) -> list[int]:
        """Return the ids of added dispatches that came with their ids."""
        return [id_ for id_ in self._imported if id_ in self._changed]

    def _remaining(self) -> Iterable[Row]:
        return [row for row in self._changed.values() if row is not None]

    def _row(self, id_: int) -> Row | None:
        row = self._changed[id_] if id_ in self._changed else self._stored.get(id_)
        if isinstance(row, Exception):
            raise row
        return row

    def _apply(self, change: Change) -> None:
        row, moved = change.row, change.moved
        self._changed[row.id] = None if change.event is Event.DELETED else row
        if moved is not None:
            self.former.append(
                FormerKeys(
                    row.microgrid_id,
                    row.updated_sequence,
                    moved.id,
                    moved.created_sequence,
                    moved.updated_sequence,
                    moved.start_time,
                    moved.update_time,
                )
            )
