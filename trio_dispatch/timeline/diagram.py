"""What a picture shows: rows of bars, in lanes so that no bar hides another."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..model.arbitration import Priority
from ..model.dispatch import Dispatch
from .actual import ActualRun
from .driven import drives, overridden_runs
from .grouping import BY_TYPE, Grouping
from .heights import Heights, heights_of
from .runs import Run, runs
from .window import Window
from .words import clean, natural_key

__all__ = ["Bar", "Diagram", "Row", "make_diagram"]

_NONE = timedelta()
_CENTURY = timedelta(days=36_525)


@dataclass(frozen=True, slots=True)
class Bar:
    """A run to draw.

    Attributes:
      dispatch: What runs.
      run: When it runs.
      lane: The lane in its row, from 0 on top.
      clipped_left: Whether it started before the window.
      clipped_right: Whether it ends after the window, or never.
      overridden: Whether another dispatch drives the component.
      others: How many other bars are merged into this one, since they found no lane or cannot be
        told apart.
    """

    dispatch: Dispatch
    run: Run
    lane: int
    clipped_left: bool
    clipped_right: bool
    overridden: bool = False
    others: int = 0

    @property
    def endless(self) -> bool:
        return self.run.end is None

    @property
    def pulse(self) -> bool:
        """Whether it is a single pulse, which has no length."""
        return self.dispatch.is_pulse and not self.run.many

    @property
    def dry_run(self) -> bool:
        return self.dispatch.dry_run


@dataclass(frozen=True, slots=True)
class Row:
    """A row of bars, those of a lane in order of their start."""

    label: str
    lanes: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Diagram:
    """The layout of a picture.

    Attributes:
      window: The time that the picture shows.
      grouping: What the rows are.
      rows: The rows that have bars, in order.
      left_out: The number of rows beyond the allowed number.
      idle: The labels of the rows without bars, in order.
      types: The types of all dispatches, including those that do not run, in order.
      heights: The scale for the heights of bars, if they have different ones.
    """

    window: Window
    grouping: Grouping
    rows: tuple[Row, ...]
    left_out: int
    idle: tuple[str, ...]
    types: tuple[str, ...]
    heights: Heights | None = None

    @property
    def number_of_bars(self) -> int:
        return sum(len(row.bars) for row in self.rows)

    def bars(self) -> Iterator[Bar]:
        """The bars of all rows."""
        for row in self.rows:
            yield from row.bars


def make_diagram(
    dispatches: Iterable[Dispatch],
    window: Window,
    grouping: Grouping = BY_TYPE,
    *,
    height: str | None = None,
    resolution: timedelta = _NONE,
    pulse: timedelta = _NONE,
    max_lanes: int | None = None,
    max_rows: int | None = None,
    max_bars: int | None = None,
) -> Diagram:
    """Lay out what runs in a window.

    Args:
      height: The key of the payload that gives the heights of bars, see `Heights`.
      resolution: The time that can just be seen: every bar gets that much room, and runs of a
        dispatch that are not further apart are merged.  With zero no runs are merged.
      pulse: The room that a pulse takes, half of it on each side.
      max_lanes: The most lanes of a row; further bars share the last lane.
      max_rows: The most rows.
      max_bars: The most bars; the resolution is made coarser until there are no more.
    """
    kept = sorted((each for each in dispatches if not each.deleted), key=lambda each: each.id)
    while True:
        diagram = _make_diagram(
            kept, window, grouping, _Sizes(resolution, pulse, max_lanes), max_rows
        )
        number = diagram.number_of_bars
        if max_bars is None or number <= max_bars:
            return replace(
                diagram, heights=heights_of((bar.dispatch for bar in diagram.bars()), height)
            )
        factor = 4 if number > 4 * max_bars else 2
        resolution = max(factor * resolution, timedelta.resolution)
        pulse = max(factor * pulse, timedelta.resolution)


@dataclass(frozen=True, slots=True)
class _Sizes:
    resolution: timedelta
    pulse: timedelta
    max_lanes: int | None


def _make_diagram(
    dispatches: Sequence[Dispatch],
    window: Window,
    grouping: Grouping,
    sizes: _Sizes,
    max_rows: int | None,
) -> Diagram:
    members: dict[str, list[Dispatch]] = {}
    for each in dispatches:
        for label in grouping.labels(each):
            members.setdefault(label, []).append(each)
    rows: list[Row] = []
    idle: list[str] = []
    left_out = 0
    for label in sorted(members, key=lambda label: (natural_key(label), label)):
        if grouping.by == "component":
            row = _component_row(label, members[label], window, grouping.priority, sizes)
        else:
            bars = [bar for each in members[label] for bar in _bars(each, window, sizes.resolution)]
            row = _row(label, bars, window, sizes)
        if not row.bars:
            idle.append(label)
        elif max_rows is not None and len(rows) >= max_rows:
            left_out += 1
        else:
            rows.append(row)
    types = sorted({clean(each.type) for each in dispatches}, key=natural_key)
    return Diagram(window, grouping, tuple(rows), left_out, tuple(idle), tuple(types))


def _bars(dispatch: Dispatch, window: Window, resolution: timedelta) -> Iterator[Bar]:
    for run in runs(dispatch, window.begin, window.end, resolution):
        yield _bar(dispatch, run, window)


def _bar(dispatch: Dispatch, run: Run, window: Window, overridden: bool = False) -> Bar:
    clipped_right = run.end is None or run.end > window.end
    return Bar(dispatch, run, 0, run.start < window.begin, clipped_right, overridden)


def _component_row(
    label: str, dispatches: list[Dispatch], window: Window, priority: Priority, sizes: _Sizes
) -> Row:
    """Lay out a component: what drives it on top, everything else below.

    Dispatches of different types do not override each other: each type has an actor of its own.
    Dry runs and pulses do not drive, and nothing overrides them.  What was reported is shown as it
    is.
    """
    driving: list[Bar] = []
    others: list[Bar] = []
    types: dict[str, list[Dispatch]] = {}
    for each in dispatches:
        if each.dry_run or each.is_pulse or isinstance(each, ActualRun):
            others += _bars(each, window, sizes.resolution)
        else:
            types.setdefault(each.type, []).append(each)
    for members in types.values():
        found = drives(members, window, sizes.resolution, priority)
        driving += (
            replace(_bar(each.dispatch, each.run, window), others=each.others) for each in found
        )
        for dispatch in members:
            driven = [each.run for each in found if each.others or each.dispatch is dispatch]
            for run in overridden_runs(dispatch, driven, window, sizes.resolution):
                others.append(_bar(dispatch, run, window, overridden=True))
    top = _row(label, driving, window, sizes)
    room = None if sizes.max_lanes is None else max(1, sizes.max_lanes - top.lanes)
    below = _row(label, others, window, replace(sizes, max_lanes=room))
    moved = (replace(bar, lane=bar.lane + top.lanes) for bar in below.bars)
    return Row(label, top.lanes + below.lanes, (*top.bars, *moved))


def _row(label: str, bars: list[Bar], window: Window, sizes: _Sizes) -> Row:
    """Give each bar a lane that has room for it, using as few lanes as possible.

    A dispatch stays in its lane if it can.  If no more lanes are allowed, the last one takes the
    bars that find no room, and merges those that overlap there.
    """
    taken = sorted(
        ((*_room(bar, window, sizes), number, bar) for number, bar in enumerate(bars)),
        key=lambda item: item[:3],
    )
    free: list[int] = []
    busy: list[tuple[datetime, int]] = []
    lanes, usual = 0, dict[int, int]()
    placed: list[Bar] = []
    crowd: tuple[int, datetime] | None = None
    for left, right, _, bar in taken:
        while busy and busy[0][0] <= left:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if not free and lanes != sizes.max_lanes:
            heapq.heappush(free, lanes)
            lanes += 1
        if free:
            lane = usual.get(bar.dispatch.id, -1)
            if lane in free:
                free.remove(lane)
                heapq.heapify(free)
            else:
                lane = heapq.heappop(free)
            usual[bar.dispatch.id] = lane
            heapq.heappush(busy, (right, lane))
            if lane + 1 == sizes.max_lanes:
                crowd = len(placed), right
            placed.append(replace(bar, lane=lane))
        elif crowd is not None:
            place, until = crowd
            placed[place] = _together(placed[place], bar)
            if right > until:
                crowd = place, right
                busy = [(right if at == lanes - 1 else end, at) for end, at in busy]
                heapq.heapify(busy)
    return Row(label, lanes, tuple(placed))


def _room(bar: Bar, window: Window, sizes: _Sizes) -> tuple[datetime, datetime]:
    """Return the time that a bar takes up in its lane, within the window."""
    left = max(bar.run.start, window.begin)
    if bar.pulse:
        half = min(sizes.pulse / 2, _CENTURY)
        return left - half, left + half
    right = window.end if bar.run.end is None else min(bar.run.end, window.end)
    return left, max(right, left + min(sizes.resolution, _CENTURY))


def _together(first: Bar, second: Bar) -> Bar:
    """Merge two bars."""
    ends = (first.run.end, second.run.end)
    last = None if ends[0] is None or ends[1] is None else max(ends[0], ends[1])
    return replace(
        first,
        run=Run(min(first.run.start, second.run.start), last, True),
        clipped_left=first.clipped_left or second.clipped_left,
        clipped_right=first.clipped_right or second.clipped_right,
        overridden=first.overridden and second.overridden,
        others=first.others + second.others + 1,
    )
