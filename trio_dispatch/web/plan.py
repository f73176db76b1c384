"""What the page draws: rows of bars for planned and for reported runs, as compact JSON.

Pure, and slow for many dispatches: call it in a thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ..model.dispatch import Dispatch
from ..model.formatting import format_target
from ..model.payload import JSON
from ..model.runs import ReportedRun, ReportedState
from ..model.target import Target
from ..text.records import format_json_time
from ..timeline.diagram import Bar, Row, make_diagram
from ..timeline.grouping import By, Grouping, target_label
from ..timeline.heights import number_in
from ..timeline.window import Window
from ..timeline.words import clean, natural_key

__all__ = ["PlanQuery", "encode_plan"]

CLIPPED_LEFT, CLIPPED_RIGHT, OVERRIDDEN, MANY, PULSE, CONFLICT = 1, 2, 4, 8, 16, 32

_MAX_BARS: Final = 12_000
_MAX_ROWS: Final = 500
_MAX_LANES: Final = 8
_MAX_ACTUAL_LANES: Final = 4
_MAX_HEIGHT_KEYS: Final = 50
_PULSE: Final = 3
"""A pulse is drawn as wide as this many resolutions."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_NEVER_STARTED: Final = {
    ReportedState.FAILED,
    ReportedState.MISSED,
    ReportedState.REJECTED,
    ReportedState.SKIPPED,
}


@dataclass(frozen=True, slots=True)
class PlanQuery:
    """What a page asks for.

    Attributes:
      begin, end: The time to draw.
      resolution: The shortest time that can be told apart.
      by: What the rows are.
      types: Only dispatches of these types; empty for all.
      height: The key of the payload that gives the height of bars, dots between nested keys.
      actual: Whether reported runs are drawn.
    """

    begin: datetime
    end: datetime
    resolution: timedelta
    by: By = "component"
    types: frozenset[str] = frozenset()
    height: str | None = None
    actual: bool = True


def encode_plan(
    query: PlanQuery,
    now: datetime,
    dispatches: Sequence[Dispatch],
    runs: Iterable[ReportedRun],
    grouping: Grouping,
    more: Mapping[str, Any],
) -> bytes:
    """Return the answer to a query as JSON.

    Args:
      dispatches: The known dispatches.
      runs: The runs that were reported for the time, and those that last.
      grouping: What the rows are; it must be the query's.
      more: Further fields of the answer.
    """
    kept = [each for each in dispatches if not query.types or each.type in query.types]
    diagram = make_diagram(
        kept,
        Window(query.begin, query.end, now, UTC),
        grouping,
        resolution=query.resolution,
        pulse=_PULSE * query.resolution,
        max_lanes=_MAX_LANES,
        max_rows=_MAX_ROWS,
        max_bars=_MAX_BARS,
    )
    drawn = {bar.dispatch.id: bar.dispatch for bar in diagram.bars()}
    known = {each.id: each for each in dispatches}
    reported = _Reported(query, now, known, grouping)
    for run in _without_announcements([*runs]):
        if not query.types or run.type in query.types:
            reported.add(run)
    drawn.update((id_, known[id_]) for id_ in reported.ids if id_ in known)
    rows: dict[str, dict[str, Any]] = {row.label: _planned_row(row, query) for row in diagram.rows}
    for label, content in reported.rows():
        rows.setdefault(label, _row(label, query, 0, [])).update(content)
    heights = {
        id_: None if query.height is None else number_in(each.payload, query.height)
        for id_, each in drawn.items()
    }
    answer = {
        "from": _millis(query.begin),
        "to": _millis(query.end),
        "now": _millis(now),
        "by": query.by,
        "resolution": query.resolution // _MILLISECOND,
        "height_keys": _height_keys(kept),
        "height": _height(query.height, heights.values()),
        "types": sorted({clean(each.type) for each in dispatches}, key=natural_key),
        "idle": [label for label in diagram.idle if label not in rows],
        "left_out": diagram.left_out,
        "dispatches": {
            str(id_): _described(each, heights[id_]) for id_, each in sorted(drawn.items())
        },
        "rows": [
            rows[label] for label in sorted(rows, key=lambda label: (natural_key(label), label))
        ],
        **more,
    }
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _millis(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _described(dispatch: Dispatch, height: float | None) -> dict[str, Any]:
    return {
        "type": dispatch.type,
        "target": format_target(dispatch.target),
        "dry_run": dispatch.dry_run,
        "active": dispatch.active,
        "recurring": dispatch.effective_recurrence is not None,
        "endless": dispatch.duration is None,
        "height": height,
        "update_time": format_json_time(dispatch.update_time),
    }


# Planned runs.


def _row(label: str, query: PlanQuery, lanes: int, bars: list[list[int | None]]) -> dict[str, Any]:
    component = int(label.rpartition(" ")[2]) if query.by == "component" else None
    return {
        "label": label,
        "component": component,
        "lanes": lanes,
        "bars": bars,
        "actual_lanes": 0,
        "actual": [],
        "marks": [],
    }


def _planned_row(row: Row, query: PlanQuery) -> dict[str, Any]:
    conflicts = _conflicts(row.bars) if query.by == "component" else set()
    bars = [
        _bar(bar, CONFLICT if number in conflicts else 0) for number, bar in enumerate(row.bars)
    ]
    return _row(row.label, query, row.lanes, bars)


def _bar(bar: Bar, flags: int) -> list[int | None]:
    for flag, given in (
        (CLIPPED_LEFT, bar.clipped_left),
        (CLIPPED_RIGHT, bar.clipped_right),
        (OVERRIDDEN, bar.overridden),
        (MANY, bar.run.many),
        (PULSE, bar.pulse),
    ):
        flags |= flag if given else 0
    run = bar.run
    end = None if run.end is None else _millis(run.end)
    return [bar.dispatch.id, _millis(run.start), end, bar.lane, flags, bar.others]


def _conflicts(bars: Sequence[Bar]) -> set[int]:
    """Return the numbers of the bars that drive a component while one of another type does."""
    driving = [
        (bar.run.start, number, bar)
        for number, bar in enumerate(bars)
        if not (bar.overridden or bar.dry_run or bar.dispatch.is_pulse)
    ]
    found: set[int] = set()
    # Of each type the bar that ends last: bars of one type do not overlap.
    latest: dict[str, tuple[datetime | None, int]] = {}
    for start, number, bar in sorted(driving, key=lambda item: item[:2]):
        for type, (end, other) in latest.items():
            if type != bar.dispatch.type and (end is None or end > start):
                found |= {number, other}
        known = latest.get(bar.dispatch.type)
        if known is None or _is_later(bar.run.end, known[0]):
            latest[bar.dispatch.type] = bar.run.end, number
    return found


def _is_later(end: datetime | None, than: datetime | None) -> bool:
    return than is not None and (end is None or end > than)


# Reported runs.


@dataclass(frozen=True, slots=True)
class _Actual:
    """A reported run, or several of a dispatch that cannot be told apart."""

    run: ReportedRun
    start: datetime
    end: datetime | None
    others: int = 0


class _Reported:
    """Sorts reported runs into rows.

    Attributes:
      ids: The dispatches of the runs.
    """

    def __init__(
        self,
        query: PlanQuery,
        now: datetime,
        dispatches: Mapping[int, Dispatch],
        grouping: Grouping,
    ) -> None:
        self.ids: set[int] = set()
        self._query = query
        self._now = now
        self._dispatches = dispatches
        self._grouping = grouping
        self._started: dict[str, list[_Actual]] = {}
        self._marks: dict[str, list[_Actual]] = {}

    def add(self, run: ReportedRun) -> None:
        """Take a run, if it belongs to the time of the query."""
        query = self._query
        start, end = run.started_time or run.start_time, run.ended_time
        if start >= query.end or (end or self._now) < query.begin:
            return
        if run.started_time is None:
            if run.state not in _NEVER_STARTED or start < query.begin:
                return
            place, actual = self._marks, _Actual(run, start, start)
        else:
            place, actual = self._started, _Actual(run, start, end)
        self.ids.add(run.dispatch_id)
        for label in self._labels(run):
            place.setdefault(label, []).append(actual)

    def _labels(self, run: ReportedRun) -> list[str]:
        dispatch = self._dispatches.get(run.dispatch_id)
        if self._query.by == "type":
            return [clean(run.type)]
        if self._query.by == "target":
            return [] if dispatch is None else [target_label(dispatch)]
        if run.component is not None:
            return [f"component {run.component}"]
        target: Target | None = None if dispatch is None else dispatch.target
        return [f"component {id_}" for id_ in self._grouping.resolve(target)]

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what the reports add to each row."""
        resolution = self._query.resolution
        for label, found in self._started.items():
            lanes, bars = _in_lanes(_told_apart(found, resolution), self._now, resolution)
            yield label, {"actual_lanes": lanes, "actual": bars}
        for label, found in self._marks.items():
            yield label, {"marks": [_mark(each) for each in _told_apart(found, resolution)]}


def _without_announcements(runs: Sequence[ReportedRun]) -> Iterator[ReportedRun]:
    """Leave out what dispatchers have announced where any actor has reported the same run."""
    by_actors = {(run.dispatch_id, run.start_time) for run in runs if run.actor}
    return (run for run in runs if run.actor or (run.dispatch_id, run.start_time) not in by_actors)


def _told_apart(found: list[_Actual], resolution: timedelta) -> list[_Actual]:
    """Merge what one dispatch did again within a resolution, and ended alike."""
    merged: list[_Actual] = []
    last: dict[tuple[int, ReportedState], int] = {}
    for each in sorted(found, key=lambda each: (each.start, each.run.dispatch_id)):
        key = each.run.dispatch_id, each.run.state
        at = last.get(key)
        before = None if at is None else merged[at]
        if (
            at is None
            or before is None
            or before.end is None
            or each.start - before.end >= resolution
        ):
            last[key] = len(merged)
            merged.append(each)
        else:
            end = None if each.end is None else max(before.end, each.end)
            merged[at] = replace(before, end=end, others=before.others + each.others + 1)
    return merged


def _in_lanes(
    found: Iterable[_Actual], now: datetime, resolution: timedelta
) -> tuple[int, list[dict[str, Any]]]:
    """Give each run the first lane that has room; where none has, the last one takes it."""
    free: list[datetime] = []
    bars: list[dict[str, Any]] = []
    for each in found:
        lane = next((lane for lane, end in enumerate(free) if end <= each.start), len(free))
        if lane == len(free) < _MAX_ACTUAL_LANES:
            free.append(each.start)
        lane = min(lane, _MAX_ACTUAL_LANES - 1)
        free[lane] = max(free[lane], each.end or now, each.start + resolution)
        run = each.run
        bars.append(
            _outcome(each)
            | {
                "occurrence": _millis(run.start_time),
                "start": _millis(each.start),
                "end": None if each.end is None else _millis(each.end),
                "lane": lane,
                "reason": None if run.reason is None else run.reason.name.lower(),
                "attempts": run.attempts,
            }
        )
    return len(free), bars


def _mark(each: _Actual) -> dict[str, Any]:
    return _outcome(each) | {"at": _millis(each.start)}


def _outcome(each: _Actual) -> dict[str, Any]:
    run = each.run
    return {
        "dispatch": run.dispatch_id,
        "state": run.state.name.lower(),
        "dispatcher": run.dispatcher,
        "actor": run.actor,
        "component": run.component,
        "error": run.error,
        "others": each.others,
    }


# Heights.


def _height(key: str | None, numbers: Iterable[float | None]) -> dict[str, Any] | None:
    given = [number for number in numbers if number is not None]
    if key is None or not given:
        return None
    return {"key": key, "min": min(given), "max": max(given)}


def _height_keys(dispatches: Iterable[Dispatch]) -> list[str]:
    """Return the keys of payloads that have numbers, in order."""
    found: set[str] = set()
    for dispatch in dispatches:
        if len(found) >= _MAX_HEIGHT_KEYS:
            break
        found.update(_numeric_keys(dispatch.payload))
    return sorted(found, key=natural_key)[:_MAX_HEIGHT_KEYS]


def _numeric_keys(payload: Mapping[str, JSON], prefix: str = "", depth: int = 2) -> Iterator[str]:
    for key, value in payload.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + key
        elif isinstance(value, Mapping) and depth > 1:
            yield from _numeric_keys(value, f"{prefix}{key}.", depth - 1)
