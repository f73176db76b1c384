"""Who watches the changes of which microgrid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import trio

from ..errors import DispatchError
from .errors import StoreUnavailableError
from .row import Change

__all__ = ["OnCut", "Watcher", "WatcherTooSlowError", "Watchers", "WatchersStatistics"]

OnCut: TypeAlias = Callable[[DispatchError], None]


class WatcherTooSlowError(DispatchError):
    """More changes wait for a watcher than it may have waiting; it was cut off."""


@dataclass(frozen=True, slots=True)
class WatchersStatistics:
    """For whoever has to debug it at night.

    Attributes:
      watchers: How many watch at present.
      longest_queue: How many changes wait for the slowest of them.
      published: How many changes there have been.
      told: How many changes watchers have taken, each watcher counted.
      cut: How many watchers have been cut off because they were too slow.
    """

    watchers: int
    longest_queue: int
    published: int
    told: int
    cut: int


class Watchers:
    """Hands every change of a microgrid to all who watch it, in the order of the changes.

    Each watcher has a queue of its own, so a slow one holds up neither the others nor the store.
    When `limit` changes wait for it, the next one cuts it off: it gets none of those that wait,
    but `WatcherTooSlowError`, since a watcher that misses a change must know that it does.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_microgrid: defaultdict[int, set[Watcher]] = defaultdict(set)
        self._published = 0
        self._told = 0
        self._cut = 0

    @contextmanager
    def watch(self, microgrid_id: int, *, on_cut: OnCut | None = None) -> Iterator[Watcher]:
        """Watch a microgrid: every change that is published from now on reaches the watcher.

        Args:
          on_cut: Called at once when the watcher is cut off, whatever its task is busy with, with
            what iterating raises.
        """
        watcher = Watcher(self._limit, self._count_told, on_cut)
        self._by_microgrid[microgrid_id].add(watcher)
        try:
            yield watcher
        finally:
            self._drop(microgrid_id, watcher)
            watcher._end()

    def publish(self, change: Change) -> None:
        """Hand a committed change to all who watch its microgrid.  Never waits."""
        self._published += 1
        microgrid_id = change.row.microgrid_id
        for watcher in [*self._by_microgrid.get(microgrid_id, ())]:
            if not watcher._offer(change):
                self._cut += 1
                self._drop(microgrid_id, watcher)

    def end_all(self) -> None:
        """End everyone who watches now, when they have got what waits for them."""
        for watchers in self._by_microgrid.values():
            for watcher in watchers:
                watcher._end()

    def fail_all(self) -> None:
        """Cut everyone off who watches now: they may have missed a change."""
        for watchers in self._by_microgrid.values():
            for watcher in watchers:
                watcher._fail(StoreUnavailableError, "a change may have been missed")
        self._by_microgrid.clear()

    def statistics(self) -> WatchersStatistics:
        queues = [len(watcher) for group in self._by_microgrid.values() for watcher in group]
        return WatchersStatistics(
            watchers=len(queues),
            longest_queue=max(queues, default=0),
            published=self._published,
            told=self._told,
            cut=self._cut,
        )

    def _count_told(self) -> None:
        self._told += 1

    def _drop(self, microgrid_id: int, watcher: Watcher) -> None:
        group = self._by_microgrid.get(microgrid_id)
        if group is None:
            return
        group.discard(watcher)
        if not group:
            del self._by_microgrid[microgrid_id]


class Watcher:
    """The changes of a microgrid from one moment on: ``async for change in watcher``.

    For one task.  It ends when the service that it belongs to does.

    Raises:
      WatcherTooSlowError: when iterating, once too many changes have been waiting.
      StoreUnavailableError: likewise, once the store has lost track of what it has told.
    """

    def __init__(self, limit: int, count: Callable[[], None], on_cut: OnCut | None) -> None:
        self._send, self._receive = trio.open_memory_channel[Change](limit)
        self._count = count
        self._on_cut = on_cut
        self._failure: tuple[type[DispatchError], str] | None = None

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Change:
        self._check()
        try:
            change = await self._receive.receive()
        except trio.EndOfChannel:
            self._check()
            raise StopAsyncIteration from None
        # It may have been cut off between the sending of this and the running of this task.
        self._check()
        self._count()
        return change

    def __len__(self) -> int:
        return self._receive.statistics().current_buffer_used

    def _check(self) -> None:
        if self._failure is not None:
            kind, why = self._failure
            raise kind(why)

    def _offer(self, change: Change) -> bool:
        """Whether there was room for it."""
        try:
            self._send.send_nowait(change)
        except trio.WouldBlock:
            self._fail(WatcherTooSlowError, "too many changes were waiting to be read")
            return False
        except trio.ClosedResourceError:
            pass  # The service is closing, and whoever watches has to come again anyway.
        return True

    def _fail(self, kind: type[DispatchError], why: str) -> None:
        self._failure = kind, why
        self._end()
        if self._on_cut is not None:
            self._on_cut(kind(why))

    def _end(self) -> None:
        self._send.close()
