"""Dispatches, runs and occurrences as the page gets them: records of the command line and more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from ..dispatcher.state import SyncState
from ..model.dispatch import Dispatch
from ..model.dispatchers import DispatcherInfo
from ..model.formatting import format_target
from ..model.runs import DispatchChange
from ..model.undecodable import Undecodable
from ..text.records import format_json_time, record_of
from ..text.runs import differences
from ..text.show import describe_recurrence
from ..text.times import format_offset

__all__ = [
    "change_of", "dispatcher_of", "occurrences_after", "occurrences_of", "page_record",
    "sync_record",
]  # fmt: skip


def page_record(dispatch: Dispatch, now: datetime, zone: tzinfo = UTC) -> dict[str, Any]:
    """Return a dispatch with its state at a moment, and its rule and target in words."""
    return record_of(dispatch) | {
        "running": dispatch.running_at(now),
        "until": format_json_time(dispatch.until_at(now)),
        "next_run": format_json_time(dispatch.next_run_after(now)) if dispatch.active else None,
        "rule": describe_recurrence(dispatch, zone),
        "target_text": format_target(dispatch.target),
    }


def occurrences_after(dispatch: Dispatch, moment: datetime, count: int) -> Iterator[datetime]:
    """Yield the first occurrences at or after a moment in UTC."""
    start = dispatch.first_after(moment, inclusive=True)
    while start is not None and count > 0:
        yield start
        count -= 1
        start = dispatch.first_after(start)


def occurrences_of(
    dispatch: Dispatch, moment: datetime, zone: tzinfo, count: int
) -> list[dict[str, Any]]:
    """Return the next occurrences, in UTC and in a zone.

    Where the offset of the zone is another one than at the occurrence before, which is where
    daylight saving time begins or ends in between, the old offset is added.
    """
    found: list[dict[str, Any]] = []
    before = _offset(moment, zone)
    for start in occurrences_after(dispatch, moment, count):
        offset = _offset(start, zone)
        found.append(
            {
                "start": format_json_time(start),
                "end": format_json_time(dispatch.end_of(start)),
                "local": _local(start, zone),
                "offset": format_offset(offset),
                "change": None if offset == before else format_offset(before),
            }
        )
        before = offset
    return found


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
    try:
        return moment.astimezone(zone).utcoffset() or timedelta()
    except OverflowError:
        return timedelta()


def _local(moment: datetime, zone: tzinfo) -> str:
    try:
        return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    except OverflowError:
        return f"{moment:%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def change_of(change: DispatchChange, zone: tzinfo) -> dict[str, Any]:
    """Return an entry of the log of changes, with the fields that differ in words."""
    old, new = change.old, change.new
    different: Iterable[tuple[str, str | None, str]] = ()
    if isinstance(new, Dispatch) and not isinstance(old, Undecodable):
        different = differences(old, new, zone)
    return {
        "time": format_json_time(change.time),
        "change": change.kind.value,
        "key_name": change.key_name,
        "peer": change.peer,
        "differences": [[*each] for each in different],
    }


def dispatcher_of(info: DispatcherInfo) -> dict[str, Any]:
    """Return a dispatcher that has reported to the service."""
    status = info.status
    return {
        "name": info.name,
        "version": info.version,
        "first_report_time": format_json_time(info.first_report_time),
        "last_report_time": format_json_time(info.last_report_time),
        "lost": info.lost,
        "state": _state(info),
        "offline_since": format_json_time(info.offline_since),
        "connection": None if status is None else status.connection.name.lower(),
        "lateness": None if status is None else status.lateness.total_seconds(),
        "worst_lateness": None if status is None else status.worst_lateness.total_seconds(),
        "waiting": None if status is None else status.waiting,
    }


def _state(info: DispatcherInfo) -> str:
    if info.status is None:
        return "unknown"
    return "live" if info.offline_since is None else "offline"


def sync_record(state: SyncState) -> dict[str, Any]:
    """Return the state of the connection to the service."""
    return {
        "phase": state.phase.value,
        "offline_since": format_json_time(state.offline_since),
        "error": None if state.error is None else str(state.error),
        "next_try": format_json_time(state.next_try),
    }
