"""A store in an SQLite file.

Theory of operation.  A worker thread carries out the writes.  It takes those that wait, runs them
in one transaction, and goes on with those that have arrived meanwhile: under load many writes share
the wait for the disk.  Look-ups of single dispatches are shared in the same way.
Lists run in other threads, each on a connection of its own.  All reads see the last commit; in WAL
mode readers and the writer do not wait for each other.  A list whose caller is cancelled is
interrupted.

A COMMIT that fails may still have taken effect.  Then the database itself is asked on another
connection, by the sequence number of its last change.  If the changes are there, a further commit
makes sure that they are on the disk, and they are acknowledged and published like any others; if
not, the writes fail.  If that cannot be determined either, the writes fail as unavailable, which
promises nothing, and all watchers are disconnected: their clients connect again and list what there
is.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import sqlalchemy as sa
import trio
from outcome import Error

from ... import clock
from ...api.codec import time_to_nanos
from ...concurrency.nursery import open_service_nursery
from ..errors import (
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    copy_of,
)
from ._lookups import Lookups
from ._schema import check_writable, counters, dispatches, prepare
from ._sql_errors import DRIVER_ERRORS, mapped_to_store_errors
from ._sql_lists import count_of, driver_rows, pages_of, place_of
from ._sql_logs import changes_page, oldest_change, trim
from ._sqlite_files import copy_database, ensure_file, lock, make_engine, raw_connection, unlock
from ._transaction import latest_stamp, read_batch, read_counters, write_batch
from .base import Store
from .batch import Batch
from .edits import Edit
from .logs import ChangeFilter, LogPage, LogQuery
from .queries import Page, PageBuilder, Query
from .retention import DEFAULT_RETENTION, Retention
from .rows import Change, Row
from .sqlite_runs import SqliteRuns
from .statistics import StoreStatistics, disk_statistics
from .watchers import Watchers
from .write_queue import Write, WriteQueue

__all__ = ["SqliteStore", "open_sqlite"]

log = logging.getLogger("trio_dispatch.service.store")

LIST_TIMEOUT: Final = 10.0
"""A list that takes more seconds is stopped."""

TRIM_INTERVAL: Final = 600.0
"""Old runs and changes are removed this number of seconds after something was written."""

# Lists can be slow, so they have connections of their own and never delay a look-up by id.
_LISTS_AT_ONCE: Final = 3
_STAMPS_AT_ONCE: Final = 1
_CLOSE_TIMEOUT: Final = 10.0
_STEPS_BETWEEN_CHECKS: Final = 100_000  # A few milliseconds.

_R = TypeVar("_R")


@asynccontextmanager
async def open_sqlite(
    path: str | os.PathLike[str],
    *,
    busy_timeout: float = 5.0,
    watcher_limit: int = 1000,
    retention: Retention = DEFAULT_RETENTION,
) -> AsyncIterator[SqliteStore]:
    """Open a store in a file, which is created if it does not exist; only its owner can read it.

    One store at a time has a file open; other programs may read it.  Acknowledged writes are on the
    disk: each commit is synced, so that it survives a loss of power.

    Args:
      busy_timeout: How many seconds to wait for another program that has locked the file.
      watcher_limit: How many changes may wait for one watcher before it is disconnected.
      retention: How long runs and changes are kept.

    Raises:
      StoreError: the file cannot be opened or written, is not an SQLite database, belongs to
        another application or to a newer version of this package, or is open in another service.
    """
    store = SqliteStore(
        path, busy_timeout=busy_timeout, watcher_limit=watcher_limit, retention=retention
    )
    try:
        await clock.run_in_thread(store._open)
        async with open_service_nursery() as nursery:
            nursery.start_soon(
                store._queue.run_in_thread, store._commit, store._publish, store._writer
            )
            nursery.start_soon(store._lookups.run)
            nursery.start_soon(store._runs.run)
            nursery.start_soon(store._trim)
            yield store
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            await store._wait_for_reads()
        with trio.CancelScope(shield=True):
            await clock.run_in_thread(store._close)


class _Interrupter:
    """Interrupts the read of another thread, and nothing that its connection does later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reading: sqlite3.Connection | None = None
        self._interrupted = False

    @contextmanager
    def watching(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Permit interruptions within a ``with`` block."""
        # `interrupt` has no effect between two statements; then SQLite itself notices.
        connection.set_progress_handler(lambda: self._interrupted, _STEPS_BETWEEN_CHECKS)
        with self._lock:
            self._reading = connection
        try:
            yield
        finally:
            with self._lock:
                self._reading = None
            connection.set_progress_handler(None, 0)

    def interrupt(self) -> None:
        """Interrupt the read, now or soon after it begins."""
        with self._lock:
            self._interrupted = True
            if self._reading is not None:
                self._reading.interrupt()


class _Committed(NamedTuple):
    """The result of a transaction.

    Attributes:
      certain: Whether it is certain what became of its writes.
      seconds: How long it took.
    """

    certain: bool
    seconds: float


class _CommitError(Exception):
    """A COMMIT failed and may have taken effect.

    Attributes:
      before: The sequence number of the last change before it.
      error: The error of the driver.
    """

    def __init__(self, before: int, error: sa.exc.DBAPIError | sqlite3.Error) -> None:
        super().__init__(str(error))
        self.before = before
        self.error = error


class SqliteStore(Store):
    """A store in an SQLite file, see `open_sqlite`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_timeout: float,
        watcher_limit: int,
        retention: Retention,
    ) -> None:
        self.path = Path(path).absolute()
        super().__init__(str(self.path), watcher_limit=watcher_limit)
        self._queue = WriteQueue(str(self.path), self.watchers)
        self._closed = False
        # Limiters of its own: other work in Trio's threads must not stop it.
        self._lists = trio.CapacityLimiter(_LISTS_AT_ONCE)
        self._stamps = trio.CapacityLimiter(_STAMPS_AT_ONCE)
        self._writer = trio.CapacityLimiter(1)
        self._lock: int | None = None
        # Two more: for the writer, and for look-ups.
        connections = _LISTS_AT_ONCE + _STAMPS_AT_ONCE + 2
        self._engine = make_engine(self.path, busy_timeout, connections=connections)
        self._lookups = Lookups(self.path, self._engine)
        self._writing = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        self.runs = self._runs = SqliteRuns(
            self.path,
            self._writing,
            self._writer,
            self._read_list,
            Watchers(watcher_limit, self._wake),
            self._wait_for_watchers,
            self._note_commit,
        )
        self._retention = retention
        self._written = trio.Event()

    # Reads.

    async def find(self, dispatch_id: int) -> Row | None:
        self._check_open()
        return await self._lookups.find(dispatch_id)

    async def list(self, query: Query) -> Page:
        def read(connection: sa.Connection) -> Page:
            snapshot = query.snapshot_at(read_counters(connection).sequence)
            total = query.total
            if total is None:
                total = connection.scalars(count_of(query)).one()
            builder = PageBuilder(query.page_size)
            for select in pages_of(query, snapshot):
                if not builder.extend(driver_rows(connection, select), place_of):
                    break
            return builder.page(query, snapshot=snapshot, total=total)

        return await self._read_list(read)

    async def list_changes(self, query: LogQuery[ChangeFilter]) -> LogPage[ChangeFilter]:
        return await self._read_list(lambda connection: changes_page(connection, query))

    async def _read_list(self, work: Callable[[sa.Connection], _R]) -> _R:
        with trio.move_on_after(LIST_TIMEOUT):
            return await self._read(work, self._lists)
        raise StoreBusyError("the list took too long: use a simpler filter")

    async def latest_stamp(self, key: bytes) -> int | None:
        return await self._read(lambda connection: latest_stamp(connection, key), self._stamps)

    async def statistics(self) -> StoreStatistics:
        def read(connection: sa.Connection) -> StoreStatistics:
            size, free, total = disk_statistics(self.path)
            return StoreStatistics(
                kind="sqlite",
                dispatches=connection.scalars(sa.select(sa.func.count(dispatches.c.id))).one(),
                oldest_change=oldest_change(connection),
                size=size,
                disk_free=free,
                disk_size=total,
            )

        return await self._read_list(read)

    async def backup(self, path: str | os.PathLike[str]) -> None:
        target = Path(path)
        self._check_open()

        def copy() -> None:
            with mapped_to_store_errors(self.path), self._engine.begin() as connection:
                copy_database(raw_connection(connection), target)

        await clock.run_in_thread(copy, limiter=self._lists)

    async def _read(self, work: Callable[[sa.Connection], _R], limiter: trio.CapacityLimiter) -> _R:
        """Read in a thread, in a transaction that sees a single state.

        If it is cancelled, SQLite stops the statement soon after, and the thread ends.
        """
        interrupter = _Interrupter()

        def read() -> _R:
            with (
                mapped_to_store_errors(self.path),
                self._engine.begin() as connection,
                interrupter.watching(raw_connection(connection)),
            ):
                return work(connection)

        self._check_open()
        try:
            return await clock.run_in_thread(read, limiter=limiter, abandon_on_cancel=True)
        except trio.Cancelled:
            interrupter.interrupt()
            raise

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError(f"{self.path} is closed")

    async def _wait_for_reads(self) -> None:
        """Wait until the threads of all reads have ended."""
        self._closed = True
        for limiter in (self._lists, self._stamps):
            for _ in range(int(limiter.total_tokens)):
                await limiter.acquire_on_behalf_of(object())

    # Writes.

    async def write(self, edit: Edit) -> Sequence[Change]:
        return await self._queue.submit(Write.of(edit))

    async def raise_stamp(self, key: bytes, second: int) -> None:
        def work(batch: Batch) -> Sequence[Change]:
            batch.raise_stamp(key, second)
            return ()

        await self._queue.submit(Write(work))

    def _wake(self) -> None:
        super()._wake()
        self._queue.wake()

    def _publish(self, writes: Sequence[Write], committed: _Committed) -> None:
        """Publish the changes of writes that were carried out."""
        self._note_commit()
        changes = [change for write in writes for change in write.changes]
        self.watchers.publish(changes, wake=False)
        if not committed.certain:
            self.watchers.disconnect_all()
        if self.on_commit is not None:
            self.on_commit(len(writes), committed.seconds)

    def _note_commit(self) -> None:
        self._written.set()

    async def _trim(self) -> None:
        """Remove old runs and changes for ever, now and then, in small transactions.

        Nothing is removed, and no task wakes up, while nothing is written.
        """

        def step() -> int:
            with mapped_to_store_errors(self.path), self._writing.begin() as connection:
                return trim(connection, self._retention, now)

        while True:
            await self._written.wait()
            await trio.sleep(TRIM_INTERVAL)
            self._written = trio.Event()
            now = time_to_nanos(clock.now())
            with suppress(StoreError):
                while await clock.run_in_thread(step, limiter=self._writer):
                    pass

    # In worker threads.

    def _commit(self, writes: Sequence[Write]) -> _Committed:
        began = time.perf_counter()
        certain = self._transact(writes)
        return _Committed(certain, time.perf_counter() - began)

    def _transact(self, writes: Sequence[Write]) -> bool:
        """Carry out writes in one transaction; return whether it is certain what became of them.

        If the database fails, each write is tried in a transaction of its own, since a small one
        may still fit on a full disk; but not if the database is locked, which takes its time and
        holds for all of them.
        """
        certain = True
        try:
            with mapped_to_store_errors(self.path):
                try:
                    self._transact_all(writes)
                except _CommitError as failed:
                    took_effect = self._took_effect(failed)
                    if not took_effect:
                        certain = took_effect is not None
                        raise failed.error from None
        except StoreError as error:
            if certain and len(writes) > 1 and not isinstance(error, StoreUnavailableError):
                certainties = [self._transact([write]) for write in writes]
                return all(certainties)
            for write in writes:
                write.outcome = Error(copy_of(error))
        return certain

    def _transact_all(self, writes: Sequence[Write]) -> None:
        with self._writing.connect() as connection:
            transaction = connection.begin()
            batch = read_batch(connection, (id_ for write in writes for id_ in write.reads))
            before = batch.counters
            for write in writes:
                write.attempt(batch)
            write_batch(connection, batch, before)
            try:
                transaction.commit()
            except DRIVER_ERRORS as exc:
                # Its state is unknown: it must not be used again.
                connection.invalidate()
                raise _CommitError(before.sequence, exc) from exc

    def _took_effect(self, failed: _CommitError) -> bool | None:
        """Whether a COMMIT that failed has taken effect durably; None if that is unknown."""
        try:
            with self._writing.begin() as connection:
                sequence = read_counters(connection).sequence
                if sequence == failed.before:
                    return False
                # The same number again: once this is on the disk, so is the commit before it.
                connection.execute(counters.update().values(sequence=sequence))
        except DRIVER_ERRORS as exc:
            log.warning("%s: it is unknown whether a commit took effect: %s", self.path, exc)
            return None
        return True

    def _open(self) -> None:
        ensure_file(self.path)
        self._lock = lock(self.path)
        try:
            with mapped_to_store_errors(self.path):
                with self._writing.begin() as connection:
                    prepare(connection, self.path)
                # Only now it is known to be ours; the file keeps this setting.
                with self._engine.connect() as connection:
                    raw_connection(connection).execute("PRAGMA journal_mode = WAL")
            # On a full disk it can still be read.
            with (
                suppress(StoreFullError),
                mapped_to_store_errors(self.path),
                self._writing.begin() as connection,
            ):
                check_writable(connection)
        except StoreUnavailableError as exc:
            raise StoreError(str(exc)) from exc

    def _close(self) -> None:
        self._engine.dispose()
        if self._lock is not None:
            unlock(self.path, self._lock)
            self._lock = None
