"""Runs and changes in memory."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import trio

from ...api.dispatchers import decode_status
from ...model.dispatchers import DispatcherInfo
from ...model.runs import ReportedState
from ...model.times import time_from_nanos
from .logs import (
    ChangeFilter,
    ChangeRow,
    Entry,
    LogPage,
    LogQuery,
    Place,
    RunFilter,
    log_page,
    passes,
)
from .queries import PageBuilder
from .retention import TRIMMED_AT_ONCE, Retention
from .rows import Change
from .runs import (
    REMEMBERED_REPORTERS,
    Delivery,
    Reporter,
    RunCounters,
    RunKey,
    RunRow,
    RunStore,
    ToldStatus,
    check_room,
    fold,
)
from .watchers import Watchers

__all__ = ["MemoryChanges", "MemoryRuns"]

_F = TypeVar("_F", RunFilter, ChangeFilter)
_K = TypeVar("_K")

_ROWS_AT_ONCE = 1000
"""A list looks at this many entries before other tasks get their turn."""


class MemoryChanges:
    """The log of changes."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._rows: deque[ChangeRow] = deque()
        self._orders: defaultdict[int, list[tuple[Place, ChangeRow]]] = defaultdict(list)

    @property
    def oldest(self) -> int | None:
        """The time of the oldest change."""
        return self._rows[0].time if self._rows else None

    def add(self, changes: Iterable[Change]) -> None:
        """Add changes, and forget old ones."""
        for change in changes:
            row = ChangeRow.of(change)
            self._rows.append(row)
            # Usually at the end, unless the clock was set back.
            insort(self._orders[row.microgrid_id], (row.place, row), key=lambda item: item[0])
        if self._rows:
            self._trim(self._rows[-1].time)

    async def list(self, query: LogQuery[ChangeFilter]) -> LogPage[ChangeFilter]:
        """Return one page of a list.  A checkpoint."""
        return await _page(query, self._orders.get(query.microgrid_id, []), lambda row: row)

    def _trim(self, now: int) -> None:
        oldest = self._retention.oldest_change(now)
        for _ in range(TRIMMED_AT_ONCE):
            first = self._rows[0]
            if len(self._rows) <= self._retention.changes and first.time >= oldest:
                return
            self._rows.popleft()
            order = self._orders[first.microgrid_id]
            del order[bisect_left(order, first.place, key=lambda item: item[0])]
            if not order:
                del self._orders[first.microgrid_id]


@dataclass(slots=True)
class _Microgrid:
    rows: dict[RunKey, RunRow] = field(default_factory=dict)
    order: list[tuple[Place, RunKey]] = field(default_factory=list)
    dispatchers: dict[str, DispatcherInfo] = field(default_factory=dict)
    # By dispatcher and name; the one that has reported last is the last.
    reporters: defaultdict[str, dict[str, Reporter]] = field(
        default_factory=lambda: defaultdict(dict)
    )


class MemoryRuns(RunStore):
    """Keeps runs in memory.

    Args:
      watchers: The watchers of runs.
      wait_for_watchers: Waits while the watchers of a microgrid lag.
    """

    def __init__(
        self,
        watchers: Watchers[RunRow],
        wait_for_watchers: Callable[[Watchers[RunRow], int], Awaitable[None]],
        retention: Retention,
    ) -> None:
        self.watchers = watchers
        self._wait_for_watchers = wait_for_watchers
        self._retention = retention
        self._counters = RunCounters()
        self._microgrids: defaultdict[int, _Microgrid] = defaultdict(_Microgrid)
        # All runs, in the order of their numbers.
        self._all: dict[tuple[int, RunKey], None] = {}
        # Those that have ended, in the order of their last reports, with the time of each.
        self._ended: dict[tuple[int, RunKey], int] = {}

    async def report(self, delivery: Delivery) -> int:
        await trio.lowlevel.checkpoint()
        await self._wait_for_watchers(self.watchers, delivery.microgrid_id)
        microgrid = self._microgrids[delivery.microgrid_id]
        if delivery.dispatcher not in microgrid.dispatchers:
            check_room(delivery, len(microgrid.dispatchers))
        reporters = microgrid.reporters[delivery.dispatcher]
        reporter = reporters.pop(delivery.reporter, Reporter())
        keys = delivery.keys_after(reporter.last_sequence)
        found = {key: microgrid.rows[key] for key in keys if key in microgrid.rows}
        rows = fold(delivery, reporter.last_sequence, found, self._counters)
        self._counters = self._counters.after(rows)
        for row in rows:
            if row.key not in microgrid.rows:
                insort(microgrid.order, (row.place, row.key), key=lambda item: item[0])
            microgrid.rows[row.key] = row
            name = row.microgrid_id, row.key
            self._all[name] = None
            self._ended.pop(name, None)
            if row.state != ReportedState.RUNNING.value:
                self._ended[name] = delivery.now
        after = reporters[delivery.reporter] = reporter.after(delivery)
        for oldest in [*reporters][:-REMEMBERED_REPORTERS]:
            del reporters[oldest]
        _update_dispatcher(microgrid, delivery, after.lost - reporter.lost)
        self._trim(delivery.now)
        self.watchers.publish(rows)
        return after.last_sequence

    async def list(self, query: LogQuery[RunFilter]) -> LogPage[RunFilter]:
        microgrid = self._microgrids.get(query.microgrid_id, _Microgrid())
        return await _page(query, microgrid.order, microgrid.rows.get)

    async def note_statuses(self, told: Sequence[ToldStatus]) -> None:
        await trio.lowlevel.checkpoint()
        for each in told:
            known = self._microgrids[each.microgrid_id].dispatchers
            if (info := known.get(each.dispatcher)) is not None:
                heard = max(info.last_report_time, time_from_nanos(each.time))
                known[each.dispatcher] = replace(
                    info, last_report_time=heard, status=decode_status(each.status)
                )

    async def list_dispatchers(
        self, microgrid_id: int | None = None
    ) -> Mapping[int, Sequence[DispatcherInfo]]:
        await trio.lowlevel.checkpoint()
        return {
            id_: sorted(microgrid.dispatchers.values(), key=lambda info: info.name)
            for id_, microgrid in self._microgrids.items()
            if microgrid_id in {None, id_}
        }

    def _trim(self, now: int) -> None:
        oldest = self._retention.oldest_run(now)
        for _ in range(TRIMMED_AT_ONCE):
            first, ended = next(iter(self._ended.items()), (None, now))
            if len(self._all) > self._retention.runs:
                first = next(iter(self._all))
            elif first is None or ended >= oldest:
                return
            del self._all[first]
            self._ended.pop(first, None)
            microgrid_id, key = first
            microgrid = self._microgrids[microgrid_id]
            place = microgrid.rows.pop(key).place
            del microgrid.order[bisect_left(microgrid.order, place, key=lambda item: item[0])]


def _update_dispatcher(microgrid: _Microgrid, delivery: Delivery, newly_lost: int) -> None:
    now = time_from_nanos(delivery.now)
    name = delivery.dispatcher
    info = microgrid.dispatchers.get(name) or DispatcherInfo(name, "", now, now, 0)
    microgrid.dispatchers[name] = replace(
        info,
        version=delivery.version or info.version,
        last_report_time=now,
        lost=info.lost + newly_lost,
    )


async def _page(
    query: LogQuery[_F], order: Sequence[tuple[Place, _K]], get: Callable[[_K], Entry | None]
) -> LogPage[_F]:
    """Return one page of a list.  A checkpoint.

    Args:
      order: All places of the microgrid, in order, which may change meanwhile.
      get: Returns the entry at a place; None if it was removed.
    """
    await trio.lowlevel.checkpoint()
    builder = PageBuilder(query.page_size)
    after = query.after
    while True:
        end = len(order) if after is None else bisect_left(order, after, key=lambda item: item[0])
        some = order[max(0, end - _ROWS_AT_ONCE) : end]
        for place, key in reversed(some):
            after = place
            entry = get(key)
            if (
                entry is not None
                and passes(query.filter, entry)
                and not builder.add(*place, entry.message)
            ):
                return log_page(query, builder)
        if len(some) < _ROWS_AT_ONCE:
            return log_page(query, builder)
        await trio.lowlevel.checkpoint()
