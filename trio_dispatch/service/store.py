"""What a store does, whatever it keeps the dispatches in.

Theory of operation.  Each call that writes is a *step*: a plain function of a `Table`, which is
what one transaction sees.  Steps never wait, so they run as well on the dictionaries of the store
in memory as in the worker thread of one on disk, where several share a transaction.  A step raises
before it has changed anything, or not at all.  A store runs steps one after the other, gets them
onto its disk, tells the watchers of the changes, in this order and without a checkpoint between,
and only then lets the calls return.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from os import PathLike
from typing import Protocol, TypeAlias, TypeVar

from ..api import wire
from ..api.codec import dispatch_to_wire
from ..api.wire import Event
from ..model.dispatch import Dispatch
from .errors import NotFoundError, StoreFullError
from .listing import Page, Query
from .row import MAX_ID, Change, Row, row_of, row_of_message
from .watchers import OnCut, Watcher, Watchers

__all__ = ["Step", "Store", "T", "Table"]

T = TypeVar("T", bound="Change | None")

Edit: TypeAlias = Callable[[wire.DispatchData], wire.DispatchData]


class Table(Protocol):
    """The dispatches as one transaction sees them.

    Attributes:
      last_id: The last id that was given, ever.
      changes: How many changes there have been, ever.
    """

    last_id: int
    changes: int

    def find(self, dispatch_id: int) -> Row | None:
        """The dispatch with this id, in whatever microgrid."""

    def insert(self, row: Row) -> None:
        """Add a dispatch."""

    def replace(self, old: Row, new: Row) -> None:
        """Put new content in the place of the old, and remember by what that was sorted."""

    def remove(self, row: Row) -> None:
        """Remove a dispatch."""

    def note_stamp(self, key: bytes, second: int) -> None:
        """What `Store.raise_stamp` does."""


Step: TypeAlias = Callable[[Table], T]


class Store(ABC):
    """Keeps the dispatches of all microgrids, and tells of every change.

    Every method that is async is a checkpoint.  A call that writes and is cancelled may still have
    done its work; whoever watches is told if it has.  When it returns, the change is as durable as
    the store can make it, and all watchers have been handed it.

    Every method may raise `StoreUnavailableError`, `StoreFullError` or `StoreCorruptError`.

    Attributes:
      watchers: Who watches which microgrid.
      on_commit: Called after each transaction, if it is set, with the number of calls that shared
        it and the seconds that it took.  Not by a store in memory.
    """

    def __init__(self, *, watcher_limit: int) -> None:
        self.watchers = Watchers(watcher_limit)
        self.on_commit: Callable[[int, float], None] | None = None

    async def create(self, microgrid_id: int, data: wire.DispatchData, *, now: int) -> Row:
        """Add a dispatch that says this, created at `now`, with an id that no other ever had.

        Raises:
          StoreFullError: there are no more ids.
        """

        def step(table: Table) -> Change:
            if table.last_id >= MAX_ID:
                raise StoreFullError("there are no more ids")
            table.last_id += 1
            table.changes += 1
            number = table.changes
            row = row_of(
                microgrid_id,
                table.last_id,
                data,
                created=now,
                updated=now,
                born=number,
                changed=number,
            )
            table.insert(row)
            return Change(Event.CREATED, row)

        return (await self._commit(step)).row

    async def update(self, microgrid_id: int, dispatch_id: int, edit: Edit, *, now: int) -> Row:
        """Change what a dispatch says, at `now` or just after its last update, if that is later.

        Args:
          edit: Makes the new content of the old one, which it may change.  It runs within the
            transaction, possibly in another thread; what it raises is raised here.

        Raises:
          NotFoundError: the microgrid has no dispatch with this id.
        """

        def step(table: Table) -> Change:
            old = _found(table, microgrid_id, dispatch_id)
            data = edit(old.data())
            row = row_of(
                microgrid_id,
                dispatch_id,
                data,
                created=old.created,
                updated=max(now, old.updated + 1),
                born=old.born,
                changed=table.changes + 1,
            )
            table.changes += 1
            table.replace(old, row)
            return Change(Event.UPDATED, row)

        return (await self._commit(step)).row

    async def delete(self, microgrid_id: int, dispatch_id: int) -> Row:
        """Remove a dispatch; returns its last content.

        Raises:
          NotFoundError: the microgrid has no dispatch with this id.
        """

        def step(table: Table) -> Change:
            row = _found(table, microgrid_id, dispatch_id)
            table.changes += 1
            table.remove(row)
            return Change(Event.DELETED, row)

        return (await self._commit(step)).row

    async def put(self, microgrid_id: int, dispatch: wire.Dispatch | Dispatch) -> Row:
        """Keep a dispatch exactly as it is, with its own id and times, whatever the rules say.

        This is no call of the API; it is for imports and for tests.  A dispatch of the same
        microgrid with the same id is replaced, and an update is told of.  Ids that are given later
        are higher than this one.

        Raises:
          ValueError: another microgrid has a dispatch with this id.
        """
        message = dispatch_to_wire(dispatch) if isinstance(dispatch, Dispatch) else dispatch

        def step(table: Table) -> Change:
            number = table.changes + 1
            row = row_of_message(microgrid_id, message, born=number, changed=number)
            old = table.find(row.id)
            if old is not None:
                if old.microgrid_id != microgrid_id:
                    raise ValueError(f"microgrid {old.microgrid_id} has a dispatch {row.id}")
                table.remove(old)
            table.insert(row)
            table.changes = number
            table.last_id = max(table.last_id, row.id)
            return Change(Event.CREATED if old is None else Event.UPDATED, row)

        return (await self._commit(step)).row

    @abstractmethod
    async def get(self, microgrid_id: int, dispatch_id: int) -> Row:
        """One dispatch.

        Raises:
          NotFoundError: the microgrid has no dispatch with this id.
        """

    @abstractmethod
    async def list(self, query: Query) -> Page:
        """One page of a list; see `trio_dispatch.service.listing` for what pages promise."""

    def watch(
        self, microgrid_id: int, *, on_cut: OnCut | None = None
    ) -> AbstractContextManager[Watcher]:
        """Watch a microgrid: ``with store.watch(1) as changes: async for change in changes``.

        Every change that is committed after this call comes, in the order of the commits.

        Args:
          on_cut: Called at once when the watcher is cut off, whatever its task is busy with, with
            what iterating raises.
        """
        return self.watchers.watch(microgrid_id, on_cut=on_cut)

    @abstractmethod
    async def latest_stamp(self, key: bytes) -> int | None:
        """The newest second that `raise_stamp` was told of for a key; None if there was none."""

    async def raise_stamp(self, key: bytes, second: int) -> None:
        """Keep the newest second for which a signature of a key was good; see `auth`."""

        def step(table: Table) -> None:
            table.note_stamp(key, second)

        await self._commit(step)

    @abstractmethod
    async def backup(self, path: str | PathLike[str]) -> None:
        """Write a copy of the store, as it is at one moment, to a new file while it goes on.

        Raises:
          FileExistsError: there is a file of this name.
          StoreError: it cannot be written.
        """

    @abstractmethod
    async def _commit(self, step: Step[T]) -> T:
        """Run a step, make what it did durable, and tell the watchers.

        Raises what the step raises; then it has changed nothing.
        """


def _found(table: Table, microgrid_id: int, dispatch_id: int) -> Row:
    row = table.find(dispatch_id)
    if row is None or row.microgrid_id != microgrid_id:
        raise NotFoundError(microgrid_id, dispatch_id)
    return row
