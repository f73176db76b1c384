"""What an actor does, as reports: each run that it acts on starts, and ends once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Protocol

from ..model.dispatch import Dispatch
from ..model.endings import ending_of
from ..model.payload import EMPTY, JSON, Payload
from ..model.runs import MAX_ERROR_BYTES, ReportKind, RunReport, StopReason
from ..model.validation import MAX_NAME_LENGTH

__all__ = ["COMPLETED", "SHUTDOWN", "ActorReports", "Ending", "PutReport", "ignore", "report_of"]

PutReport = Callable[[RunReport], None]
"""Takes a report; its sequence number does not matter."""

Ending = tuple[ReportKind, StopReason | None]
"""How a run ends, see `trio_dispatch.model.endings`."""

COMPLETED: Final[Ending] = ReportKind.COMPLETED, None
SHUTDOWN: Final[Ending] = ReportKind.STOPPED, StopReason.SHUTDOWN
SUPERSEDED: Final[Ending] = ReportKind.STOPPED, StopReason.SUPERSEDED


def ignore(_: RunReport) -> None:
    """Take a report, and do nothing about it."""


class Acted(Protocol):
    """What an actor acts on."""

    @property
    def dispatch(self) -> Dispatch: ...

    @property
    def start(self) -> datetime: ...

    @property
    def until(self) -> datetime | None: ...

    @property
    def component(self) -> int | None: ...


class ActorReports:
    """Reports the runs that an actor acts on, one after the other.

    Pure: the time is an argument.  An actor that is called acts on the run that it is shown, until
    it is shown another one, fails or has finished.  What it is shown between its calls starts with
    the next call.

    Args:
      put: Takes the reports.
      actor: The actor's name.
    """

    def __init__(self, put: PutReport, actor: str) -> None:
        self._put = put
        self._actor = actor
        self._acts_on: Acted | None = None
        self._ending: Ending | None = None
        # By dispatch, the last run that may go on, and how often the actor was called for it.
        self._calls: dict[int, tuple[datetime, int]] = {}

    def called(self, shown: Acted, now: datetime) -> None:
        """The actor is called."""
        if self._acts_on is None:
            self._calls[shown.dispatch.id] = shown.start, self._calls_for(shown) + 1
            self._start(shown, now)

    def shown(self, shown: Acted, now: datetime) -> None:
        """The actor is shown a run, perhaps the same one as before."""
        before, ending, self._ending = self._acts_on, self._ending, None
        if before is None:
            return
        if _key_of(before) != _key_of(shown):
            if ending is None and before.dispatch.id == shown.dispatch.id:
                ending = ending_of(before.start, before.until, shown.dispatch, now)
            self._end(before, ending or SUPERSEDED, now)
            self._calls[shown.dispatch.id] = shown.start, self._calls_for(shown) or 1
            self._start(shown, now)
        elif before != shown:
            self._acts_on = shown
            self._report(ReportKind.CHANGED, shown, now)

    def ends(self, ending: Ending) -> None:
        """The run ends as soon as the actor is shown another one, or has finished.

        The first reason counts.
        """
        self._ending = self._ending or ending

    def left(self, dispatch_id: int) -> None:
        """A dispatch does not run any more."""
        if self._acts_on is None or self._acts_on.dispatch.id != dispatch_id:
            self._calls.pop(dispatch_id, None)

    def failed(self, error: BaseException, now: datetime) -> None:
        """The actor has raised an exception, which ends the run until it is called again."""
        run, self._acts_on = self._acts_on, None
        if run is not None:
            self._report(ReportKind.FAILED, run, now, error=f"{type(error).__name__}: {error}")

    def finished(self, now: datetime) -> None:
        """The actor has finished."""
        run, self._acts_on = self._acts_on, None
        if run is None:
            return
        ending = self._ending or SHUTDOWN
        if ending == SHUTDOWN and run.until is not None and run.start < run.until <= now:
            ending = COMPLETED
        self._end(run, ending, now)

    def dropped(self, shown: Acted, now: datetime, why: str) -> None:
        """The actor is not called, since another run drives its component."""
        kind, reason = SUPERSEDED
        self._report(kind, shown, now, reason=reason, error=why)

    def note(self, details: Mapping[str, object], now: datetime) -> None:
        """The actor adds details about the run; ignored if it has finished.

        Raises:
          ValueError: the details are not JSON, or are too long.
        """
        noted = Payload(details, "details")
        if self._acts_on is not None:
            self._report(ReportKind.NOTED, self._acts_on, now, details=noted)

    def _start(self, run: Acted, now: datetime) -> None:
        self._acts_on = run
        self._report(ReportKind.STARTED, run, now)

    def _end(self, run: Acted, ending: Ending, now: datetime) -> None:
        kind, reason = ending
        self._report(kind, run, now, reason=reason)
        if ending != SUPERSEDED:
            self._calls.pop(run.dispatch.id, None)

    def _calls_for(self, run: Acted) -> int:
        start, calls = self._calls.get(run.dispatch.id, (run.start, 0))
        return calls if start == run.start else 0

    def _report(
        self,
        kind: ReportKind,
        run: Acted,
        now: datetime,
        *,
        reason: StopReason | None = None,
        error: str = "",
        details: Mapping[str, JSON] = EMPTY,
    ) -> None:
        # Half the cost of an update would be a report that is ignored.  Details are checked anyway.
        if self._put is ignore and not details:
            return
        self._put(
            report_of(
                kind,
                run.dispatch,
                run.start,
                now,
                actor=self._actor,
                component=run.component,
                until=run.until,
                attempt=self._calls_for(run),
                reason=reason,
                error=error,
                details=details,
            )
        )


def report_of(
    kind: ReportKind,
    dispatch: Dispatch,
    start: datetime,
    now: datetime,
    *,
    actor: str,
    until: datetime | None,
    component: int | None = None,
    attempt: int = 0,
    reason: StopReason | None = None,
    error: str = "",
    details: Mapping[str, JSON] = EMPTY,
) -> RunReport:
    """Return a report about what an actor does; a long name or error is cut."""
    return RunReport(
        sequence=1,
        dispatch_id=dispatch.id,
        start_time=start,
        kind=kind,
        time=now,
        update_time=dispatch.update_time,
        type=dispatch.type,
        actor=_text(actor)[:MAX_NAME_LENGTH],
        component=component,
        reason=reason,
        dry_run=dispatch.dry_run,
        until=until,
        attempt=attempt,
        error=_text(error),
        details=details,
    )


def _key_of(run: Acted) -> tuple[int, datetime]:
    return run.dispatch.id, run.start


def _text(text: str) -> str:
    """Return a text as Unicode that is not too long, whatever an exception says."""
    return text.encode(errors="replace")[:MAX_ERROR_BYTES].decode(errors="ignore")
