"""A store in an SQLite file.

Theory of operation.  One task runs the writing steps.  It takes all that wait at the moment, runs
them in one transaction in a worker thread, and goes on with those that have come meanwhile: under
load many share what costs most, the waiting for the disk.  Reads run in other threads, each on a
connection of its own, and see the last commit; in WAL mode they and the writer do not wait for
each other.

A COMMIT that fails may yet have taken effect.  Then the database itself is asked, by the number of
its last change, on another connection: what is there is acknowledged and told like any other change
once a further commit has got it onto the disk, and what is not there is refused.  If that cannot be
found out either, the callers are told that the store is not available, which promises nothing, and
all watchers are cut off: they come again, and list what there is.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import sqlalchemy as sa
import trio
from outcome import Error, Outcome, Value

from .. import clock
from ..concurrency.nursery import open_service_nursery
from ._files import copy_database, lock, make_engine, unlock
from ._schema import counters, former, prepare
from ._sql_errors import DRIVER_ERRORS, again, translated
from ._sql_lists import count_of, page_of
from ._sql_table import STAMP, SqlTable
from .errors import NotFoundError, StoreError, StoreUnavailableError
from .listing import REMEMBERED, Page, Query, cut_page
from .row import Change, Row
from .store import Step, Store, T, Table

__all__ = ["SqliteStore", "open_sqlite"]

log = logging.getLogger("trio_dispatch.service.store")

_READERS = 4
_STEPS_AT_ONCE = 500
_R = TypeVar("_R")
_AnyStep: TypeAlias = Callable[[Table], Change | None]
_Outcomes: TypeAlias = Sequence[Outcome[Change | None]]


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

    step: _AnyStep
    outcome: Outcome[Change | None] | None = None
    done: trio.Event = field(default_factory=trio.Event)
    abandoned: bool = False


@dataclass(slots=True)
class _Batch:
    """What has become of steps that shared a transaction.

    Attributes:
      certain: Whether that is known; if not, the outcomes are errors.
    """

    outcomes: _Outcomes
    certain: bool = True


class _CommitError(Exception):
    """A COMMIT has failed, and may have taken effect.

    Attributes:
      outcomes: What is to be told if it has.
      before: The number of the last change before it.
      error: What the driver raised.
    """

    def __init__(
        self,
        outcomes: _Outcomes,
        before: int,
        error: sa.exc.DBAPIError | sqlite3.Error,
    ) -> None:
        super().__init__(str(error))
        self.outcomes = outcomes
        self.before = before
        self.error = error


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
        self._writing = self._engine.execution_options(begin="BEGIN IMMEDIATE")

    async def get(self, microgrid_id: int, dispatch_id: int) -> Row:
        def read(connection: sa.Connection) -> Row | None:
            return SqlTable(connection, 0, 0).find(dispatch_id)

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

    async def latest_stamp(self, key: bytes) -> int | None:
        def read(connection: sa.Connection) -> int | None:
            return connection.execute(STAMP, {"wanted": key}).scalar_one_or_none()

        return await self._read(read)

    async def _read(self, work: Callable[[sa.Connection], _R]) -> _R:
        """Run some work in a thread, within a transaction that sees a single state."""

        def read() -> _R:
            with translated(self.path), self._engine.begin() as connection:
                return work(connection)

        self._check_open()
        return await clock.run_in_thread(read, limiter=self._readers)

    async def _commit(self, step: Step[T]) -> T:
        self._check_open()
        waiting = _Waiting(step)
        self._waiting.append(waiting)
        self._wanted.set()
        try:
            await waiting.done.wait()
        finally:
            waiting.abandoned = True
        assert waiting.outcome is not None
        return cast("T", waiting.outcome.unwrap())

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
        began = trio.current_time()
        done = await clock.run_in_thread(self._transact, steps, limiter=self._writer)
        taken = set(map(id, batch))
        self._waiting = [w for w in self._waiting if id(w) not in taken and not w.abandoned]
        for outcome in done.outcomes:
            if isinstance(outcome, Value) and outcome.value is not None:
                self.watchers.publish(outcome.value)
        if not done.certain:
            self.watchers.fail_all()
        for waiting, outcome in zip(batch, done.outcomes, strict=True):
            waiting.outcome = outcome
            waiting.done.set()
        if self.on_commit is not None:
            self.on_commit(len(batch), trio.current_time() - began)

    def _fail_all(self) -> None:
        for waiting in self._waiting:
            waiting.outcome = Error(StoreUnavailableError(f"{self.path} has been closed"))
            waiting.done.set()
        self._waiting.clear()

    # In worker threads.

    def _transact(self, steps: Sequence[_AnyStep]) -> _Batch:
        """Run steps in one transaction; what became of them.

        If the database fails, each is tried in a transaction of its own, since on a full disk one
        may still find room; not if it is locked, which takes its time and holds for all.
        """
        certain = True
        try:
            with translated(self.path):
                try:
                    return _Batch(self._transact_all(steps))
                except _CommitError as failed:
                    took_effect = self._took_effect(failed)
                    if took_effect:
                        return _Batch(failed.outcomes)
                    certain = took_effect is not None
                    raise failed.error from None
        except StoreError as error:
            if certain and len(steps) > 1 and not isinstance(error, StoreUnavailableError):
                batches = [self._transact([step]) for step in steps]
                return _Batch(
                    [outcome for batch in batches for outcome in batch.outcomes],
                    all(batch.certain for batch in batches),
                )
            # An exception is raised in one task only: each gets one of its own.
            return _Batch([Error(again(error)) for _ in steps], certain)

    def _transact_all(self, steps: Sequence[_AnyStep]) -> _Outcomes:
        with self._writing.connect() as connection:
            transaction = connection.begin()
            last_id, changes = connection.execute(sa.select(counters)).one()
            table = SqlTable(connection, last_id, changes)
            outcomes = [_run(step, table) for step in steps]
            if table.changes != changes:
                connection.execute(
                    counters.update().values(last_id=table.last_id, changes=table.changes)
                )
                connection.execute(
                    former.delete().where(former.c.until <= table.changes - REMEMBERED)
                )
            try:
                transaction.commit()
            except DRIVER_ERRORS as exc:
                # Whatever state it is in, it is not to be used again.
                connection.invalidate()
                raise _CommitError(outcomes, changes, exc) from exc
            return outcomes

    def _took_effect(self, failed: _CommitError) -> bool | None:
        """Whether a COMMIT that failed has taken effect, and for good; None if nobody knows."""
        try:
            with self._writing.begin() as connection:
                changes = connection.execute(sa.select(counters.c.changes)).scalar_one()
                if changes == failed.before:
                    return False
                # The same number again: for this to be on the disk, what was before it has to be.
                connection.execute(counters.update().values(changes=changes))
        except DRIVER_ERRORS as exc:
            log.warning("%s: nobody knows whether a commit took effect: %s", self.path, exc)
            return None
        return True

    def _open(self) -> None:
        if not self.path.parent.is_dir():
            raise StoreError(f"{self.path} cannot be created: its directory does not exist")
        self._lock = lock(self.path)
        try:
            with translated(self.path):
                with self._writing.begin() as connection:
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


def _run(step: _AnyStep, table: SqlTable) -> Outcome[Change | None]:
    """Run a step; what it raises is its outcome, except for what concerns all."""
    try:
        return Value(step(table))
    except sa.exc.DBAPIError:
        raise
    except Exception as exc:  # noqa: BLE001
        return Error(exc)
