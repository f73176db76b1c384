"""A store in memory, for tests and for what need not outlive the process."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from os import PathLike
from typing import TypeAlias

import trio

from .errors import NotFoundError, StoreError
from .listing import REMEMBERED, Page, Query, SortKey, Where, cut_page
from .row import Row
from .store import Step, Store, T

__all__ = ["MemoryStore"]

_Place: TypeAlias = tuple[int, int]  # sort key, id


@dataclass(slots=True)
class _Past:
    """By what a dispatch was sorted from one change to another."""

    id: int
    born: int
    changed: int
    until: int
    starts: int
    updated: int


@dataclass(slots=True)
class _Microgrid:
    """The dispatches of a microgrid, with their places in each order.

    Inserting into a sorted list moves what comes after, which costs less than a tree would up to
    some hundred thousand places.
    """

    rows: dict[int, Row] = field(default_factory=dict)
    orders: dict[SortKey, list[_Place]] = field(
        default_factory=lambda: {key: [] for key in SortKey}
    )

    def add(self, row: Row) -> None:
        self.rows[row.id] = row
        for key, order in self.orders.items():
            insort(order, _place(row, key))

    def discard(self, row: Row) -> None:
        del self.rows[row.id]
        for key, order in self.orders.items():
            del order[bisect_left(order, _place(row, key))]


def _place(row: Row | _Past, key: SortKey) -> _Place:
    place: int = getattr(row, key.value)
    return place, row.id


class MemoryStore(Store):
    """Keeps dispatches in memory.  No threads; nothing outlives the process.

    Args:
      watcher_limit: How many changes may wait for a watcher before it is cut off.
    """

    def __init__(self, *, watcher_limit: int = 1000) -> None:
        super().__init__(watcher_limit=watcher_limit)
        self.last_id = 0
        self.changes = 0
        self._microgrid_of: dict[int, int] = {}
        self._microgrids: defaultdict[int, _Microgrid] = defaultdict(_Microgrid)
        self._past: list[_Past] = []
        self._stamps: dict[bytes, int] = {}

    async def get(self, microgrid_id: int, dispatch_id: int) -> Row:
        await trio.lowlevel.checkpoint()
        row = self.find(dispatch_id)
        if row is None or row.microgrid_id != microgrid_id:
            raise NotFoundError(microgrid_id, dispatch_id)
        return row

    async def list(self, query: Query) -> Page:
        await trio.lowlevel.checkpoint()
        edge = query.edge_at(self.changes)
        microgrid = self._microgrids.get(query.microgrid_id, _Microgrid())
        candidates = self._candidates(microgrid, query, edge)
        messages, token = cut_page(candidates, query, edge)
        rows = microgrid.rows.values()
        total = len(rows) if query.where == Where() else sum(map(query.where.passes, rows))
        return Page(messages, total, token)

    async def backup(self, path: str | PathLike[str]) -> None:
        raise StoreError(f"{path}: there is nothing to back up, the store is in memory only")

    async def latest_stamp(self, key: bytes) -> int | None:
        await trio.lowlevel.checkpoint()
        return self._stamps.get(key)

    async def _commit(self, step: Step[T]) -> T:
        await trio.lowlevel.checkpoint()
        change = step(self)
        if change is not None:
            self.watchers.publish(change)
        return change

    # The table that the steps see.

    def note_stamp(self, key: bytes, second: int) -> None:
        self._stamps[key] = max(second, self._stamps.get(key, second))

    def find(self, dispatch_id: int) -> Row | None:
        microgrid_id = self._microgrid_of.get(dispatch_id)
        return None if microgrid_id is None else self._microgrids[microgrid_id].rows[dispatch_id]

    def insert(self, row: Row) -> None:
        self._microgrid_of[row.id] = row.microgrid_id
        self._microgrids[row.microgrid_id].add(row)

    def replace(self, old: Row, new: Row) -> None:
        self.remove(old)
        self.insert(new)
        self._past.append(
            _Past(old.id, old.born, old.changed, new.changed, old.starts, old.updated)
        )
        if len(self._past) > 2 * REMEMBERED:
            del self._past[:REMEMBERED]

    def remove(self, row: Row) -> None:
        del self._microgrid_of[row.id]
        microgrid = self._microgrids[row.microgrid_id]
        microgrid.discard(row)
        if not microgrid.rows:
            del self._microgrids[row.microgrid_id]

    # Lists.

    def _candidates(
        self, microgrid: _Microgrid, query: Query, edge: int
    ) -> Iterator[tuple[int, int, bytes]]:
        """Sort key, id and message of what follows the place where the page before ended."""
        places = merge(
            self._present(microgrid, query, edge),
            self._former(microgrid, query, edge),
            reverse=query.descending,
        )
        for key, id_ in places:
            row = microgrid.rows[id_]
            if query.where.passes(row):
                yield key, id_, row.message

    def _present(self, microgrid: _Microgrid, query: Query, edge: int) -> Iterator[_Place]:
        """The places of what has been where it is since the walk's edge."""
        order = microgrid.orders[query.key]
        indices = range(len(order))
        if query.after is not None and query.descending:
            indices = range(bisect_left(order, query.after))
        elif query.after is not None:
            indices = range(bisect_right(order, query.after), len(order))
        for index in reversed(indices) if query.descending else indices:
            row = microgrid.rows[order[index][1]]
            if (row.born if query.key is SortKey.CREATED else row.changed) <= edge:
                yield order[index]

    def _former(self, microgrid: _Microgrid, query: Query, edge: int) -> Iterable[_Place]:
        """The places at the walk's edge of what has been changed since."""
        if query.key is SortKey.CREATED:
            return []
        found = []
        first = bisect_right(self._past, edge, key=lambda past: past.until)
        for past in self._past[first:]:
            row = microgrid.rows.get(past.id)
            # It may have been removed since, and even put there anew.
            if row is None or row.born != past.born or past.changed > edge:
                continue
            place = _place(past, query.key)
            if query.after is None or (
                place < query.after if query.descending else place > query.after
            ):
                found.append(place)
        return sorted(found, reverse=query.descending)
