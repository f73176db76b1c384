"""The store of a dispatch service, whatever it keeps the dispatches in.

A store needs to know little: it fetches rows, writes changes down in transactions, and reads pages.
What the calls of the API mean is decided by the pure functions of `edits` and `queries`, which all
stores share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from os import PathLike
from typing import TypeVar

import trio

from ... import clock
from ...api import wire
from ...api.codec import dispatch_to_wire, time_to_nanos
from ...model.dispatch import Dispatch
from ..errors import NotFoundError
from . import edits
from .edits import Edit
from .logs import ChangeFilter, LogPage, LogQuery
from .queries import Page, Query
from .rows import NOBODY, Author, Change, Row
from .runs import RunStore
from .statistics import StoreStatistics
from .watchers import Published, Watcher, Watchers

__all__ = ["Store"]

_C = TypeVar("_C", bound=Published)


class Store(ABC):
    """Keeps the dispatches of all microgrids and announces every change to watchers.

    Every async method is a checkpoint.  A write that is cancelled may still take effect; watchers
    are told if it does.  When a write returns, the change is as durable as the store can make it,
    and all watchers have it in their queues.

    Every method may raise `StoreUnavailableError`, `StoreFullError` or `StoreCorruptError`.

    Attributes:
      description: Where it keeps the dispatches, in a few words; no password is in it.
      watchers: The watchers of the dispatches of all microgrids.
      runs: The runs of the dispatches.
      on_commit: If set, called after each transaction with the number of writes that shared it and
        its duration in seconds.  A store in memory does not call it.
    """

    def __init__(self, description: str, *, watcher_limit: int) -> None:
        self.description = description
        self.watchers: Watchers[Change] = Watchers(watcher_limit, self._wake)
        self.on_commit: Callable[[int, float], None] | None = None
        self._wakeup = trio.Event()
        self.runs: RunStore

    async def create(
        self, microgrid_id: int, data: wire.DispatchData, *, now: int, author: Author = NOBODY
    ) -> Row:
        """Add a dispatch with this content, created at `now`, with an id never used before.

        Args:
          author: Who creates it, for the log of changes; so for the other writes.

        Raises:
          StoreFullError: there are no more ids.
        """
        [change] = await self.write(edits.create(microgrid_id, data, now=now, author=author))
        return change.row

    async def update(
        self,
        microgrid_id: int,
        dispatch_id: int,
        change: Callable[[wire.DispatchData], wire.DispatchData],
        *,
        now: int,
        author: Author = NOBODY,
    ) -> Row:
        """Change the content of a dispatch.

        Its update time becomes `now`, or a nanosecond after its last one if that is later.

        Args:
          change: Returns the new content for the old one, which it may modify.  It may run in
            another thread, and more than once; an exception that it raises is raised here.

        Raises:
          NotFoundError: the microgrid has no dispatch with this id.
        """
        edit = edits.update(microgrid_id, dispatch_id, change, now=now, author=author)
        [made] = await self.write(edit)
        return made.row

    async def delete(self, microgrid_id: int, dispatch_id: int, *, author: Author = NOBODY) -> Row:
        """Remove a dispatch; return its last content.

        Raises:
          NotFoundError: the microgrid has no dispatch with this id.
        """
        edit = edits.delete(microgrid_id, dispatch_id, now=_now(), author=author)
        [change] = await self.write(edit)
        return change.row

    async def get(self, microgrid_id: int, dispatch_id: int) -> Row:
        """Return a dispatch.

        Raises:
          NotFoundError: the microgrid has no dispatch with this id.
        """
        row = await self.find(dispatch_id)
        if row is None or row.microgrid_id != microgrid_id:
            raise NotFoundError(microgrid_id, dispatch_id)
        return row

    async def put(
        self,
        microgrid_id: int,
        dispatch: wire.Dispatch | Dispatch,
        *,
        author: Author = NOBODY,
    ) -> Row:
        """Keep a dispatch exactly as it is, with its own id and times, without checking any rule.

        This is not a call of the API; it is for imports and for tests.  A dispatch of the same
        microgrid with the same id is replaced, which watchers see as an update.  Ids that are given
        later are higher.

        Raises:
          ValueError: another microgrid has a dispatch with this id.
        """
        message = dispatch_to_wire(dispatch) if isinstance(dispatch, Dispatch) else dispatch
        [change] = await self.write(edits.put(microgrid_id, message, now=_now(), author=author))
        return change.row

    @asynccontextmanager
    async def watch(
        self, microgrid_id: int, *, on_disconnect: Callable[[], None] | None = None
    ) -> AsyncIterator[Watcher[Change]]:
        """Watch a microgrid::

            async with store.watch(1) as watcher:
                async for changes in watcher: ...

        The watcher receives every change that is committed after the block was entered, in that
        order.

        Args:
          on_disconnect: Called when the watcher is disconnected, whatever its task is doing.
        """
        await self.watchers.follow(microgrid_id)
        with self.watchers.watch(microgrid_id, on_disconnect=on_disconnect) as watcher:
            yield watcher

    async def _wait_for_watchers(self, watchers: Watchers[_C], microgrid_id: int) -> None:
        """Wait while the watchers of a microgrid lag."""
        while (patience := watchers.patience(microgrid_id)) > 0:
            with trio.move_on_after(patience):
                await self._wakeup.wait()

    def _wake(self) -> None:
        """Wake the tasks that wait for `_wakeup`: a watcher has caught up, for one thing."""
        self._wakeup.set()
        self._wakeup = trio.Event()

    def end_watchers(self) -> None:
        """End all present watchers once they have received the changes that wait for them."""
        self.watchers.end_all()
        self.runs.watchers.end_all()

    # What a kind of store has to implement.

    @abstractmethod
    async def list_changes(self, query: LogQuery[ChangeFilter]) -> LogPage[ChangeFilter]:
        """Return one page of the log of changes.

        Raises:
          StoreBusyError: it would take too long.
        """

    @abstractmethod
    async def write(self, edit: Edit) -> Sequence[Change]:
        """Carry out an edit in a transaction; return its changes.

        The changes are durable and published to the watchers when this returns.  Before, it waits
        while watchers of the microgrid lag.  An exception of the edit is raised here; then nothing
        has been changed.
        """

    @abstractmethod
    async def find(self, dispatch_id: int) -> Row | None:
        """Return the dispatch with an id, whatever its microgrid; None if it does not exist."""

    @abstractmethod
    async def list(self, query: Query) -> Page:
        """Return one page of a list; `trio_dispatch.service.store.queries` defines pages.

        Raises:
          StoreBusyError: it would take too long.
        """

    @abstractmethod
    async def latest_stamp(self, key: bytes) -> int | None:
        """Return the newest second that `raise_stamp` has kept for a key, None if it kept none."""

    @abstractmethod
    async def raise_stamp(self, key: bytes, second: int) -> None:
        """Keep the newest second for which a signature of a key was accepted."""

    @abstractmethod
    async def statistics(self) -> StoreStatistics:
        """Return what the store has."""

    @abstractmethod
    async def backup(self, path: str | PathLike[str]) -> None:
        """Write a copy of the store, as it is at one moment, to a new file.

        Other calls go on meanwhile.

        Raises:
          FileExistsError: the file exists.
          StoreError: the file cannot be written.
        """


def _now() -> int:
    return time_to_nanos(clock.now())
