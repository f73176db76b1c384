"""A store in an SQLite file.

Theory of operation.  One task runs the writing steps.  It takes all that wait at the moment, runs
them in one transaction in a worker thread, and goes on with those that have come meanwhile: under
load many share what costs most, the waiting for the disk.  Reads run in other threads, each on a
connection of its own, and see the last commit; in WAL mode they and the writer do not wait for
each other.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import trio
from outcome import Error, Outcome, Value

from .. import clock
from .._nursery import open_service_nursery
from ..errors import DispatchError
from ._files import copy_database, lock, make_engine, unlock
from ._schema import counters, dispatches, former, prepare
from ._sql_lists import count_of, page_of
from .errors import (
    NotFoundError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from .listing import REMEMBERED, Page, Query, cut_page
from .row import Change, Row
from .store import Step, Store

__all__ = ["SqliteStore", "open_sqlite"]

log = logging.getLogger("trio_dispatch.service.store")

_READERS = 4
_STEPS_AT_ONCE = 500
_T = TypeVar("_T")


@asynccontextmanager
async def open_sqlite(
    path: str | os.PathLike[str], *, busy_timeout: float = 5.0, watcher_limit: int = 1000
) -> AsyncIterator[SqliteStore]:
    """Open a store in a file, which is created if there is none.

    Only one store at a time has a file open; other programs may read it.  What was acknowledged is
    on the disk: each commit is synced, also against a loss of power.

    Args:
      busy_timeout: How many seconds to wait for another program that has locked the file.
      watcher_limit: How many changes may wait for a watcher before it is cut off.

    Raises:
      StoreError: it cannot be opened, is no SQLite database, or one of another application or of
        a newer version of this package, or another service has it open.
    """
    store = SqliteStore(path, busy_timeout=busy_timeout, watcher_limit=watcher_limit)
    try:
        await clock.run_in_thread(store._open)
        async with open_service_nursery() as nursery:
            nursery.start_soon(store._write)
            yield store
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await clock.run_in_thread(store._close)


@dataclass(eq=False, slots=True)
class _Waiting:
    """A step that waits for its turn, then for its outcome."""

    step: Step
    outcome: Outcome[Change] | None = None
    done: trio.Event = field(default_factory=trio.Event)
    abandoned: bool = False


class SqliteStore(Store):
    """See `open_sqlite`."""

    def __init__(
        self, path: str | os.PathLike[str], *, busy_timeout: float, watcher_limit: int
    ) -> None:
        super().__init__(watcher_limit=watcher_limit)
        self.path = Path(path).absolute()
        self._waiting: list[_Waiting] = []
        self._wanted = trio.Event()
        self._closed = False
        # Limiters of its own: a program that fills Trio's with other work must not stop it.
        self._readers = trio.CapacityLimiter(_READERS)
        self._writer = trio.CapacityLimiter(1)
        self._lock: int | None = None
        self._engine = make_engine(self.path, busy_timeout, connections=_READERS + 1)

    async def get(self, microgrid_id: int, dispatch_id: int) -> Row:
        def read(connection: sa.Connection) -> Row | None:
            return _Table(connection, 0, 0).find(dispatch_id)

        row = await self._read(read)
        if row is None or row.microgrid_id != microgrid_id:
            raise NotFoundError(microgrid_id, dispatch_id)
        return row

    async def list(self, query: Query) -> Page:
        def read(connection: sa.Connection) -> Page:
            changes = connection.execute(sa.select(counters.c.changes)).scalar_one()
            edge = query.edge_at(changes)
            total: int = connection.execute(count_of(query)).scalar_one()
            with connection.execute(page_of(query, edge)) as rows:
                messages, token = cut_page(map(tuple, rows), query, edge)
            return Page(messages, total, token)

        return await self._read(read)

    async def backup(self, path: str | os.PathLike[str]) -> None:
        target = Path(path)

        def copy(connection: sa.Connection) -> None:
            source = connection.connection.driver_connection
            assert isinstance(source, sqlite3.Connection)
            copy_database(source, target)

        await self._read(copy)

    async def _read(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Run some work in a thread, within a transaction that sees a single state."""

        def read() -> _T:
            with _translated(self.path), self._engine.begin() as connection:
                return work(connection)

        self._check_open()
        return await clock.run_in_thread(read, limiter=self._readers)

    async def _commit(self, step: Step) -> Change:
        self._check_open()
        waiting = _Waiting(step)
        self._waiting.append(waiting)
        self._wanted.set()
        try:
            await waiting.done.wait()
        finally:
            waiting.abandoned = True
        assert waiting.outcome is not None
        return waiting.outcome.unwrap()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError(f"{self.path} has been closed")

    # The writing task.

    async def _write(self) -> None:
        try:
            while True:
                await self._wanted.wait()
                self._wanted = trio.Event()
                while self._waiting:
                    await self._write_some()
        finally:
            self._closed = True
            self._fail_all()

    async def _write_some(self) -> None:
        """Run the steps that wait, tell the watchers, and let the callers go on."""
        batch = [waiting for waiting in self._waiting if not waiting.abandoned][:_STEPS_AT_ONCE]
        if not batch:
            self._waiting.clear()
            return
        # From here on a caller that is cancelled no longer gets its step back.  There is no
        # checkpoint between the return of the thread and the last watcher.
        steps = [waiting.step for waiting in batch]
        outcomes = await clock.run_in_thread(self._transact, steps, limiter=self._writer)
        taken = set(map(id, batch))
        self._waiting = [w for w in self._waiting if id(w) not in taken and not w.abandoned]
        for outcome in outcomes:
            if isinstance(outcome, Value):
                self.watchers.publish(outcome.value)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.outcome = outcome
            waiting.done.set()

    def _fail_all(self) -> None:
        for waiting in self._waiting:
            waiting.outcome = Error(StoreUnavailableError(f"{self.path} has been closed"))
            waiting.done.set()
        self._waiting.clear()

    # In worker threads.

    def _transact(self, steps: Sequence[Step]) -> Sequence[Outcome[Change]]:
        """Run steps in one transaction; the outcome of each.

        If the database fails, each is tried in a transaction of its own, since on a full disk one
        may still find room; not if it is locked, which takes its time and holds for all.
        """
        try:
            with _translated(self.path):
                return self._transact_all(steps)
        except StoreError as error:
            if len(steps) > 1 and not isinstance(error, StoreUnavailableError):
                return [outcome for step in steps for outcome in self._transact([step])]
            # An exception is raised in one task only: each gets one of its own.
            return [Error(_again(error)) for _ in steps]

    def _transact_all(self, steps: Sequence[Step]) -> Sequence[Outcome[Change]]:
        engine = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        with engine.begin() as connection:
            last_id, changes = connection.execute(sa.select(counters)).one()
            table = _Table(connection, last_id, changes)
            outcomes = [_run(step, table) for step in steps]
            if table.changes != changes:
                connection.execute(
                    counters.update().values(last_id=table.last_id, changes=table.changes)
                )
                connection.execute(
                    former.delete().where(former.c.until <= table.changes - REMEMBERED)
                )
            return outcomes

    def _open(self) -> None:
        if not self.path.parent.is_dir():
            raise StoreError(f"{self.path} cannot be created: its directory does not exist")
        self._lock = lock(self.path)
        try:
            with _translated(self.path):
                engine = self._engine.execution_options(begin="BEGIN IMMEDIATE")
                with engine.begin() as connection:
                    prepare(connection, self.path)
                # Only now is it known to be ours; the file remembers it.
                with self._engine.connect() as connection:
                    raw = connection.connection.driver_connection
                    assert isinstance(raw, sqlite3.Connection)
                    raw.execute("PRAGMA journal_mode = WAL")
        except StoreUnavailableError as exc:
            raise StoreError(str(exc)) from exc

    def _close(self) -> None:
        self._engine.dispose()
        if self._lock is not None:
            unlock(self.path, self._lock)
            self._lock = None


def _run(step: Step, table: _Table) -> Outcome[Change]:
    """Run a step; what it raises is its outcome, except for what concerns all."""
    try:
        return Value(step(table))
    except sa.exc.DBAPIError:
        raise
    except Exception as exc:  # noqa: BLE001
        return Error(exc)


class _Table:
    """What a transaction sees; see `store.Table`."""

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


_NAMES = tuple(Row.__dataclass_fields__)
_wanted = dispatches.c.id == sa.bindparam("wanted")
_FIND = sa.select(*(dispatches.c[name] for name in _NAMES)).where(_wanted)
_REPLACE = dispatches.update().where(_wanted)
_REMOVE = dispatches.delete().where(_wanted)


def _columns(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _NAMES}


# Errors.

_FAILED = {
    sqlite3.SQLITE_BUSY: (StoreUnavailableError, "is locked by another program"),
    sqlite3.SQLITE_LOCKED: (StoreUnavailableError, "is locked by another program"),
    sqlite3.SQLITE_FULL: (StoreFullError, "has no room left on its disk"),
    sqlite3.SQLITE_CORRUPT: (StoreCorruptError, "is damaged"),
    sqlite3.SQLITE_NOTADB: (StoreCorruptError, "is not an SQLite database"),
}


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turns what the database raises into a `StoreError`."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as exc:
        cause = exc.orig if isinstance(exc, sa.exc.DBAPIError) else exc
        code = getattr(cause, "sqlite_errorcode", 0)
        log.warning("%s: %s", path, cause)
        kind, what = _FAILED.get(code & 0xFF, (StoreUnavailableError, f"fails: {cause}"))
        raise kind(f"{path} {what}") from cause


def _again(error: DispatchError) -> DispatchError:
    fresh = type(error)(*error.args)
    fresh.__cause__ = error.__cause__
    return fresh
