"""Stores the reports: a task that keeps the journal on the disk up to date."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio
from trio_util import AsyncValue

from ... import clock
from ...concurrency.backoff import Backoff
from ...errors import DispatchError
from ...model.runs import RunReport
from ..file_writes import FileWrites
from .journal_file import JournalState, SavedReports, append, load, rewrite
from .queue import ReportQueue

__all__ = ["Journal", "read_journal"]

log = logging.getLogger("trio_dispatch.dispatcher.reports")

# The journal is rewritten when it has twice the records that it needs, and so many more.
_OLD_RECORDS = 1000


class Journal:
    """Stores the reports of a queue as they come.

    What comes while the disk is busy is written together afterwards.

    Args:
      path: The file.  Without one, reports are kept in memory, and count as stored at once.
      state: The microgrid, the dispatcher and the reporter.
      open_runs: Returns the last report about each run that goes on, or may go on.

    Attributes:
      put: The sequence number of the last report in the queue.
      stored: That of the last report that is stored.
    """

    def __init__(
        self,
        path: Path | None,
        queue: ReportQueue,
        state: JournalState,
        open_runs: Callable[[], Iterable[RunReport]],
    ) -> None:
        self._path = path
        self._queue = queue
        self._state = state
        self._open_runs = open_runs
        # The file may end with an incomplete record, so the first write replaces it.
        self._records = math.inf
        self._lock = trio.Lock()
        self._writes = FileWrites()
        self._is_failing = False
        self.put = AsyncValue(queue.stored)
        self.stored = AsyncValue(queue.stored)

    @property
    def reporter(self) -> str:
        """The identity that the sequence numbers belong to."""
        return self._state.reporter

    async def change_reporter(self, reporter: str) -> None:
        """Take another identity, under which everything that waits is delivered."""
        self._state = replace(self._state, reporter=reporter)
        self._records = math.inf
        await self.write()

    def take(self, report: RunReport) -> RunReport:
        """Put a report into the queue; returns it with its sequence number."""
        report = self._queue.put(report)
        if self._path is None:
            self._set_stored(report.sequence)
        self.put.value = report.sequence
        return report

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        backoff = Backoff()
        while True:
            await self.put.wait_value(lambda sequence: sequence > self._queue.stored)
            if await self.write():
                backoff = Backoff()
            else:
                await trio.sleep(backoff.delay())

    async def write(self) -> bool:
        """Write what is not stored yet; returns whether that succeeded.

        A cancellation abandons a disk that hangs; the next write then replaces the file.
        """
        path = self._path
        if path is None:
            await trio.lowlevel.checkpoint()
            return True
        async with self._lock:
            state = replace(
                self._state,
                first=self._queue.first,
                next=self._queue.next_sequence,
                lost=self._queue.lost,
            )
            reports = self._queue.unstored()
            old = [each for each in self._open_runs() if each.sequence < state.first]
            needed = len(old) + len(self._queue)
            write = append
            if self._records > 2 * needed + _OLD_RECORDS:
                write, reports = rewrite, sorted([*old, *self._queue.waiting], key=_sequence_of)
                self._records = 0
            before, self._records = self._records, math.inf
            try:
                await self._writes.run(partial(write, path, reports, state), abandon_on_cancel=True)
            except OSError as exc:
                # It is tried again, and logged once.
                if not self._is_failing:
                    log.error("the reports %s cannot be written: %s", path, exc)  # noqa: TRY400
                self._is_failing = True
                return False
            self._is_failing = False
            self._records = before + len(reports) + 1
            self._set_stored(state.next - 1)
            return True

    def _set_stored(self, sequence: int) -> None:
        self._queue.stored = self.stored.value = sequence


async def read_journal(path: Path, microgrid_id: int, dispatcher: str) -> SavedReports:
    """Read the file of a journal.

    Raises:
      DispatchError: it cannot be read.
    """
    try:
        return await clock.run_in_thread(load, path, microgrid_id, dispatcher)
    except OSError as exc:
        raise DispatchError(
            f"microgrid {microgrid_id}: the reports {path} cannot be used: {exc.strerror or exc}"
        ) from exc


def _sequence_of(report: RunReport) -> int:
    return report.sequence
