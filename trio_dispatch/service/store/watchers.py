"""Watchers of the changes of microgrids, and the pace that they set for writers.

A change is anything with a microgrid and a message: a change of a dispatch, or of a run.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

import trio

from ...errors import DispatchError
from ...grpc import FramedMessages
from ..errors import StoreUnavailableError, WatcherTooSlowError

log = logging.getLogger("trio_dispatch.service.store")

__all__ = ["Changes", "Published", "Watcher", "Watchers", "WatchersStatistics"]

READ_TIMEOUT: Final = 5.0
"""Writers do not wait for a watcher that has taken nothing for this number of seconds."""

QUEUE_BYTES: Final = 8 * 1024 * 1024
"""The messages of the changes that wait for one watcher may have this many bytes."""

BATCH_BYTES: Final = 32 * 1024
"""A watcher takes about this much at a time, so that it is seen to make progress."""

CHANGES_AT_ONCE: Final = 20_000
"""All watchers together take this many changes at a time, so that each has its turn soon."""

# Other tasks have their turn when so many bytes were handed over; a change counts for a few more.
_HANDED_OVER_AT_ONCE: Final = 1024 * 1024
_COST_OF_ONE: Final = 2048


class Published(Protocol):
    """What watchers can watch."""

    @property
    def microgrid_id(self) -> int:
        """The microgrid whose watchers receive it."""

    @property
    def message(self) -> bytes:
        """What makes up its size."""


_C = TypeVar("_C", bound=Published)


class Changes(tuple[_C, ...], Generic[_C]):
    """Changes that watchers take together.

    Attributes:
      framed: For the watchers' use: what they make of the changes.  Watchers that take the same
        changes share it.
    """

    framed: FramedMessages | None = None


Offer: TypeAlias = Callable[[Changes[_C]], bool]
"""Takes changes at once, and returns True; or takes nothing, and returns False."""


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


class Watchers(Generic[_C]):
    """Hands every change of a microgrid to all its watchers, in the order of the changes.

    The changes of a microgrid are in one log, in which each watcher has a position of its own, so a
    slow watcher delays no other.  The changes after its position are its queue.  When the queue is
    half full, the watcher *lags*, and writers to its microgrid wait until it has caught up: it is
    served ahead of new writes.  But they do not wait for a watcher that takes nothing for
    `READ_TIMEOUT` seconds: it is *stuck*.  When the queue of a stuck watcher overflows, the watcher
    is disconnected: instead of the changes that wait it receives `WatcherTooSlowError`, since it
    must know that it misses some.  A queue holds `limit` changes and `QUEUE_BYTES` bytes.

    A task that wakes up costs much more than to pass on an event.  So a task may leave an `Offer`
    for the time that it waits, to which `hand_over` passes the changes without waking the task.

    Attributes:
      follow: To be awaited directly before a microgrid is watched, without a checkpoint between:
        has changes of the microgrid published that are made elsewhere.

    Args:
      limit: How many changes may wait for one watcher.
      on_caught_up: Called when a watcher no longer lags.
    """

    follow: Callable[[int], Awaitable[None]]

    def __init__(self, limit: int, on_caught_up: Callable[[], None] = lambda: None) -> None:
        self.follow = _all_changes_are_made_here
        self._limit = limit
        self._on_caught_up = on_caught_up
        self._logs: dict[int, _Log[_C]] = {}
        self._count = 0
        self._published = 0
        self._delivered = 0
        self._disconnected = 0
        self._due: deque[Watcher[_C]] = deque()
        self._handing_over = trio.Lock()

    @contextmanager
    def watch(
        self, microgrid_id: int, *, on_disconnect: Callable[[], None] | None = None
    ) -> Iterator[Watcher[_C]]:
        """Watch a microgrid: the watcher receives every change that is published from now on.

        Args:
          on_disconnect: Called when the watcher is disconnected, whatever its task is doing.
        """
        log = self._logs.setdefault(microgrid_id, _Log(microgrid_id))
        watcher = Watcher(self, log, on_disconnect)
        log.watchers.add(watcher)
        self._count += 1
        try:
            yield watcher
        finally:
            self._drop(watcher)
            watcher._end()

    def publish(self, changes: Sequence[_C], *, wake: bool = True) -> None:
        """Queue committed changes for all watchers of their microgrids.  Never waits.

        Args:
          wake: Whether tasks are woken that have left an `Offer`; if not, `hand_over` must follow.
        """
        self._published += len(changes)
        changed: dict[int, _Log[_C]] = {}
        for change in changes:
            microgrid_id = change.microgrid_id
            if (log := self._logs.get(microgrid_id)) is not None:
                log.append(change)
                changed[microgrid_id] = log
        for log in changed.values():
            self._announce(log, wake)

    async def hand_over(self) -> None:
        """Pass what was published to the watchers that wait with an `Offer`.

        A checkpoint for every few milliseconds of work.  If it is cancelled, the watchers' tasks
        wake up instead.
        """
        if not self._due:
            return
        try:
            async with self._handing_over:
                while self.hand_over_some():
                    await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            for watcher in self._due:
                watcher._wake()
            self._due.clear()
            raise

    def hand_over_some(self) -> bool:
        """Do as much of `hand_over` as takes a few milliseconds; return whether some is left."""
        cost = 0
        while self._due and cost < _HANDED_OVER_AT_ONCE:
            cost += self._due.popleft()._deliver()
        return self.due

    @property
    def due(self) -> bool:
        """Whether changes have been published and not yet handed over; works in any thread."""
        return bool(self._due)

    def _announce(self, log: _Log[_C], wake: bool) -> None:
        """Wake the watchers of a log; note which ones lag, disconnect stuck ones that overflow."""
        now = trio.current_time()
        idle, log.idle = log.idle, set()
        for watcher in idle:
            watcher.taken_at = now  # It was waiting, not stuck.
            if wake or watcher.offer is None:
                watcher._wake()
            else:
                self._due.append(watcher)
        # Those that were idle have the same queue.
        some = next(iter(idle), None)
        idle_lag = some is not None and self._lags(some)
        for watcher in [*log.watchers] if idle_lag else log.watchers - idle:
            if watcher.taken_at + READ_TIMEOUT <= now and watcher.exceeds(self._limit, QUEUE_BYTES):
                self._disconnected += 1
                self._drop(watcher)
                watcher._fail(WatcherTooSlowError, "too many changes were waiting to be read")
            elif self._lags(watcher):
                log.lagging.add(watcher)
        log.trim()

    def _lags(self, watcher: Watcher[_C]) -> bool:
        return watcher.exceeds(self._limit // 2 - 1, QUEUE_BYTES // 2)

    def patience(self, microgrid_id: int) -> float:
        """Return for how many seconds a writer to a microgrid should wait for its watchers."""
        log = self._logs.get(microgrid_id)
        if log is None or not log.lagging:
            return 0.0
        latest = max(watcher.taken_at for watcher in log.lagging)
        return max(0.0, latest + READ_TIMEOUT - trio.current_time())

    def end_all(self) -> None:
        """End all present watchers once they have received the changes that wait for them."""
        for log in self._logs.values():
            for watcher in log.watchers:
                watcher._end()

    def disconnect_all(self, microgrid_id: int | None = None) -> None:
        """Disconnect all present watchers, because they may have missed a change.

        Args:
          microgrid_id: Only the watchers of this microgrid.
        """
        logs = [log for id_, log in self._logs.items() if microgrid_id in {None, id_}]
        for watcher in [watcher for log in logs for watcher in log.watchers]:
            self._drop(watcher)
            watcher._fail(StoreUnavailableError, "a change may have been missed")

    def watched(self, microgrid_id: int) -> bool:
        """Whether a microgrid has watchers."""
        return microgrid_id in self._logs

    def statistics(self) -> WatchersStatistics:
        """Return what the watchers are doing and have done."""
        queues = [len(watcher) for log in self._logs.values() for watcher in log.watchers]
        return WatchersStatistics(
            watchers=len(queues),
            longest_queue=max(queues, default=0),
            published=self._published,
            delivered=self._delivered,
            disconnected=self._disconnected,
        )

    def _batch_size(self) -> int:
        """Return how many changes a watcher may take at a time."""
        return max(1, CHANGES_AT_ONCE // max(1, self._count))

    def _taken(self, watcher: Watcher[_C], count: int) -> None:
        self._delivered += count
        if watcher in watcher.log.lagging and not self._lags(watcher):
            watcher.log.lagging.discard(watcher)
            self._on_caught_up()

    def _drop(self, watcher: Watcher[_C]) -> None:
        log = watcher.log
        if watcher not in log.watchers:
            return
        self._count -= 1
        log.watchers.discard(watcher)
        if not log.watchers:
            del self._logs[log.microgrid_id]
        log.idle.discard(watcher)
        if watcher in log.lagging:
            log.lagging.discard(watcher)
            self._on_caught_up()


async def _all_changes_are_made_here(microgrid_id: int) -> None:
    await trio.lowlevel.checkpoint()


class _Log(Generic[_C]):
    """The changes of a microgrid that its watchers have yet to take.

    Attributes:
      end: The position after the last change.
      watchers: The watchers of the microgrid.
      lagging: Those of them that lag.
      idle: Those of them whose tasks wait for a change.
    """

    def __init__(self, microgrid_id: int) -> None:
        self.microgrid_id = microgrid_id
        self.watchers: set[Watcher[_C]] = set()
        self.lagging: set[Watcher[_C]] = set()
        self.idle: set[Watcher[_C]] = set()
        self.end = 0
        self._begin = 0
        self._changes: list[_C] = []
        # The bytes of all changes before each one, and of all changes.
        self._offsets: list[int] = []
        self._bytes = 0
        self._latest: tuple[int, int, Changes[_C]] = 0, 0, Changes()

    def __len__(self) -> int:
        return len(self._changes)

    def append(self, change: _C) -> None:
        self._changes.append(change)
        self._offsets.append(self._bytes)
        self._bytes += len(change.message)
        self.end += 1

    def read(self, position: int, end: int, size: int) -> Changes[_C]:
        """Return up to `size` changes from a position on, or the first `BATCH_BYTES` bytes."""
        wanted = min(position + size, end)
        begin, last, batch = self._latest
        # Usually many watchers take the same changes.
        if (begin, last) != (position, wanted):
            first = position - self._begin
            full = self._offsets[first] + BATCH_BYTES
            stop = bisect_left(self._offsets, full, first + 1, wanted - self._begin)
            batch = Changes(self._changes[first:stop])
            self._latest = position, wanted, batch
        return batch

    def bytes_from(self, position: int) -> int:
        """Return the bytes of all changes from a position on."""
        return self._bytes - self._offsets[position - self._begin] if position < self.end else 0

    def trim(self) -> None:
        """Forget the changes that all watchers have taken."""
        begin = min((watcher.position for watcher in self.watchers), default=self.end)
        del self._changes[: begin - self._begin]
        del self._offsets[: begin - self._begin]
        self._begin = begin


class Watcher(Generic[_C]):
    """Iterates over the changes of a microgrid: ``async for changes in watcher``.

    Each item is a list of changes that have been waiting, so that they can be sent together.  It is
    for one task.  Each iteration is a checkpoint; a cancelled one has taken nothing.  The iteration
    ends when the service ends.

    Attributes:
      offer: To be called with changes while the task waits, instead of waking it.
      log: The changes of the microgrid.
      position: The position in the log of the next change that it takes.
      taken_at: When it last took changes, or began to wait for one.

    Raises:
      WatcherTooSlowError: by the iteration, once too many changes have been waiting.
      StoreUnavailableError: likewise, once a change may have been missed.
    """

    def __init__(
        self, watchers: Watchers[_C], log: _Log[_C], on_disconnect: Callable[[], None] | None
    ) -> None:
        self.log = log
        self.position = log.end
        self.taken_at = trio.current_time()
        self.offer: Offer[_C] | None = None
        self._watchers = watchers
        self._on_disconnect = on_disconnect
        self._arrival = trio.lowlevel.ParkingLot()
        self._end_position: int | None = None
        self._failure: tuple[type[DispatchError], str] | None = None

    def __aiter__(self) -> Watcher[_C]:
        return self

    async def __anext__(self) -> Changes[_C]:
        await trio.lowlevel.checkpoint()
        while not len(self) and self._end_position is None:
            self.log.idle.add(self)
            try:
                await self._arrival.park()
            finally:
                self.log.idle.discard(self)
        if (failure := self.failure) is not None:
            raise failure
        if not len(self):
            raise StopAsyncIteration
        batch = self._next(self._watchers._batch_size())
        self._take(batch)
        return batch

    def _next(self, size: int) -> Changes[_C]:
        return self.log.read(self.position, self.position + len(self), size)

    def _take(self, batch: Changes[_C]) -> None:
        self.position += len(batch)
        self.taken_at = trio.current_time()
        self._watchers._taken(self, len(batch))

    def _deliver(self) -> int:
        """Offer the changes that wait, or wake the task; return what that has cost."""
        cost, offer = _COST_OF_ONE, self.offer
        # A task that is awake takes them itself.
        while self._arrival and len(self):
            position = self.position
            batch = self._next(CHANGES_AT_ONCE)
            try:
                taken = offer is not None and offer(batch)
            except Exception:
                log.exception("a watcher cannot take changes")
                taken = False
            if not taken:
                self._wake()
                return cost
            cost += self.log.bytes_from(position) - self.log.bytes_from(position + len(batch))
            self._take(batch)
        if self._arrival:
            self.log.idle.add(self)
        return cost

    def __len__(self) -> int:
        end = self.log.end if self._end_position is None else self._end_position
        return end - self.position

    def exceeds(self, changes: int, size: int) -> bool:
        """Whether more than these changes, or more than these bytes, wait."""
        return len(self) > changes or self.log.bytes_from(self.position) > size

    @property
    def failure(self) -> DispatchError | None:
        """Why the watcher was disconnected, as a new exception; None if it was not."""
        if self._failure is None:
            return None
        kind, message = self._failure
        return kind(message)

    def _wake(self) -> None:
        self._arrival.unpark_all()

    def _fail(self, kind: type[DispatchError], message: str) -> None:
        self._failure = kind, message
        self.position = self.log.end
        self._end()
        if self._on_disconnect is not None:
            self._on_disconnect()

    def _end(self) -> None:
        if self._end_position is None:
            self._end_position = self.log.end
        self._arrival.unpark_all()
