"""Dispatches for people: tables that fit the terminal, and all that there is of one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Any

from rich.console import Console
from rich.text import Text

from ..model.dispatch import Dispatch
from ._columns import columns, fitted_columns
from ._durations import format_duration
from ._records import record_of, state_of
from ._rules import describe_rule
from ._targets import format_target
from ._times import format_moment, format_near

__all__ = ["details", "dump", "headline", "json_line", "next_text", "state_text", "table_of"]


def dump(value: Any) -> str:
    """A line of JSON."""
    return json.dumps(value, ensure_ascii=False)


def json_line(dispatch: Dispatch, now: datetime) -> str:
    """What ``--json`` prints for a dispatch."""
    return dump(record_of(dispatch) | state_of(dispatch, now))


def state_text(dispatch: Dispatch, now: datetime, zone: tzinfo) -> Text:
    """What a dispatch does now: it runs until when, waits, is over, or is not to run at all."""
    if not dispatch.active:
        return Text("inactive", "dim")
    if dispatch.running_at(now):
        until = dispatch.until_at(now)
        end = "" if until is None else f" until {format_near(until, now, zone)}"
        return Text(f"runs{end}", "bold green")
    if dispatch.next_run_after(now) is None:
        never = dispatch.recurrence is not None and dispatch.recurrence.problem is not None
        return Text("never runs", "red") if never else Text("over", "dim")
    return Text("waits")


def next_text(dispatch: Dispatch, now: datetime, zone: tzinfo) -> str:
    """When a dispatch starts next."""
    run = _next_run(dispatch, now)
    return "" if run is None else format_near(run, now, zone)


def _next_run(dispatch: Dispatch, now: datetime) -> datetime | None:
    return dispatch.next_run_after(now) if dispatch.active else None


def headline(dispatch: Dispatch) -> str:
    """What a dispatch is, in a few words."""
    dry = " (dry run)" if dispatch.dry_run else ""
    return f"#{dispatch.id} {dispatch.type} on {format_target(dispatch.target) or 'nothing'}{dry}"


def table_of(dispatches: Iterable[Dispatch], now: datetime, zone: tzinfo, console: Console) -> Text:
    """A table, a row for each dispatch.

    Where there is no terminal each row is one line and says it all.  On one it fits: the narrower
    it is, the fewer columns there are, and long cells go over several lines.
    """
    if not console.is_terminal:
        return Text("\n").join(_whole_table(dispatches, now, zone))
    recurs = console.width >= _NARROW
    rows = []
    for dispatch in dispatches:
        length = format_duration(dispatch.duration)
        rule = describe_rule(dispatch, zone).replace(",", ", ")
        row = [
            Text(str(dispatch.id)),
            _type_text(dispatch),
            Text(format_target(dispatch.target).replace(",", ", ")),
            _when(dispatch, now, zone),
            Text(length if recurs or not rule else f"{length} *"),
        ]
        rows.append([*row, Text(rule)] if recurs else row)
    heading = ("ID", "TYPE", "TARGET", "WHEN", "FOR", "RECURS")[: len(rows[0])]
    lines = fitted_columns(heading, rows, console.width, {"TYPE", "TARGET", "WHEN", "RECURS"})
    if not recurs:
        lines.append(Text("* recurs; a wider terminal shows how", "dim"))
    return Text("\n").join(lines)


_NARROW = 80


def _type_text(dispatch: Dispatch) -> Text:
    if dispatch.dry_run:
        return Text(f"{dispatch.type} (dry run)", "yellow")
    return Text(dispatch.type, "cyan")


def _when(dispatch: Dispatch, now: datetime, zone: tzinfo) -> Text:
    """Until when a dispatch runs, or when it does next, or that it does no more."""

    def near(moment: datetime) -> str:
        return format_near(moment, now, zone, seconds=False)

    if not dispatch.active:
        return Text("inactive", "dim")
    if dispatch.running_at(now):
        until = dispatch.until_at(now)
        return Text("now" if until is None else f"now, until {near(until)}", "bold green")
    run = dispatch.next_run_after(now)
    if run is not None:
        return Text(near(run))
    last = dispatch.last_start(now)
    return Text("never", "red") if last is None else Text(f"over, was {near(last)}", "dim")


def _whole_table(dispatches: Iterable[Dispatch], now: datetime, zone: tzinfo) -> list[Text]:
    heading = ("ID", "TYPE", "TARGET", "START", "DURATION", "RECURS", "STATE", "NEXT RUN")
    rows = [
        [
            Text(str(dispatch.id)),
            _type_text(dispatch),
            Text(format_target(dispatch.target)),
            Text(format_moment(dispatch.start_time, zone)),
            Text(format_duration(dispatch.duration)),
            Text(describe_rule(dispatch, zone)),
            state_text(dispatch, now, zone),
            Text("" if run is None else format_moment(run, zone)),
        ]
        for dispatch, run in ((each, _next_run(each, now)) for each in dispatches)
    ]
    return columns(heading, rows)


def details(dispatch: Dispatch, now: datetime, zone: tzinfo) -> Text:
    """All that there is of a dispatch."""
    payload = record_of(dispatch)["payload"]
    rule = describe_rule(dispatch, zone)
    state = state_text(dispatch, now, zone)
    rows: list[tuple[str, str | Text]] = [
        ("target", format_target(dispatch.target) or "none"),
        ("start", format_moment(dispatch.start_time, zone)),
        ("duration", format_duration(dispatch.duration)),
        ("recurs", rule or "no"),
        ("payload", json.dumps(payload, ensure_ascii=False)),
        ("state", state),
        ("next run", next_text(dispatch, now, zone) or "none"),
        ("created", format_moment(dispatch.create_time.replace(microsecond=0), zone)),
        ("updated", format_moment(dispatch.update_time.replace(microsecond=0), zone)),
    ]
    if dispatch.end_time is not None:
        rows.append(("ends", format_moment(dispatch.end_time, zone)))
    text = Text()
    text.append(f"#{dispatch.id} ", "bold").append(dispatch.type, "bold cyan")
    if dispatch.dry_run:
        text.append("  dry run", "yellow")
    for name, value in rows:
        text.append(f"\n  {name:<9} ", "dim").append(value)
    return text.append(f"\n  {'zone':<9} ", "dim").append(str(zone))
