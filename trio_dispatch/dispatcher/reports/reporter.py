"""Reports runs to the service: from what happens in a dispatcher to the delivery."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import trio
from trio_util import AsyncValue

from ... import clock
from ...model.dispatch import Dispatch
from ...model.runs import RunReport
from ..lateness import Lateness
from ..notices import Notice
from ..state import SyncPhase, SyncState
from .delivery import Delivery, RunsClient
from .journal import Journal, read_journal
from .journal_file import JournalState, SavedReports
from .open_runs import OpenRuns
from .queue import ReportQueue

__all__ = ["Reporter", "open_reporter"]

log = logging.getLogger("trio_dispatch.dispatcher.reports")

_EVENTS_AT_ONCE = 100
_LAST_WRITE_TIMEOUT = 5.0
_LAST_DELIVERY_TIMEOUT = 2.0


class Reporter:
    """Reports what a dispatcher and its actors do.

    What happens is only noted when it happens, so that it delays no status message and no actor.
    The task `run` makes reports of it, stores them and delivers them.

    Args:
      client: Delivers the reports.
      path: The file that keeps them until then; None to keep them in memory.
      saved: What the file had.
      lateness: How late the dispatcher is.
      interval: How often the service is told the status of the dispatcher.
    """

    def __init__(
        self,
        client: RunsClient,
        path: Path | None,
        saved: SavedReports,
        *,
        lateness: Lateness,
        interval: timedelta,
    ) -> None:
        state = saved.state
        self._inbox: deque[tuple[Notice, datetime] | RunReport] = deque()
        self._arrived = trio.Event()
        self._queue = ReportQueue(state.next, saved.waiting, lost=state.lost)
        self._runs = OpenRuns(self._take, saved.open_runs)
        self._journal = Journal(path, self._queue, state, lambda: self._runs.table)
        self._delivery = Delivery(
            client,
            state.microgrid_id,
            state.dispatcher,
            version("trio-dispatch"),
            self._queue,
            self._journal,
            lateness=lateness,
            interval=interval,
        )

    @property
    def waiting(self) -> int:
        """How many reports are not delivered yet."""
        return len(self._queue)

    @property
    def delivered(self) -> int:
        """How many reports this process has delivered."""
        return self._delivery.delivered

    @property
    def lost(self) -> int:
        """How many reports were lost, because too many were waiting or the service refused them."""
        return self._queue.lost

    @property
    def last_delivery(self) -> datetime | None:
        """When reports were last delivered, in UTC."""
        return self._delivery.last

    def announce(self, notice: Notice, now: datetime) -> None:
        """Report what the scheduler announces."""
        self._inbox.append((notice, now))
        self._arrived.set()

    def put(self, report: RunReport) -> None:
        """Report what an actor does; its sequence number does not matter."""
        self._inbox.append(report)
        self._arrived.set()

    async def settle(
        self,
        state: AsyncValue[SyncState],
        dispatches: Mapping[int, Dispatch],
        wait_idle: Callable[[], Awaitable[None]],
    ) -> None:
        """End the runs that an earlier process left and that do not go on.

        Returns when it is known which ones do.

        Args:
          state: The state of the connection to the service.
          dispatches: The known dispatches; live.
          wait_idle: Waits until everything that is due now was announced.
        """
        await wait_idle()
        await self._take_in()
        self._runs.settle(clock.now(), dispatches)
        await state.wait_value(lambda each: each.phase is SyncPhase.LIVE)
        await wait_idle()
        await self._take_in()
        self._runs.settle(clock.now())

    async def run(self, state: AsyncValue[SyncState]) -> None:
        """Store and deliver reports until cancelled; then end all runs, and deliver that, too.

        Args:
          state: The state of the connection to the service.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_taking_in)
                nursery.start_soon(self._journal.run)
                nursery.start_soon(self._delivery.run, state)
        finally:
            with trio.CancelScope(shield=True):
                await self._take_in()
            self._runs.close(clock.now())
            # A disk or a service that hangs does not delay the end for long.
            with trio.move_on_after(_LAST_WRITE_TIMEOUT, shield=True):
                await self._journal.write()
            with trio.move_on_after(_LAST_DELIVERY_TIMEOUT, shield=True):
                await self._delivery.flush(state)
            with trio.move_on_after(_LAST_WRITE_TIMEOUT, shield=True):
                await self._journal.write()

    async def _keep_taking_in(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            await self._take_in()

    async def _take_in(self) -> None:
        """Make reports of what has happened."""
        while self._inbox:
            for _ in range(min(_EVENTS_AT_ONCE, len(self._inbox))):
                event = self._inbox.popleft()
                if isinstance(event, RunReport):
                    self._runs.add(event)
                else:
                    self._runs.announce(*event)
            await trio.lowlevel.checkpoint()

    def _take(self, report: RunReport) -> RunReport:
        return self._journal.take(report)


async def open_reporter(
    client: RunsClient,
    microgrid_id: int,
    dispatcher: str,
    cache: Path | None,
    *,
    lateness: Lateness,
    interval: timedelta,
) -> Reporter:
    """Return a reporter that keeps its reports beside a cache, or in memory without one.

    See `Reporter` for the arguments.

    Raises:
      DispatchError: the file cannot be read.
    """
    if cache is None:
        log.info(
            "microgrid %d, dispatcher %r: without a cache, reports that are not delivered are lost "
            "when the process ends",
            microgrid_id,
            dispatcher,
        )
        path, saved = None, SavedReports(JournalState(microgrid_id, dispatcher))
    else:
        path = cache.with_name(f"{cache.name}.reports")
        saved = await read_journal(path, microgrid_id, dispatcher)
    return Reporter(client, path, saved, lateness=lateness, interval=interval)
