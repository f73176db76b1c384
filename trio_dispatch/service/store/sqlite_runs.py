"""Runs in an SQLite file.

One task stores the reports.  As with other writes, those that wait share a transaction.  If a
commit fails, it may still have taken effect.  Its reports fail as unavailable: dispatchers send
them again, and if they were stored they are ignored then.  All watchers are disconnected, since
they may have missed a change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

import sqlalchemy as sa
import trio
from outcome import Error, Outcome, Value

from ... import clock
from ...model.dispatchers import DispatcherInfo
from ..errors import StoreError, StoreUnavailableError, copy_of
from ._sql_errors import DRIVER_ERRORS, mapped_to_store_errors
from ._sql_logs import list_dispatchers, note_statuses, report, runs_page
from .logs import LogPage, LogQuery, RunFilter
from .runs import Delivery, RunRow, RunStore, ToldStatus
from .watchers import Watchers

__all__ = ["SqliteRuns"]

_REPORTS_AT_ONCE: Final = 2000

_R = TypeVar("_R")


class Read(Protocol):
    """Reads in a thread."""

    async def __call__(self, work: Callable[[sa.Connection], _R]) -> _R: ...


@dataclass(eq=False, slots=True)
class _Report:
    delivery: Delivery
    outcome: Outcome[tuple[int, list[RunRow]]] | None = None
    done: trio.Event = field(default_factory=trio.Event)

    def take_outcome(self) -> Outcome[tuple[int, list[RunRow]]]:
        """Remove the outcome: the traceback of an error refers to the report."""
        outcome, self.outcome = self.outcome, None
        assert outcome is not None
        return outcome

    def attempt(self, connection: sa.Connection) -> None:
        """Set the outcome; errors of the database are raised, since they concern all reports."""
        try:
            self.outcome = Value(report(connection, self.delivery))
        except DRIVER_ERRORS:
            raise
        except Exception as exc:  # noqa: BLE001 - it is raised in the caller's task
            self.outcome = Error(exc)


class SqliteRuns(RunStore):
    """Keeps runs in an SQLite file; `run` stores the reports.

    Args:
      engine: Begins transactions that write.
      writer: Permits one transaction that writes at a time.
      read: Reads from the file.
      watchers: The watchers of runs.
      wait_for_watchers: Waits while the watchers of a microgrid lag.
      on_commit: Called after each transaction.
    """

    def __init__(
        self,
        path: Path,
        engine: sa.Engine,
        writer: trio.CapacityLimiter,
        read: Read,
        watchers: Watchers[RunRow],
        wait_for_watchers: Callable[[Watchers[RunRow], int], Awaitable[None]],
        on_commit: Callable[[], None],
    ) -> None:
        self.watchers = watchers
        self._path = path
        self._engine = engine
        self._writer = writer
        self._read = read
        self._wait_for_watchers = wait_for_watchers
        self._on_commit = on_commit
        self._waiting: list[_Report] = []
        self._arrival = trio.lowlevel.ParkingLot()
        self._closed = False

    async def report(self, delivery: Delivery) -> int:
        await self._wait_for_watchers(self.watchers, delivery.microgrid_id)
        if self._closed:
            raise StoreUnavailableError(f"{self._path} is closed")
        waiting = _Report(delivery)
        self._waiting.append(waiting)
        self._arrival.unpark_all()
        await waiting.done.wait()
        last_sequence, _ = waiting.take_outcome().unwrap()
        return last_sequence

    async def list(self, query: LogQuery[RunFilter]) -> LogPage[RunFilter]:
        return await self._read(lambda connection: runs_page(connection, query))

    async def note_statuses(self, told: Sequence[ToldStatus]) -> None:
        def work() -> None:
            with mapped_to_store_errors(self._path), self._engine.begin() as connection:
                note_statuses(connection, told)

        if self._closed:
            raise StoreUnavailableError(f"{self._path} is closed")
        await clock.run_in_thread(work, limiter=self._writer)

    async def list_dispatchers(
        self, microgrid_id: int | None = None
    ) -> Mapping[int, Sequence[DispatcherInfo]]:
        return await self._read(lambda connection: list_dispatchers(connection, microgrid_id))

    async def run(self) -> None:
        """Store reports for ever."""
        try:
            while True:
                if not self._waiting:
                    await self._arrival.park()
                batch = self._next()
                certain = await clock.run_in_thread(self._transact, batch, limiter=self._writer)
                self._on_commit()
                del self._waiting[: len(batch)]
                for each in batch:
                    if isinstance(each.outcome, Value):
                        _, rows = each.outcome.value
                        self.watchers.publish(rows)
                    each.done.set()
                if not certain:
                    self.watchers.disconnect_all()
        finally:
            self._closed = True
            for each in self._waiting:
                each.outcome = Error(StoreUnavailableError(f"{self._path} is closed"))
                each.done.set()
            self._waiting.clear()

    def _next(self) -> Sequence[_Report]:
        batch: list[_Report] = []
        size = 0
        for each in self._waiting:
            size += len(each.delivery.reports)
            if batch and size > _REPORTS_AT_ONCE:
                break
            batch.append(each)
        return batch

    def _transact(self, batch: Sequence[_Report]) -> bool:
        """Store reports in one transaction, in a worker thread.

        Returns whether it is certain what became of them.
        """
        certain = True
        try:
            with mapped_to_store_errors(self._path), self._engine.connect() as connection:
                transaction = connection.begin()
                for each in batch:
                    each.attempt(connection)
                try:
                    transaction.commit()
                except DRIVER_ERRORS:
                    # Its state is unknown: it must not be used again.
                    connection.invalidate()
                    certain = False
                    raise
        except StoreError as error:
            # A small transaction may still fit on a full disk.
            if certain and len(batch) > 1 and not isinstance(error, StoreUnavailableError):
                certainties = [self._transact([each]) for each in batch]
                return all(certainties)
            for each in batch:
                each.outcome = Error(copy_of(error))
        return certain
