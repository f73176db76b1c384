"""What dispatchers report about the runs of dispatches, and the log of changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from .dispatch import Dispatch
from .payload import JSON

__all__ = [
    "ChangeKind",
    "DispatchChange",
    "DispatcherInfo",
    "ReportKind",
    "ReportedRun",
    "ReportedState",
    "RunReport",
    "StopReason",
    "apply_report",
]


class ReportKind(Enum):
    """What happened to a run.  The values are those of the API."""

    STARTED = 1
    """The run was announced, or an actor was called for it; a further attempt is another start."""

    CHANGED = 2
    """The dispatch was changed while it ran."""

    COMPLETED = 3
    """The run reached its end, or the actor returned."""

    STOPPED = 4
    """The run was stopped before its end; the report has the reason."""

    FAILED = 5
    """The actor raised an exception; it is called again while the run lasts."""

    MISSED = 6
    """The run was over before it could be announced."""

    REJECTED = 7
    """The actor does not accept the dispatch, for example because its payload is invalid."""

    SKIPPED = 8
    """The dispatch is a dry run, and the actor does not take dry runs."""

    NOTED = 9
    """The actor added details."""


class StopReason(Enum):
    """Why a run was stopped before its end.  The values are those of the API."""

    DELETED = 1
    """The dispatch was deleted."""

    DEACTIVATED = 2
    """The dispatch was deactivated."""

    CHANGED = 3
    """The dispatch was changed so that it does not run now."""

    SUPERSEDED = 4
    """Another dispatch drives the component."""

    OFFLINE = 5
    """The dispatcher had no contact with the service for too long."""

    SHUTDOWN = 6
    """The dispatcher was shut down."""

    CRASHED = 7
    """The process ended without stopping the run, which was stopped after the restart."""


class ReportedState(Enum):
    """The state of a run, from its last report.  The values are those of the API."""

    RUNNING = 1
    COMPLETED = 2
    STOPPED = 3

    FAILED = 4
    """The actor failed and has not been called again."""

    MISSED = 5
    REJECTED = 6
    SKIPPED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A report about one run.  All times are in UTC.

    Attributes:
      sequence: The number of the report: higher than that of the reporter's report before.
      dispatch_id: The dispatch.
      start_time: The occurrence: when the run was due to start.
      actor: The name of the actor; empty if the report is about the dispatcher's announcement.
      component: The component that the actor is for; None if it is for the whole target.
      kind: What happened.
      reason: Why the run was stopped; None unless `kind` is `ReportKind.STOPPED`.
      time: When it happened, by the clock of the dispatcher.
      update_time: The update time of the dispatch that was acted upon.
      type: The type of the dispatch.
      dry_run: Whether the dispatch is a dry run.
      until: When the run is due to end; None if it has no end.
      attempt: How often the actor was called for the run so far; 0 for an announcement.
      error: What went wrong, or why the dispatch was rejected; else empty.
      details: What the actor adds.
    """

    sequence: int
    dispatch_id: int
    start_time: datetime
    kind: ReportKind
    time: datetime
    update_time: datetime
    type: str
    actor: str = ""
    component: int | None = None
    reason: StopReason | None = None
    dry_run: bool = False
    until: datetime | None = None
    attempt: int = 0
    error: str = ""
    details: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRun:
    """A run as one dispatcher reported it: its announcement, or what one actor did.

    The announcement has no actor.  All times are in UTC.

    Attributes:
      dispatcher: The name of the dispatcher.
      dispatch_id: The dispatch.
      start_time: The occurrence: when the run was due to start.
      actor: The name of the actor; empty for the announcement.
      component: The component that the actor is for; None if it is for the whole target.
      type: The type of the dispatch.
      dry_run: Whether the dispatch is a dry run.
      state: The state after the last report.
      reason: Why the run was stopped; None unless it was.
      until: When the run is due to end; None if it has no end.
      started_time: When it first started; None if it never did.
      ended_time: When it ended; None while it runs, and if it never started.
      update_time: The update time of the dispatch that was acted upon last.
      attempts: How often the actor was called.
      error: The last error; it stays when a later attempt succeeds.
      details: What the actor added; of equal names the last counts.
      report_time: The time of the last report.
    """

    dispatcher: str
    dispatch_id: int
    start_time: datetime
    actor: str
    component: int | None
    type: str
    dry_run: bool
    state: ReportedState
    reason: StopReason | None
    until: datetime | None
    started_time: datetime | None
    ended_time: datetime | None
    update_time: datetime
    attempts: int
    error: str
    details: Mapping[str, JSON]
    report_time: datetime


_STATES: dict[ReportKind, ReportedState] = {
    ReportKind.STARTED: ReportedState.RUNNING,
    ReportKind.COMPLETED: ReportedState.COMPLETED,
    ReportKind.STOPPED: ReportedState.STOPPED,
    ReportKind.FAILED: ReportedState.FAILED,
    ReportKind.MISSED: ReportedState.MISSED,
    ReportKind.REJECTED: ReportedState.REJECTED,
    ReportKind.SKIPPED: ReportedState.SKIPPED,
}
"""The state after a report; reports of other kinds leave it as it is."""

_ENDS = {ReportKind.COMPLETED, ReportKind.STOPPED, ReportKind.FAILED}


def apply_report(run: ReportedRun | None, report: RunReport, *, dispatcher: str) -> ReportedRun:
    """Return a run after a further report about it.

    Args:
      run: The run after the reports so far; None if this is the first one.
      report: The report.
      dispatcher: The name of the dispatcher.
    """
    if run is None:
        run = ReportedRun(
            dispatcher=dispatcher,
            dispatch_id=report.dispatch_id,
            start_time=report.start_time,
            actor=report.actor,
            component=report.component,
            type=report.type,
            dry_run=report.dry_run,
            # An earlier report was lost if this one does not say more.
            state=ReportedState.RUNNING,
            reason=None,
            until=report.until,
            started_time=None,
            ended_time=None,
            update_time=report.update_time,
            attempts=0,
            error="",
            details={},
            report_time=report.time,
        )
    kind = report.kind
    is_change = kind in _STATES
    started, ended = run.started_time, run.ended_time
    if kind is ReportKind.STARTED:
        started, ended = started or report.time, None
    elif kind in _ENDS:
        ended = report.time
    return replace(
        run,
        type=report.type,
        dry_run=report.dry_run,
        state=_STATES.get(kind, run.state),
        reason=report.reason if is_change else run.reason,
        until=report.until,
        started_time=started,
        ended_time=ended,
        update_time=report.update_time,
        attempts=max(run.attempts, report.attempt),
        error=report.error or run.error,
        details={**run.details, **report.details},
        report_time=report.time,
    )


@dataclass(frozen=True, slots=True)
class DispatcherInfo:
    """A dispatcher that has reported runs.

    Attributes:
      name: Its name.
      version: The version of its software.
      first_report_time, last_report_time: When it reported first and last, by the clock of the
        service, in UTC.
      lost: How many of its reports were lost because too many were waiting.
    """

    name: str
    version: str
    first_report_time: datetime
    last_report_time: datetime
    lost: int


class ChangeKind(Enum):
    """What a change did to a dispatch."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class DispatchChange:
    """An entry of the log of changes.

    Attributes:
      sequence: The number of the change; a later change of the same service has a higher one.
      time: When the service made it, in UTC.
      kind: What it did.
      dispatch_id: The dispatch.
      key_name: The name of the API key; empty if the service needs no keys.
      peer: The address from which the request came; empty if it is not known.
      old: The content before; None if the dispatch was created.
      new: The content after; None if it was deleted.
    """

    sequence: int
    time: datetime
    kind: ChangeKind
    dispatch_id: int
    key_name: str
    peer: str
    old: Dispatch | None
    new: Dispatch | None
