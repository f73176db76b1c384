"""Dispatchers for people, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

from ..model.dispatchers import ConnectionState, DispatcherInfo
from .records import format_json_time
from .safe import printable
from .show import Cell, Paint, columns
from .times import format_near

_HEADING = ("STATE", "DISPATCHER", "LAST REPORT", "LATENESS", "WAITING", "LOST", "VERSION")
_STYLES = {"live": "green", "offline": "bold red", "closed": "yellow", "waiting": "red"}


def format_dispatchers(
    found: Sequence[DispatcherInfo], now: datetime, zone: tzinfo, paint: Paint
) -> str:
    """Return a table, a row for each dispatcher."""
    return "\n".join(columns(_HEADING, [_row(info, now, zone) for info in found], paint))


def _row(info: DispatcherInfo, now: datetime, zone: tzinfo) -> list[Cell]:
    state, status = state_of(info), info.status
    return [
        Cell(state, _STYLES.get(state, "")),
        Cell(printable(info.name), "cyan"),
        Cell(format_near(info.last_report_time.replace(microsecond=0), now, zone)),
        Cell("" if status is None else _seconds(status.lateness)),
        Cell("" if status is None else f"{status.waiting:,}"),
        Cell(f"{info.lost:,}", "bold red" if info.lost else ""),
        Cell(printable(info.version)),
    ]


def state_of(info: DispatcherInfo) -> str:
    """Return the state of a dispatcher: of its connection, or ``offline``, or ``unknown``."""
    if info.status is None:
        return "unknown"
    if info.offline_since is not None and info.status.connection is not ConnectionState.CLOSED:
        return "offline"
    return info.status.connection.name.lower()


def _seconds(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def dispatcher_record(info: DispatcherInfo) -> dict[str, Any]:
    """Return a dispatcher as a JSON object; durations are in seconds."""
    status = info.status
    return {
        "name": info.name,
        "version": info.version,
        "state": state_of(info),
        "first_report_time": format_json_time(info.first_report_time),
        "last_report_time": format_json_time(info.last_report_time),
        "offline_since": None
        if info.offline_since is None
        else format_json_time(info.offline_since),
        "lateness": None if status is None else status.lateness.total_seconds(),
        "worst_lateness": None if status is None else status.worst_lateness.total_seconds(),
        "waiting": None if status is None else status.waiting,
        "lost": info.lost,
    }
