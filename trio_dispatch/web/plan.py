"""What the page draws: rows of bars for planned and for reported runs, as compact JSON.

Pure, and slow for many dispatches: call it in a thread.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ..model.dispatch import Dispatch
from ..model.formatting import format_target
from ..model.payload import JSON
from ..model.runs import ReportedRun, ReportedState
from ..model.target import Target
from ..text.records import format_json_time
from ..timeline.grouping import By, Grouping, target_label
from ..timeline.heights import number_in
from ..timeline.runs import runs as runs_of
from ..timeline.words import clean, natural_key
from .layout import (
    CONFLICT,
    FOREVER,
    MANY,
    OVERRIDDEN,
    PULSE,
    Bar,
    Span,
    arbitrate,
    conflicts,
    in_lanes,
    overridden,
    told_apart,
)

__all__ = ["PlanMemory", "PlanQuery", "encode_plan"]

CLIPPED_LEFT, CLIPPED_RIGHT = 1, 2

_MAX_BARS: Final = 20_000
"""If there are more bars, the resolution is made coarser."""

_MAX_ROWS: Final = 500
_MAX_LANES: Final = 8
_MAX_ACTUAL_LANES: Final = 4
_MAX_HEIGHT_KEYS: Final = 50
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
    runs: Sequence[ReportedRun],
    grouping: Grouping,
    more: Mapping[str, Any],
    memory: PlanMemory | None = None,
) -> bytes:
    """Return the answer to a query as JSON.

    Args:
      dispatches: The known dispatches.
      runs: The runs that were reported for the time, and those that last.
      grouping: What the rows are; it must be the query's.
      more: Further fields of the answer.
      memory: What was computed for the same query before.
    """
    kept = [each for each in dispatches if not query.types or each.type in query.types]
    members: dict[str, list[Dispatch]] = {}
    for each in kept:
        for label in grouping.labels(each):
            members.setdefault(label, []).append(each)
    planner = _Planner(query, memory or PlanMemory())
    planned = planner.rows(members)
    known = {each.id: each for each in dispatches}
    reported = _Reported(query, now, known, grouping)
    for run in _without_announcements(runs):
        if not query.types or run.type in query.types:
            reported.add(run)
    actual = dict(reported.rows())
    labels = {label for label, row in planned.items() if row.ids} | actual.keys()
    ordered = sorted(labels, key=lambda label: (natural_key(label), label))
    drawn = reported.ids.union(*(row.ids for row in planned.values()))
    described = {id_: known[id_] for id_ in sorted(drawn) if id_ in known}
    heights = {
        id_: None if query.height is None else number_in(each.payload, query.height)
        for id_, each in described.items()
    }
    answer = {
        "from": _millis(query.begin),
        "to": _millis(query.end),
        "now": _millis(now),
        "by": query.by,
        "resolution": planner.resolution // _MILLISECOND,
        "height_keys": _height_keys(kept),
        "height": _height(query.height, heights.values()),
        "types": sorted({clean(each.type) for each in dispatches}, key=natural_key),
        "idle": sorted(members.keys() - labels, key=natural_key),
        "left_out": max(0, len(ordered) - _MAX_ROWS),
        "dispatches": {str(id_): _described(each, heights[id_]) for id_, each in described.items()},
        **more,
    }
    rows = [
        _row(label, query, planned.get(label), actual.get(label)) for label in ordered[:_MAX_ROWS]
    ]
    text = _dumps(answer)
    return f'{text[:-1]},"rows":[{",".join(rows)}]}}'.encode("utf-8", "surrogatepass")


def _dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _row(
    label: str, query: PlanQuery, planned: _Planned | None, actual: Mapping[str, Any] | None
) -> str:
    head = {
        "label": label,
        "component": int(label.rpartition(" ")[2]) if query.by == "component" else None,
        "lanes": 0 if planned is None else planned.lanes,
        "actual_lanes": 0,
        "actual": [],
        "marks": [],
        **(actual or {}),
    }
    bars = "[]" if planned is None else planned.bars
    return f'{_dumps(head)[:-1]},"bars":{bars}}}'


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


@dataclass(slots=True)
class PlanMemory:
    """What one query has computed so far, for the next time: most of it does not change.

    Attributes:
      spans: The runs of each dispatch, by its id, with the dispatch.
      rows: The bars of each row as JSON, by its label, with the dispatches that are in it.
      coarseness: How much coarser than the query's the resolution is.
    """

    spans: dict[int, tuple[Dispatch, list[Span]]] = field(default_factory=dict)
    rows: dict[str, tuple[list[Dispatch], _Planned]] = field(default_factory=dict)
    coarseness: int = 1


@dataclass(frozen=True, slots=True)
class _Planned:
    """The planned runs of a row.

    Attributes:
      lanes: The number of lanes.
      number: The number of bars.
      bars: The bars as JSON.
      ids: The dispatches that have bars.
    """

    lanes: int
    number: int
    bars: str
    ids: frozenset[int]


class _Planner:
    """Lays out planned runs, remembering them."""

    def __init__(self, query: PlanQuery, memory: PlanMemory) -> None:
        self._query = query
        self._memory = memory
        self._begin, self._end = _millis(query.begin), _millis(query.end)

    @property
    def resolution(self) -> timedelta:
        """The resolution of the rows: the query's, or a coarser one if there were many bars."""
        return self._query.resolution * self._memory.coarseness

    def rows(self, members: Mapping[str, list[Dispatch]]) -> dict[str, _Planned]:
        """Return the rows of dispatches, by their labels."""
        memory = self._memory
        memory.rows = {label: item for label, item in memory.rows.items() if label in members}
        while True:
            rows = {label: self._row(label, members[label]) for label in members}
            # Nothing is merged any more when nothing in the window can be told apart.
            most = self._query.end - self._query.begin
            if sum(row.number for row in rows.values()) <= _MAX_BARS or self.resolution >= most:
                return rows
            memory.coarseness *= 2
            memory.rows.clear()
            memory.spans.clear()

    def _row(self, label: str, dispatches: list[Dispatch]) -> _Planned:
        known = self._memory.rows.get(label)
        if known is not None and _same(known[0], dispatches):
            return known[1]
        if self._query.by == "component":
            lanes, bars = self._component(dispatches)
        else:
            lanes, bars = self._in_lanes(
                [self._bar(each, span) for each in dispatches for span in self._spans(each)],
                _MAX_LANES,
            )
        text = json.dumps([self._encoded(bar) for bar in bars], separators=(",", ":"))
        row = _Planned(lanes, len(bars), text, frozenset(bar.id for bar in bars))
        self._memory.rows[label] = dispatches, row
        return row

    def _spans(self, dispatch: Dispatch) -> list[Span]:
        known = self._memory.spans.get(dispatch.id)
        if known is not None and known[0] is dispatch:
            return known[1]
        begin, end = self._query.begin, self._query.end
        spans = [
            Span(
                dispatch.id,
                _millis(run.start),
                FOREVER if run.end is None else _millis(run.end),
                run.many,
            )
            for run in runs_of(dispatch, begin, end, self.resolution)
        ]
        self._memory.spans[dispatch.id] = dispatch, spans
        return spans

    def _bar(self, dispatch: Dispatch, span: Span) -> Bar:
        flags = MANY if span.many else PULSE if dispatch.is_pulse else 0
        return Bar(span.id, span.start, span.end, flags)

    def _component(self, dispatches: list[Dispatch]) -> tuple[int, list[Bar]]:
        """Lay out a component: what drives it on top, everything else below.

        Dispatches of different types do not override each other: each type has an actor of its own.
        Dry runs, pulses, and runs that are merged do not drive, and nothing overrides them.
        """
        resolution = self.resolution // _MILLISECOND
        single: dict[str, list[Span]] = {}
        driving: list[tuple[str, Bar]] = []
        below: list[Bar] = []
        for each in dispatches:
            for span in self._spans(each):
                if each.dry_run or each.is_pulse:
                    below.append(self._bar(each, span))
                elif span.many:
                    driving.append((each.type, self._bar(each, span)))
                else:
                    single.setdefault(each.type, []).append(span)
        exact: list[tuple[str, Bar]] = []
        for type, spans in single.items():
            parts: dict[int, list[tuple[int, int]]] = {}
            for span, start, end in arbitrate(spans):
                parts.setdefault(id(span), []).append((start, end))
                exact.append((type, Bar(span.id, start, end)))
            for span in spans:
                for start, end in overridden(span, parts.get(id(span), ())):
                    if end - start > resolution:
                        below.append(Bar(span.id, start, end, OVERRIDDEN))
        exact.sort(key=lambda item: item[1].start)
        for bar in conflicts(exact):
            bar.flags |= CONFLICT
        top = [bar for _, bar in exact] + [bar for _, bar in driving]
        lanes, bars = self._in_lanes(top, _MAX_LANES)
        more, others = self._in_lanes(below, max(1, _MAX_LANES - lanes), first=lanes)
        return lanes + more, bars + others

    def _in_lanes(self, bars: list[Bar], lanes: int, *, first: int = 0) -> tuple[int, list[Bar]]:
        resolution = self.resolution // _MILLISECOND
        bars.sort(key=lambda bar: (bar.start, bar.id))
        return in_lanes(told_apart(bars, resolution), resolution, lanes, first=first)

    def _encoded(self, bar: Bar) -> tuple[int, int, int | None, int, int, int]:
        flags = bar.flags
        if bar.start < self._begin:
            flags |= CLIPPED_LEFT
        if bar.end > self._end:
            flags |= CLIPPED_RIGHT
        end = None if bar.end >= FOREVER else bar.end
        return bar.id, bar.start, end, bar.lane, flags, bar.others


def _same(some: Sequence[Dispatch], others: Sequence[Dispatch]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))


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
        for label in self._started.keys() | self._marks.keys():
            started = _told_apart(self._started.get(label, []), resolution)
            lanes, bars = _in_lanes(started, self._now, resolution)
            marks = [_mark(each) for each in _told_apart(self._marks.get(label, []), resolution)]
            yield label, {"actual_lanes": lanes, "actual": bars, "marks": marks}


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
