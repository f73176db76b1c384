"""Watchers of the changes of microgrids, and the pace that they set for writers."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from ...errors import DispatchError
from ..errors import StoreUnavailableError, WatcherTooSlowError
from .rows import Change

__all__ = ["Watcher", "Watchers", "WatchersStatistics"]

READ_TIMEOUT: Final = 2.0
"""Writers wait for a watcher only while it takes something every so many seconds."""

BATCH_BYTES: Final = 32 * 1024
"""A watcher takes about this much at a time, so that it is seen to make progress."""


@dataclass(frozen=True, slots=True)
class WatchersStatistics:
    """What watchers are doing and have done.

    Attributes:
      watchers: How many there are at present.
      longest_queue: How many changes wait for the slowest one.
      published: How many changes there have been.
      delivered: How many changes watchers have taken, counted for each watcher.
      disconnected: How many watchers have been disconnected because they were too slow.
    """

    watchers: int
    longest_queue: int
    published: int
    delivered: int
    disconnected: int


class Watchers:
    """Hands every change of a microgrid to all its watchers, in the order of the changes.

    Each watcher has a queue of its own, so a slow one delays no other watcher.  When a queue is
    half full, the watcher *lags*, and writers to its microgrid wait until it has caught up: it is
    served ahead of new writes.  But they do not wait for a watcher that takes nothing for
    `READ_TIMEOUT` seconds.  When its queue is full, the next change disconnects it: instead of the
    changes that wait it receives `WatcherTooSlowError`, since it must know that it misses some.

    Args:
      limit: How many changes may wait for one watcher.
      on_caught_up: Called when a watcher no longer lags.
    """

    def __init__(self, limit: int, on_caught_up: Callable[[], None] = lambda: None) -> None:
        self._limit = limit
        self._on_caught_up = on_caught_up
        self._by_microgrid: defaultdict[int, set[Watcher]] = defaultdict(set)
        self._lagging: defaultdict[int, set[Watcher]] = defaultdict(set)
        self._published = 0
        self._delivered = 0
        self._disconnected = 0

    @contextmanager
    def watch(
        self, microgrid_id: int, *, on_disconnect: Callable[[], None] | None = None
    ) -> Iterator[Watcher]:
        """Watch a microgrid: the watcher receives every change that is published from now on.

        Args:
          on_disconnect: Called when the watcher is disconnected, whatever its task is doing.
        """
        watcher = Watcher(self._taken, on_disconnect)
        self._by_microgrid[microgrid_id].add(watcher)
        watcher.microgrid_id = microgrid_id
        try:
            yield watcher
        finally:
            self._drop(watcher)
            watcher._end()

    def publish(self, change: Change) -> None:
        """Hand a committed change to all watchers of its microgrid.  Never waits."""
        self._published += 1
        microgrid_id = change.row.microgrid_id
        for watcher in [*self._by_microgrid.get(microgrid_id, ())]:
            waiting = len(watcher)
            if waiting >= self._limit:
                self._disconnected += 1
                self._drop(watcher)
                watcher._fail(WatcherTooSlowError, "too many changes were waiting to be read")
                continue
            watcher._offer(change)
            if waiting + 1 >= self._limit // 2:
                self._lagging[microgrid_id].add(watcher)

    def patience(self, microgrid_id: int) -> float:
        """Return for how many seconds a writer to a microgrid should wait for its watchers."""
        now = trio.current_time()
        lagging = self._lagging.get(microgrid_id, ())
        return max((watcher.taken_at + READ_TIMEOUT - now for watcher in lagging), default=0.0)

    def end_all(self) -> None:
        """End all present watchers once they have received the changes that wait for them."""
        for watchers in self._by_microgrid.values():
            for watcher in watchers:
                watcher._end()

    def disconnect_all(self) -> None:
        """Disconnect all present watchers, because they may have missed a change."""
        watchers = [watcher for group in self._by_microgrid.values() for watcher in group]
        for watcher in watchers:
            self._drop(watcher)
            watcher._fail(StoreUnavailableError, "a change may have been missed")

    def statistics(self) -> WatchersStatistics:
        """Return what the watchers are doing and have done."""
        queues = [len(watcher) for group in self._by_microgrid.values() for watcher in group]
        return WatchersStatistics(
            watchers=len(queues),
            longest_queue=max(queues, default=0),
            published=self._published,
            delivered=self._delivered,
            disconnected=self._disconnected,
        )

    def _taken(self, watcher: Watcher, count: int) -> None:
        self._delivered += count
        if len(watcher) < self._limit // 2:
            self._discard(self._lagging, watcher)

    def _drop(self, watcher: Watcher) -> None:
        self._discard(self._by_microgrid, watcher)
        self._discard(self._lagging, watcher)

    def _discard(self, groups: dict[int, set[Watcher]], watcher: Watcher) -> None:
        group = groups.get(watcher.microgrid_id)
        if group is None or watcher not in group:
            return
        group.discard(watcher)
        if not group:
            del groups[watcher.microgrid_id]
        if groups is self._lagging:
            self._on_caught_up()


class Watcher:
    """Iterates over the changes of a microgrid: ``async for changes in watcher``.

    Each item is the list of the changes that wait, or its first `BATCH_BYTES` bytes, so that they
    can be sent together.  It is for one task.  Each iteration is a checkpoint; a cancelled one has
    taken nothing.  The iteration ends when the service ends.

    Attributes:
      taken_at: When it last took changes.

    Raises:
      WatcherTooSlowError: by the iteration, once too many changes have been waiting.
      StoreUnavailableError: likewise, once a change may have been missed.
    """

    microgrid_id: int

    def __init__(
        self,
        taken: Callable[[Watcher, int], None],
        on_disconnect: Callable[[], None] | None,
    ) -> None:
        self.taken_at = trio.current_time()
        self._taken = taken
        self._on_disconnect = on_disconnect
        self._queue: deque[Change] = deque()
        self._arrival = trio.lowlevel.ParkingLot()
        self._ended = False
        self._failure: tuple[type[DispatchError], str] | None = None

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Sequence[Change]:
        await trio.lowlevel.checkpoint()
        while not self._queue and not self._ended:
            await self._arrival.park()
        if (failure := self.failure) is not None:
            raise failure
        if not self._queue:
            raise StopAsyncIteration
        batch, size = [], 0
        while self._queue and size < BATCH_BYTES:
            change = self._queue.popleft()
            size += len(change.row.message)
            batch.append(change)
        self.taken_at = trio.current_time()
        self._taken(self, len(batch))
        return batch

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def failure(self) -> DispatchError | None:
        """Why the watcher was disconnected, as a new exception; None if it was not."""
        if self._failure is None:
            return None
        kind, message = self._failure
        return kind(message)

    def _offer(self, change: Change) -> None:
        if self._ended:
            return  # The service is closing; clients connect again and list what there is.
        if self._arrival:
            self.taken_at = trio.current_time()  # It was waiting, not stuck.
            self._arrival.unpark_all()
        self._queue.append(change)

    def _fail(self, kind: type[DispatchError], message: str) -> None:
        self._failure = kind, message
        self._queue.clear()
        self._end()
        if self._on_disconnect is not None:
            self._on_disconnect()

    def _end(self) -> None:
        self._ended = True
        self._arrival.unpark_all()
