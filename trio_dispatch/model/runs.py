"""What dispatchers report about the runs of dispatches, and the log of changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Final, TypeAlias

from .dispatch import Dispatch
from .payload import EMPTY, JSON, Payload
from .undecodable import Undecodable
from .validation import check_id, check_name, check_text, shown, utc

__all__ = [
    "MAX_DETAILS_BYTES",
    "MAX_ERROR_BYTES",
    "ChangeKind",
    "DispatchChange",
    "ReportKind",
    "ReportedRun",
    "ReportedState",
    "RunKey",
    "RunReport",
    "StopReason",
    "apply_report",
    "details_size",
]

MAX_ERROR_BYTES: Final = 4 * 1024
"""The error of a report has at most this many bytes in UTF-8."""

MAX_DETAILS_BYTES: Final = 16 * 1024
"""The details of a report, and of a run, have at most this many bytes, see `details_size`."""

RunKey: TypeAlias = "tuple[int, datetime, str, int | None]"
"""What identifies a run of a dispatcher: the dispatch, the occurrence, the actor, the component."""


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
    """The run was over before it could be announced.  Ignored for a run that has started."""

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
      details: What the actor adds; any mapping of JSON values, which is copied.

    Raises:
      ValueError: an argument is invalid or too long; the message names it.
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
    details: Mapping[str, JSON] = field(default=EMPTY)

    def __post_init__(self) -> None:
        if not 0 < self.sequence < 1 << 63:
            raise ValueError(f"sequence {shown(self.sequence)} is not from 1 to 2**63 - 1")
        check_id("dispatch_id", self.dispatch_id)
        if self.component is not None:
            check_id("component", self.component)
        for name in ("start_time", "time", "update_time"):
            object.__setattr__(self, name, utc(getattr(self, name), name))
        if self.until is not None:
            object.__setattr__(self, "until", utc(self.until, "until"))
        check_name("actor", self.actor, required=False)
        check_text("type", self.type)
        if not 0 <= self.attempt < 1 << 32:
            raise ValueError(f"attempt {shown(self.attempt)} is not from 0 to 2**32 - 1")
        if self.reason is not None and self.kind is not ReportKind.STOPPED:
            raise ValueError(f"reason {self.reason} does not fit the kind {self.kind.name}")
        size = len(check_text("error", self.error).encode())
        if size > MAX_ERROR_BYTES:
            raise ValueError(f"error must have at most {MAX_ERROR_BYTES} bytes, not {size}")
        object.__setattr__(self, "details", Payload(self.details, "details"))
        size = details_size(self.details)
        if size > MAX_DETAILS_BYTES:
            raise ValueError(f"details must have at most {MAX_DETAILS_BYTES} bytes, not {size}")

    @property
    def key(self) -> RunKey:
        """What identifies the run that it is about."""
        return self.dispatch_id, self.start_time, self.actor, self.component


def details_size(value: JSON) -> int:
    """Return about how many bytes a JSON value takes in the API."""
    match value:
        case str():
            return len(value.encode()) + 4
        case Mapping():
            return 4 + sum(details_size(key) + details_size(item) for key, item in value.items())
        case list() | tuple():
            return 4 + sum(map(details_size, value))
    return 10


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
      details: What the actor added; of equal names the last counts.  If they would exceed
        `MAX_DETAILS_BYTES`, the oldest are dropped.
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

    A run that has started stays as it is when it is reported as missed: a dispatcher that was
    killed has its last reports, but not always the last state of its cache.

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
            details=EMPTY,
            report_time=report.time,
        )
    kind = report.kind
    if kind is ReportKind.MISSED and run.started_time is not None:
        return run
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
        details=_merged(run.details, report.details),
        report_time=report.time,
    )


def _merged(details: Mapping[str, JSON], more: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """Return details after a further report; if they become too large, without the oldest."""
    if not more:
        return details
    merged = {name: value for name, value in details.items() if name not in more}
    merged.update(more)
    size = details_size(merged)
    for name in [*merged]:
        if size <= MAX_DETAILS_BYTES:
            break
        size -= details_size(name) + details_size(merged.pop(name))
    return Payload.unchecked(merged)


class ChangeKind(Enum):
    """What a change did to a dispatch."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class DispatchChange:
    """An entry of the log of changes.

    Attributes:
      sequence: The number of the change; a later change of the same microgrid has a higher one.
      time: When the service made it, in UTC.
      dispatch_id: The dispatch.
      key_name: The name of the API key; empty if the service needs no keys.
      peer: The address from which the request came; empty if it is not known.
      old: The content before; None if the dispatch was created.
      new: The content after; None if it was deleted.  An `Undecodable` if the content could not be
        decoded.
    """

    sequence: int
    time: datetime
    dispatch_id: int
    key_name: str
    peer: str
    old: Dispatch | Undecodable | None
    new: Dispatch | Undecodable | None

    @property
    def kind(self) -> ChangeKind:
        """What it did to the dispatch."""
        if self.old is None:
            return ChangeKind.CREATED
        return ChangeKind.DELETED if self.new is None else ChangeKind.UPDATED
