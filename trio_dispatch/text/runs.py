"""Runs, changes and reasons for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Any

from ..model.dispatch import Dispatch
from ..model.dispatchers import DispatcherInfo
from ..model.explanation import Reason, ReasonKind
from ..model.formatting import format_duration, format_target
from ..model.runs import (
    DispatchChange,
    ReportedRun,
    ReportedState,
    StopReason,
)
from ..model.undecodable import Undecodable
from .records import format_json_time, payload_json, plain, record_of
from .safe import dump_json, printable
from .show import Cell, Paint, columns, describe_recurrence
from .times import format_moment, format_near

_HEADING = ("START", "DISPATCH", "DISPATCHER", "ACTOR", "STATE", "FROM", "TO", "NOTES")
_STYLES = {
    ReportedState.RUNNING: "bold green",
    ReportedState.COMPLETED: "",
    ReportedState.STOPPED: "",
    ReportedState.FAILED: "bold red",
    ReportedState.MISSED: "bold red",
    ReportedState.REJECTED: "red",
    ReportedState.SKIPPED: "yellow",
}


# Runs.


def format_runs(runs: Sequence[ReportedRun], now: datetime, zone: tzinfo, paint: Paint) -> str:
    """Return a table, a row for each run."""
    return "\n".join(columns(_HEADING, [_run_row(run, now, zone) for run in runs], paint))


def format_run(run: ReportedRun, now: datetime, zone: tzinfo, paint: Paint) -> str:
    """Return a run as one line."""
    start, dispatch, dispatcher, actor, state, begin, end, notes = _run_row(run, now, zone)
    times = f"{begin.text}-{end.text}" if begin.text or end.text else ""
    cells = (
        Cell(start.text, "dim"), dispatch, dispatcher, actor, Cell(f"{state.text:<8}", state.style),
        Cell(times), notes,
    )  # fmt: skip
    return "  ".join(paint(*cell) for cell in cells if cell.text).rstrip()


def _run_row(run: ReportedRun, now: datetime, zone: tzinfo) -> list[Cell]:
    dry_run = " (dry run)" if run.dry_run else ""
    return [
        Cell(format_near(run.start_time, now, zone)),
        Cell(f"#{run.dispatch_id} {printable(run.type)}{dry_run}", "cyan"),
        Cell(printable(run.dispatcher)),
        Cell(format_actor(run)),
        Cell(format_state(run), _STYLES[run.state]),
        Cell(_clock(run.started_time, run.start_time, zone)),
        Cell(_clock(run.ended_time, run.start_time, zone)),
        Cell(_notes(run)),
    ]


def format_actor(run: ReportedRun) -> str:
    """Return which actor reported a run, and for which component; empty for none."""
    component = "" if run.component is None else f" [{run.component}]"
    return f"{printable(run.actor)}{component}"


def format_state(run: ReportedRun) -> str:
    """Return the state of a run, and why it was stopped."""
    match run.state:
        case ReportedState.RUNNING:
            return "runs"
        case ReportedState.SKIPPED:
            return "skipped"
        case ReportedState.STOPPED if run.reason is not None:
            return format_stop(run.reason)
    return run.state.name.lower()


def format_stop(reason: StopReason) -> str:
    """Return why a run was stopped."""
    return f"stopped: {reason.name.lower()}"


def _clock(moment: datetime | None, start: datetime, zone: tzinfo) -> str:
    """Return a moment without its date if that is the date of the start."""
    if moment is None:
        return ""
    text = format_moment(moment.replace(microsecond=0), zone)
    return text[11:] if text[:10] == format_moment(start, zone)[:10] else text


def _notes(run: ReportedRun) -> str:
    notes = [f"attempt {run.attempts}"] if run.attempts > 1 else []
    notes += [printable(run.error)] if run.error else []
    notes += [details_json(run)] if run.details else []
    return "; ".join(notes)


def details_json(run: ReportedRun) -> str:
    """Return what an actor added to a run as a line of JSON."""
    return dump_json(plain(run.details))


def run_record(run: ReportedRun) -> dict[str, Any]:
    """Return a run as a JSON object."""
    return {
        "dispatch_id": run.dispatch_id,
        "type": run.type,
        "start_time": format_json_time(run.start_time),
        "dispatcher": run.dispatcher,
        "actor": run.actor or None,
        "component": run.component,
        "dry_run": run.dry_run,
        "state": run.state.name.lower(),
        "reason": None if run.reason is None else run.reason.name.lower(),
        "until": format_json_time(run.until),
        "started_time": format_json_time(run.started_time),
        "ended_time": format_json_time(run.ended_time),
        "update_time": format_json_time(run.update_time),
        "attempts": run.attempts,
        "error": run.error,
        "details": plain(run.details),
        "report_time": format_json_time(run.report_time),
    }


# Changes.


def format_change(change: DispatchChange, zone: tzinfo, paint: Paint) -> str:
    """Return a change: when, who, and what, a line for each field."""
    moment = format_moment(change.time.replace(microsecond=0), zone)
    author = f" by {printable(change.key_name)}" if change.key_name else ""
    author += f" ({printable(change.peer)})" if change.peer else ""
    style = {"created": "green", "updated": "cyan", "deleted": "red"}[change.kind.value]
    head = f"{paint(moment, 'dim')}  {paint(change.kind.value, style)}{author}"
    return "\n".join((head, *(f"    {line}" for line in _differences(change, zone, paint))))


def _differences(change: DispatchChange, zone: tzinfo, paint: Paint) -> Iterator[str]:
    old, new = change.old, change.new
    for content, which in ((old, "old"), (new, "new")):
        if isinstance(content, Undecodable):
            yield f"the {which} content cannot be decoded: {printable(content.reason)}"
            return
    if new is None:
        assert isinstance(old, Dispatch)
        yield f"{paint('type     ', 'dim')} {printable(old.type)}"
        return
    assert isinstance(new, Dispatch)
    for name, before, after in differences(old if isinstance(old, Dispatch) else None, new, zone):
        text = after if before is None else f"{before} -> {after}"
        yield f"{paint(f'{name:<9}', 'dim')} {text}"


def differences(
    old: Dispatch | None, new: Dispatch, zone: tzinfo
) -> Iterator[tuple[str, str | None, str]]:
    """Yield the fields that differ between two contents, with both values in words.

    Args:
      old: None for a dispatch that was created: all fields, without old values.
    """
    before = {} if old is None else _fields(old, zone)
    for name, text in _fields(new, zone).items():
        if old is None:
            yield name, None, text
        elif before[name] != text:
            yield name, before[name], text


def _fields(dispatch: Dispatch, zone: tzinfo) -> dict[str, str]:
    return {
        "type": printable(dispatch.type),
        "target": format_target(dispatch.target) or "none",
        "start": format_moment(dispatch.start_time, zone),
        "duration": format_duration(dispatch.duration),
        "recurs": describe_recurrence(dispatch, zone) or "no",
        "payload": payload_json(dispatch),
        "active": "yes" if dispatch.active else "no",
        "dry run": "yes" if dispatch.dry_run else "no",
    }


def change_record(change: DispatchChange) -> dict[str, Any]:
    """Return a change as a JSON object."""

    def content(dispatch: Dispatch | Undecodable | None) -> dict[str, Any] | None:
        if isinstance(dispatch, Undecodable):
            return {"undecodable": dispatch.reason}
        return None if dispatch is None else record_of(dispatch)

    return {
        "sequence": change.sequence,
        "time": format_json_time(change.time),
        "change": change.kind.value,
        "dispatch_id": change.dispatch_id,
        "key_name": change.key_name,
        "peer": change.peer,
        "old": content(change.old),
        "new": content(change.new),
    }


# Reasons.


def format_reason(
    reason: Reason, now: datetime, zone: tzinfo, dispatchers: Sequence[DispatcherInfo] = ()
) -> str:
    """Return a reason as a sentence."""

    def near(moment: datetime | None) -> str:
        if moment is None:
            return "an unknown time"
        return format_near(moment.replace(microsecond=0), now, zone)

    run, text, change = reason.run, printable(reason.text), reason.change
    by = ""
    if change is not None and change.key_name:
        by = f" by {printable(change.key_name)}"
    match reason.kind:
        case ReasonKind.UNKNOWN:
            return "it does not exist, and no change of it is recorded"
        case ReasonKind.WRONG_MICROGRID:
            return f"wrong microgrid: it belongs to microgrid {reason.microgrid_id}"
        case ReasonKind.DELETED:
            return f"deleted at {near(reason.at)}{by}"
        case ReasonKind.INACTIVE:
            return "inactive" if change is None else f"inactive since {near(reason.at)}{by}"
        case ReasonKind.INVALID_RULE:
            return f"its recurrence rule is invalid: {text}"
        case ReasonKind.NEVER_FIRES:
            return "its recurrence rule never fires"
        case ReasonKind.NO_TARGET:
            return "it has no target that this version knows"
        case ReasonKind.DRY_RUN if run is None:
            return "dry run: actors skip it unless they take dry runs"
        case ReasonKind.OVER:
            return f"over: the last run was at {near(reason.at)}"
        case ReasonKind.RUNS:
            until = "further notice" if reason.until is None else near(reason.until)
            return f"due to run now, from {near(reason.at)} until {until}"
        case ReasonKind.NEXT_RUN:
            return f"next run: {near(reason.at)}"
        case ReasonKind.NOT_RECORDED:
            return "the service does not record runs: whether it was carried out is not known"
        case ReasonKind.NO_DISPATCHER:
            return "no dispatcher has reported to this microgrid"
        case ReasonKind.NOT_REPORTED:
            known = ", ".join(
                f"{printable(each.name)} (last report {near(each.last_report_time)})"
                for each in dispatchers
            )
            others = f"; dispatchers of this microgrid: {known}" if known else ""
            return f"no dispatcher has reported the run of {near(reason.at)}{others}"
    assert run is not None
    who = printable(run.dispatcher)
    who += f", {format_actor(run)}" if run.actor or run.component is not None else ""
    which = f"{who}: the run of {near(run.start_time)}"
    why = f": {text}" if text else ""
    match reason.kind:
        case ReasonKind.DRY_RUN:
            return f"{which} was skipped, since it is a dry run"
        case ReasonKind.OUTDATED:
            return f"{who}: acts upon the content of {near(reason.at)}, which was updated since"
        case ReasonKind.RUNNING:
            return f"{which} is running"
        case ReasonKind.COMPLETED:
            return f"{which} was completed"
        case ReasonKind.STOPPED:
            stop = "" if run.reason is None else f": {run.reason.name.lower()}"
            return f"{which} was stopped at {near(run.ended_time)}{stop}"
        case ReasonKind.SUPERSEDED:
            other = "another dispatch" if reason.dispatch_id is None else f"#{reason.dispatch_id}"
            return f"{which} was superseded by {other} at {near(reason.at)}"
        case ReasonKind.FAILING:
            times = f", attempt {run.attempts}" if run.attempts > 1 else ""
            return f"{which} is failing{times}{why}"
        case ReasonKind.MISSED:
            return f"{which} was missed: it was over before it could be announced"
    return f"{which} was rejected{why}"


def reason_record(reason: Reason) -> dict[str, Any]:
    """Return a reason as a JSON object."""
    record: dict[str, Any] = {"reason": reason.kind.value}
    for name in ("text", "microgrid_id", "dispatch_id"):
        if value := getattr(reason, name):
            record[name] = value
    for name in ("at", "until"):
        if (moment := getattr(reason, name)) is not None:
            record[name] = format_json_time(moment)
    if reason.run is not None:
        record["run"] = run_record(reason.run)
    if reason.change is not None:
        record["change"] = change_record(reason.change)
    return record
