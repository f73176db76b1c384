"""Why a dispatch runs or does not run: from its content, its runs and the log of its changes.

Pure: what is known is passed in, and the reasons are values, for a program to show as it likes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from .dispatch import Dispatch
from .dispatchers import DispatcherInfo
from .runs import (
    ChangeKind,
    DispatchChange,
    ReportedRun,
    ReportedState,
    StopReason,
)

__all__ = ["Reason", "ReasonKind", "acted", "explain", "explain_absence", "superseding"]


class ReasonKind(Enum):
    """What a `Reason` says."""

    # It does not exist in the microgrid.
    UNKNOWN = "unknown"
    WRONG_MICROGRID = "wrong microgrid"
    """It belongs to the microgrid `microgrid_id`."""
    DELETED = "deleted"
    """`change` is the deletion."""

    # Its content.
    INACTIVE = "inactive"
    """`change` is the one that deactivated it, if that is known."""
    INVALID_RULE = "invalid rule"
    """`text` says what is wrong with the recurrence rule."""
    NEVER_FIRES = "never fires"
    """The recurrence rule is valid but gives no occurrence."""
    NO_TARGET = "no target"
    DRY_RUN = "dry run"
    """`run` is one that an actor skipped for this reason, if any did."""
    OVER = "over"
    """The last occurrence was `at`."""
    RUNS = "runs"
    """By its content it runs now, since `at`; `until` is the end."""
    NEXT_RUN = "next run"
    """The next occurrence is `at`."""

    # What dispatchers reported; `run` is the report.
    NOT_RECORDED = "not recorded"
    """The service does not keep runs, so nobody knows."""
    NO_DISPATCHER = "no dispatcher"
    """No dispatcher has ever reported to the microgrid."""
    NOT_REPORTED = "not reported"
    """No dispatcher has reported the run of the occurrence `at`."""
    OUTDATED = "outdated"
    """The dispatcher acts upon an older content."""
    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    SUPERSEDED = "superseded"
    """The dispatch `dispatch_id` drives the component instead; None if it is not known which."""
    FAILING = "failing"
    """The actor raised `text`."""
    MISSED = "missed"
    REJECTED = "rejected"
    """`text` says why the actor does not accept it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason why a dispatch runs or does not run; `ReasonKind` says which attributes are set.

    Attributes:
      kind: What it says.
      run: The reported run that it is taken from.
      change: The change of the dispatch that caused it.
    """

    kind: ReasonKind
    at: datetime | None = None
    until: datetime | None = None
    text: str = ""
    microgrid_id: int | None = None
    dispatch_id: int | None = None
    run: ReportedRun | None = None
    change: DispatchChange | None = None


def explain_absence(
    changes: Sequence[DispatchChange], *, microgrid_id: int | None = None
) -> Reason:
    """Return why a microgrid does not have a dispatch.

    Args:
      changes: The changes of the dispatch in the microgrid, the latest first.
      microgrid_id: The microgrid that has the dispatch, if one is known.
    """
    if microgrid_id is not None:
        return Reason(kind=ReasonKind.WRONG_MICROGRID, microgrid_id=microgrid_id)
    for change in changes:
        if change.kind is ChangeKind.DELETED:
            return Reason(kind=ReasonKind.DELETED, at=change.time, change=change)
    return Reason(kind=ReasonKind.UNKNOWN)


def explain(
    dispatch: Dispatch,
    now: datetime,
    *,
    runs: Sequence[ReportedRun] = (),
    others: Sequence[ReportedRun] = (),
    changes: Sequence[DispatchChange] = (),
    dispatchers: Sequence[DispatcherInfo] | None = None,
) -> list[Reason]:
    """Return why a dispatch runs or does not run at a moment, first by its content.

    Args:
      now: The moment, in UTC.
      runs: The latest runs of the dispatch, the latest first.
      others: Runs of other dispatches on the same components.
      changes: The latest changes of the dispatch, the latest first.
      dispatchers: The dispatchers that have reported to the microgrid; None if the service does not
        keep runs.
    """
    reasons = [*_by_content(dispatch, now, changes)]
    if dispatchers is None:
        reasons.append(Reason(kind=ReasonKind.NOT_RECORDED))
    elif not dispatchers and not runs:
        reasons.append(Reason(kind=ReasonKind.NO_DISPATCHER))
    else:
        reasons += _by_reports(dispatch, now, runs, others)
    return reasons


def _by_content(
    dispatch: Dispatch, now: datetime, changes: Iterable[DispatchChange]
) -> Iterator[Reason]:
    if not dispatch.active:
        change = _deactivation(changes)
        at = None if change is None else change.time
        yield Reason(kind=ReasonKind.INACTIVE, change=change, at=at)
    if dispatch.target is None:
        yield Reason(kind=ReasonKind.NO_TARGET)
    if dispatch.dry_run:
        yield Reason(kind=ReasonKind.DRY_RUN)
    rule = dispatch.recurrence
    if rule is not None and rule.problem is not None:
        yield Reason(kind=ReasonKind.INVALID_RULE, text=rule.problem)
        return
    start = dispatch.run_at(now)
    if start is not None:
        yield Reason(kind=ReasonKind.RUNS, at=start, until=dispatch.end_of(start))
    following = dispatch.first_after(now)
    if following is not None:
        if dispatch.active:
            yield Reason(kind=ReasonKind.NEXT_RUN, at=following)
    elif start is None:
        last = dispatch.last_start(now)
        end = None if last is None else dispatch.end_of(last)
        if last is None:
            yield Reason(kind=ReasonKind.NEVER_FIRES)
        elif end is not None and end <= now:
            yield Reason(kind=ReasonKind.OVER, at=last)


def _deactivation(changes: Iterable[DispatchChange]) -> DispatchChange | None:
    for change in changes:
        old, new = change.old, change.new
        if isinstance(new, Dispatch) and not new.active:
            if not isinstance(old, Dispatch) or old.active:
                return change
        else:
            return None
    return None


def _by_reports(
    dispatch: Dispatch,
    now: datetime,
    runs: Sequence[ReportedRun],
    others: Sequence[ReportedRun],
) -> Iterator[Reason]:
    current = dispatch.run_at(now)
    # An occurrence before the last change may not have been one then.
    due = current or dispatch.last_start(now)
    if due is not None and current is None and (due < dispatch.update_time or not dispatch.active):
        due = None
    if due is not None and all(run.start_time != due for run in runs):
        yield Reason(kind=ReasonKind.NOT_REPORTED, at=due)
    latest = due if due is not None else max((run.start_time for run in runs), default=None)
    for run in acted([run for run in runs if run.start_time == latest]):
        runs_on = current is not None and run.state is ReportedState.RUNNING
        if runs_on and run.update_time < dispatch.update_time:
            yield Reason(kind=ReasonKind.OUTDATED, at=run.update_time, run=run)
        yield _by_report(run, others)


def acted(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """Return runs without the announcements of what an actor has reported as well."""
    by_actors = {(run.dispatcher, run.dispatch_id, run.start_time) for run in runs if run.actor}
    return [
        run
        for run in runs
        if run.actor or (run.dispatcher, run.dispatch_id, run.start_time) not in by_actors
    ]


_KINDS = {
    ReportedState.RUNNING: ReasonKind.RUNNING,
    ReportedState.COMPLETED: ReasonKind.COMPLETED,
    ReportedState.STOPPED: ReasonKind.STOPPED,
    ReportedState.FAILED: ReasonKind.FAILING,
    ReportedState.MISSED: ReasonKind.MISSED,
    ReportedState.REJECTED: ReasonKind.REJECTED,
    ReportedState.SKIPPED: ReasonKind.DRY_RUN,
}


def _by_report(run: ReportedRun, others: Sequence[ReportedRun]) -> Reason:
    if run.reason is StopReason.SUPERSEDED:
        other = superseding(run, others)
        return Reason(
            kind=ReasonKind.SUPERSEDED,
            at=run.ended_time,
            run=run,
            dispatch_id=None if other is None else other.dispatch_id,
            text=run.error,
        )
    failing = run.state is ReportedState.RUNNING and run.attempts > 1 and run.error
    kind = ReasonKind.FAILING if failing else _KINDS[run.state]
    return Reason(kind=kind, at=run.report_time, until=run.until, run=run, text=run.error)


def superseding(run: ReportedRun, others: Iterable[ReportedRun]) -> ReportedRun | None:
    """Return which of other runs took the component of a superseded run; None if none did."""
    if run.ended_time is None:
        return None
    found = [
        other
        for other in others
        if (other.dispatcher, other.actor, other.component)
        == (run.dispatcher, run.actor, run.component)
        and (other.dispatch_id, other.start_time) != (run.dispatch_id, run.start_time)
        and other.started_time is not None
        and other.started_time <= run.ended_time
        and (other.ended_time is None or other.ended_time > run.ended_time)
    ]
    return max(found, key=lambda other: other.started_time or other.start_time, default=None)
