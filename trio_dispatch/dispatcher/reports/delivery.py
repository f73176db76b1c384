"""Delivers the reports to the service: in order, each at least once; and tells it the status."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import uuid4

import trio
from trio_util import AsyncValue

from ... import clock
from ...client.errors import ServiceError
from ...concurrency.backoff import Backoff
from ...model.dispatchers import ConnectionState, DispatcherStatus
from ...model.runs import RunReport
from ..lateness import Lateness
from ..state import SyncState
from .journal import Journal
from .queue import ReportQueue

__all__ = ["Delivery", "RunsClient"]

log = logging.getLogger("trio_dispatch.dispatcher.reports")

# So that no batch blocks other tasks for more than a few milliseconds.
_REPORTS_AT_ONCE = 100
_BYTES_AT_ONCE = 256 * 1024
# The pause, in seconds, before a service that does not take reports is asked again.  It ends early
# when contact was lost and regained.
_REFUSED_DELAY = 3600.0


class RunsClient(Protocol):
    """A client that reports runs."""

    async def report_runs(
        self,
        microgrid_id: int,
        reports: Sequence[RunReport],
        *,
        dispatcher: str,
        reporter: str,
        lost: int = 0,
        version: str = "",
        status: DispatcherStatus | None = None,
    ) -> int:
        """See `DispatchClient.report_runs`."""


class Delivery:
    """Delivers reports while there is contact with the service.

    The status of the dispatcher goes with them.  When there was nothing to deliver for `interval`,
    it is told alone, also if the dispatcher has no contact: the part of the service that takes it
    may work although another one does not.

    A report that the service refuses although it accepts others is skipped, and counts as lost.

    Attributes:
      delivered: How many reports were delivered.
      last: When reports were last delivered, in UTC.
    """

    def __init__(
        self,
        client: RunsClient,
        microgrid_id: int,
        dispatcher: str,
        version: str,
        queue: ReportQueue,
        journal: Journal,
        *,
        lateness: Lateness,
        interval: timedelta,
    ) -> None:
        self._client = client
        self._microgrid_id = microgrid_id
        self._dispatcher = dispatcher
        self._version = version
        self._queue = queue
        self._journal = journal
        self._lateness = lateness
        self._interval = interval
        self._limit = _REPORTS_AT_ONCE
        self._logged = ""
        self._is_refused = False
        self.delivered = 0
        self.last: datetime | None = None

    async def run(self, state: AsyncValue[SyncState]) -> None:
        """Deliver what is stored, until cancelled.

        Args:
          state: The state of the connection to the service.
        """
        backoff = Backoff()
        is_first = True
        while True:
            with trio.move_on_after(self._interval.total_seconds() * random.uniform(0.9, 1)):  # noqa: S311
                if not is_first:
                    await self._journal.stored.wait_value(lambda last: last >= self._queue.first)
                await state.wait_value(_has_contact)
            is_first = False
            try:
                if _has_contact(state.value):
                    await self._deliver_batch(ConnectionState[state.value.phase.name])
                else:
                    await self._report([], ConnectionState[state.value.phase.name])
                backoff = Backoff()
                self._logged = ""
                self._is_refused = False
            except ServiceError as exc:
                await self._pause(exc, backoff, state)

    async def flush(self, state: AsyncValue[SyncState]) -> None:
        """Deliver what is stored, and tell that the dispatcher is closed.

        It gives up if the service cannot be reached or takes no reports.
        """
        is_last = False
        try:
            while _has_contact(state.value) and not self._is_refused and not is_last:
                is_last = self._queue.stored < self._queue.first
                await self._deliver_batch(ConnectionState.CLOSED)
        except ServiceError as exc:
            if self._queue:
                self._log_once(logging.INFO, f"{len(self._queue)} reports are not delivered: {exc}")

    @property
    def _about(self) -> str:
        return f"microgrid {self._microgrid_id}, dispatcher {self._dispatcher!r}"

    async def _deliver_batch(self, connection: ConnectionState) -> None:
        """Deliver the first reports, if there are any, and the status.

        Raises:
          ServiceError: they could not be delivered, and are to be delivered again after a pause.
        """
        batch = self._queue.batch(self._limit, _BYTES_AT_ONCE)
        try:
            last = await self._report(batch, connection)
        except ServiceError as exc:
            if len(batch) > 1 and exc.status.name in _PERHAPS_FEWER:
                self._limit = len(batch) // 2
            if exc.status.name != "INVALID_ARGUMENT":
                raise
            if len(batch) == 1:
                # Without reports, the service refuses the request only if it would refuse any.
                await self._report([], connection)
                self._skip(batch[0], exc)
            return
        if not batch:
            return
        if last >= self._queue.next_sequence:
            log.warning(
                "%s: the service has later reports of this dispatcher; was an old copy of the "
                "file restored?  Its reports are delivered under another identity",
                self._about,
            )
            await self._journal.change_reporter(uuid4().hex)
            return
        self._limit = min(2 * self._limit, _REPORTS_AT_ONCE)
        self.delivered += self._queue.acknowledge(max(last, batch[-1].sequence))
        self.last = clock.now()

    async def _report(self, reports: Sequence[RunReport], connection: ConnectionState) -> int:
        return await self._client.report_runs(
            self._microgrid_id,
            reports,
            dispatcher=self._dispatcher,
            reporter=self._journal.reporter,
            lost=self._queue.lost,
            version=self._version,
            status=DispatcherStatus(
                connection=connection,
                interval=self._interval,
                lateness=self._lateness.last,
                worst_lateness=self._lateness.worst,
                waiting=len(self._queue) - len(reports),
            ),
        )

    def _skip(self, report: RunReport, exc: ServiceError) -> None:
        log.error("%s: the service refuses %s: %s", self._about, report, exc)
        self._queue.acknowledge(report.sequence)
        self._queue.lost += 1

    async def _pause(
        self, exc: ServiceError, backoff: Backoff, state: AsyncValue[SyncState]
    ) -> None:
        """Wait until the next attempt."""
        self._is_refused = exc.permanent
        if exc.permanent:
            if exc.status.name == "UNIMPLEMENTED":
                self._log_once(
                    logging.INFO, "the service does not take reports of runs; they are kept here"
                )
            else:
                self._log_once(logging.WARNING, f"the service refuses reports: {exc}")
            with trio.move_on_after(_REFUSED_DELAY):
                await state.wait_value(lambda each: not _has_contact(each))
        else:
            # The loss of contact itself is logged elsewhere.
            if self._queue:
                self._log_once(logging.INFO, f"reports are delivered later: {exc}")
            await trio.sleep(backoff.delay())

    def _log_once(self, level: int, text: str) -> None:
        if text != self._logged:
            self._logged = text
            log.log(level, "%s: %s", self._about, text)


# Statuses of a request that a smaller one may not have.
_PERHAPS_FEWER = {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}


def _has_contact(state: SyncState) -> bool:
    return state.offline_since is None
