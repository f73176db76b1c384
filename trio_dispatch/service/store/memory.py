"""A store in memory, for tests and for dispatches that need not outlive the process."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import islice
from os import PathLike
from typing import Final, TypeAlias

import trio

from ...api.wire import Event
from ..errors import StoreError
from . import queries
from .base import Store
from .edits import Counters, Edit
from .logs import ChangeFilter, LogPage, LogQuery
from .memory_logs import MemoryChanges, MemoryRuns
from .queries import EVERYTHING, Page, PageBuilder, Query, SortKey
from .retention import Retention
from .rows import Change, Row
from .statistics import StoreStatistics
from .watchers import Watchers

__all__ = ["MEMORY_RETENTION", "MemoryStore"]

_Place: TypeAlias = tuple[int, int]  # sort key, id

MEMORY_RETENTION: Final = Retention(runs=100_000, changes=100_000)
"""Fewer runs and changes than a file keeps."""

_ROWS_AT_ONCE = 1000
"""A list looks at this many dispatches before other tasks get their turn."""


@dataclass(frozen=True, slots=True)
class _Former:
    """The sort keys that a dispatch had until an update replaced them."""

    until: int
    id: int
    created_sequence: int
    updated_sequence: int
    start_time: int
    create_time: int
    update_time: int


@dataclass(slots=True)
class _Microgrid:
    """The dispatches of a microgrid, and their places in each sort order.

    Inserting into a sorted list moves all that follows, which is cheaper than a tree up to some
    hundred thousand places.
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


def _place(row: Row | _Former, key: SortKey) -> _Place:
    match key:
        case SortKey.START_TIME:
            return row.start_time, row.id
        case SortKey.CREATE_TIME:
            return row.create_time, row.id
        case SortKey.UPDATE_TIME:
            return row.update_time, row.id


class MemoryStore(Store):
    """Keeps dispatches in memory; nothing outlives the process.

    Attributes:
      counters: The highest id and the number of changes so far.

    Args:
      watcher_limit: How many changes may wait for one watcher before it is disconnected.
      retention: How long runs and changes are kept.
    """

    def __init__(
        self, *, watcher_limit: int = 1000, retention: Retention = MEMORY_RETENTION
    ) -> None:
        super().__init__("memory", watcher_limit=watcher_limit)
        self.runs = MemoryRuns(
            Watchers(watcher_limit, self._wake), self._wait_for_watchers, retention
        )
        self._changes = MemoryChanges(retention)
        self.counters = Counters()
        self._rows: dict[int, Row] = {}
        self._microgrids: defaultdict[int, _Microgrid] = defaultdict(_Microgrid)
        self._former: list[_Former] = []
        self._stamps: dict[bytes, int] = {}

    async def write(self, edit: Edit) -> Sequence[Change]:
        await trio.lowlevel.checkpoint()
        await self._wait_for_watchers(self.watchers, edit.microgrid_id)
        found = {id_: self._rows[id_] for id_ in edit.reads if id_ in self._rows}
        changes = edit.decide(found, self.counters)
        self.counters = self.counters.after(changes)
        for change in changes:
            self._apply(change)
        self._changes.add(changes)
        self.watchers.publish(changes, wake=False)
        await self.watchers.hand_over()
        return changes

    async def find(self, dispatch_id: int) -> Row | None:
        await trio.lowlevel.checkpoint()
        return self._rows.get(dispatch_id)

    async def list(self, query: Query) -> Page:
        await trio.lowlevel.checkpoint()
        snapshot = query.snapshot_at(self.counters.sequence)
        total = await self._count(query) if query.total is None else query.total
        builder = PageBuilder(query.page_size)
        after = query.after
        while True:
            # Each part begins where the one before ended, as a page does, so it does no harm if
            # dispatches change in between.
            begin = after
            rest = self._following(replace(query, after=begin), snapshot)
            for key, row in islice(rest, _ROWS_AT_ONCE):
                after = key, row.id
                if query.filter.passes(row) and not builder.add(key, row.id, row.message):
                    return builder.page(query, snapshot=snapshot, total=total)
            if after == begin:
                return builder.page(query, snapshot=snapshot, total=total)
            await trio.lowlevel.checkpoint()

    async def list_changes(self, query: LogQuery[ChangeFilter]) -> LogPage[ChangeFilter]:
        return await self._changes.list(query)

    async def statistics(self) -> StoreStatistics:
        await trio.lowlevel.checkpoint()
        return StoreStatistics(
            kind="memory", dispatches=len(self._rows), oldest_change=self._changes.oldest
        )

    async def backup(self, path: str | PathLike[str]) -> None:
        raise StoreError(f"{path}: a store in memory has no backup")

    async def latest_stamp(self, key: bytes) -> int | None:
        await trio.lowlevel.checkpoint()
        return self._stamps.get(key)

    async def raise_stamp(self, key: bytes, second: int) -> None:
        await trio.lowlevel.checkpoint()
        self._stamps[key] = max(second, self._stamps.get(key, second))

    def _apply(self, change: Change) -> None:
        row, old = change.row, change.old
        if old is not None:
            self._remove(old)
        if change.event is not Event.DELETED:
            self._rows[row.id] = row
            self._microgrids[row.microgrid_id].add(row)
        if change.moved is not None:
            self._remember(change.moved, until=row.updated_sequence)

    def _remove(self, row: Row) -> None:
        del self._rows[row.id]
        microgrid = self._microgrids[row.microgrid_id]
        microgrid.discard(row)
        if not microgrid.rows:
            del self._microgrids[row.microgrid_id]

    def _remember(self, old: Row, *, until: int) -> None:
        self._former.append(
            _Former(
                until=until,
                id=old.id,
                created_sequence=old.created_sequence,
                updated_sequence=old.updated_sequence,
                start_time=old.start_time,
                create_time=old.create_time,
                update_time=old.update_time,
            )
        )
        if len(self._former) > 2 * queries.REMEMBERED_CHANGES:
            del self._former[: queries.REMEMBERED_CHANGES]

    # Lists.

    async def _count(self, query: Query) -> int:
        microgrid = self._microgrids.get(query.microgrid_id, _Microgrid())
        if query.filter == EVERYTHING:
            return len(microgrid.rows)
        rows = [*microgrid.rows.values()]
        total = 0
        for begin in range(0, len(rows), _ROWS_AT_ONCE):
            total += sum(map(query.filter.passes, rows[begin : begin + _ROWS_AT_ONCE]))
            await trio.lowlevel.checkpoint()
        return total

    def _following(self, query: Query, snapshot: int) -> Iterator[tuple[int, Row]]:
        """The sort keys and rows that follow `query.after`, in the order of the snapshot."""
        microgrid = self._microgrids.get(query.microgrid_id, _Microgrid())
        places = merge(
            self._unmoved(microgrid, query, snapshot),
            self._moved(microgrid, query, snapshot),
            reverse=query.descending,
        )
        return ((key, microgrid.rows[id_]) for key, id_ in places)

    def _unmoved(self, microgrid: _Microgrid, query: Query, snapshot: int) -> Iterator[_Place]:
        """The places of the dispatches that have not changed since the snapshot."""
        order = microgrid.orders[query.sort_key]
        indices = range(len(order))
        if query.after is not None and query.descending:
            indices = range(bisect_left(order, query.after))
        elif query.after is not None:
            indices = range(bisect_right(order, query.after), len(order))
        for index in reversed(indices) if query.descending else indices:
            row = microgrid.rows[order[index][1]]
            by_create_time = query.sort_key is SortKey.CREATE_TIME
            if (row.created_sequence if by_create_time else row.updated_sequence) <= snapshot:
                yield order[index]

    def _moved(self, microgrid: _Microgrid, query: Query, snapshot: int) -> Iterable[_Place]:
        """The places at the snapshot of the dispatches that have changed since."""
        if query.sort_key is SortKey.CREATE_TIME:
            return []
        found = []
        first = bisect_right(self._former, snapshot, key=lambda former: former.until)
        for former in self._former[first:]:
            row = microgrid.rows.get(former.id)
            # It may have been removed since, and even added again.
            if (
                row is None
                or row.created_sequence != former.created_sequence
                or former.updated_sequence > snapshot
            ):
                continue
            place = _place(former, query.sort_key)
            if query.after is None or (
                place < query.after if query.descending else place > query.after
            ):
                found.append(place)
        return sorted(found, reverse=query.descending)
