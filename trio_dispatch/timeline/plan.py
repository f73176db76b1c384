"""What is to be drawn: rows of runs, laid out in lanes so that none hides another."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby

from ..model.dispatch import Dispatch
from ..model.formatting import format_target
from .runs import Run, runs
from .window import By, Window
from .words import clean, natural_key

__all__ = ["Bar", "Plan", "Row", "label_of", "make_plan"]

_NONE = timedelta()
_CENTURY = timedelta(days=36_525)


@dataclass(frozen=True, slots=True)
class Bar:
    """Something to draw.

    Attributes:
      dispatch: Whose run it is.
      run: When.
      lane: Where in its row, from 0 on top.
      clipped_left: It started before the window.
      clipped_right: It ends after the window, or never.
      others: How many other bars had no lane of their own and are put into this one.
    """

    dispatch: Dispatch
    run: Run
    lane: int
    clipped_left: bool
    clipped_right: bool
    others: int = 0

    @property
    def endless(self) -> bool:
        return self.run.end is None

    @property
    def pulse(self) -> bool:
        """Whether it is one pulse, a moment without length."""
        return self.dispatch.is_pulse and not self.run.many

    @property
    def dry_run(self) -> bool:
        return self.dispatch.dry_run


@dataclass(frozen=True, slots=True)
class Row:
    """The bars with a label in common, in order of their start."""

    label: str
    lanes: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be drawn.

    Attributes:
      window: What the picture shows.
      by: What the rows are.
      rows: Those in which there is something, in order.
      left_out: How many more there would be.
      idle: The labels in which nothing runs, in order.
      types: The types of all dispatches, those which do not run included, in order.
    """

    window: Window
    by: By
    rows: tuple[Row, ...]
    left_out: int
    idle: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def number_of_bars(self) -> int:
        return sum(len(row.bars) for row in self.rows)

    def bars(self) -> Iterator[Bar]:
        """The bars of all rows."""
        for row in self.rows:
            yield from row.bars


def make_plan(
    dispatches: Iterable[Dispatch],
    window: Window,
    by: By = "type",
    *,
    resolution: timedelta = _NONE,
    pulse: timedelta = _NONE,
    max_lanes: int | None = None,
    max_rows: int | None = None,
    max_bars: int | None = None,
) -> Plan:
    """Lay out what runs in a window.

    Args:
      resolution: The time that can just be seen: every bar gets that much room, and runs of a
        dispatch that are not further apart are put into one.  Zero keeps every run by itself.
      pulse: The room that a pulse takes, which is around it.
      max_lanes: The most lanes of a row; what runs at the same time beyond that shares the last.
      max_rows: The most rows.
      max_bars: The most bars; the resolution is made coarser until there are no more.
    """
    kept = sorted((each for each in dispatches if not each.deleted), key=lambda each: each.id)
    while True:
        plan = _make_plan(kept, window, by, _Sizes(resolution, pulse, max_lanes), max_rows)
        number = plan.number_of_bars
        if max_bars is None or number <= max_bars:
            return plan
        factor = 4 if number > 4 * max_bars else 2
        resolution = max(factor * resolution, timedelta.resolution)
        pulse = max(factor * pulse, timedelta.resolution)


def label_of(dispatch: Dispatch, by: By) -> str:
    """What the row of a dispatch is called."""
    if by == "type":
        return clean(dispatch.type)
    return format_target(dispatch.target) or "no target"


@dataclass(frozen=True, slots=True)
class _Sizes:
    resolution: timedelta
    pulse: timedelta
    max_lanes: int | None


def _make_plan(
    dispatches: Sequence[Dispatch], window: Window, by: By, sizes: _Sizes, max_rows: int | None
) -> Plan:
    labelled = sorted(
        ((label_of(each, by), each) for each in dispatches),
        key=lambda item: (natural_key(item[0]), item[0]),
    )
    rows: list[Row] = []
    idle: list[str] = []
    left_out = 0
    for name, items in groupby(labelled, key=lambda item: item[0]):
        bars = [bar for _, dispatch in items for bar in _bars(dispatch, window, sizes.resolution)]
        if not bars:
            idle.append(name)
        elif max_rows is not None and len(rows) >= max_rows:
            left_out += 1
        else:
            rows.append(_row(name, bars, window, sizes))
    types = sorted({clean(each.type) for each in dispatches}, key=natural_key)
    return Plan(window, by, tuple(rows), left_out, tuple(idle), tuple(types))


def _bars(dispatch: Dispatch, window: Window, resolution: timedelta) -> Iterator[Bar]:
    for run in runs(dispatch, window.begin, window.end, resolution):
        clipped_right = run.end is None or run.end > window.end
        yield Bar(dispatch, run, 0, run.start < window.begin, clipped_right)


def _row(label: str, bars: list[Bar], window: Window, sizes: _Sizes) -> Row:
    """Give each bar a lane in which there is room for it: in as few lanes as there can be.

    A dispatch stays in its lane where it can.  The last lane, when no more are allowed, takes what
    finds no room, and puts into one what overlaps there.
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
            placed.append(_in_lane(bar, lane))
        elif crowd is not None:
            place, until = crowd
            placed[place] = _together(placed[place], bar)
            if right > until:
                crowd = place, right
                busy = [(right if at == lanes - 1 else end, at) for end, at in busy]
                heapq.heapify(busy)
    return Row(label, lanes, tuple(placed))


def _room(bar: Bar, window: Window, sizes: _Sizes) -> tuple[datetime, datetime]:
    """The time that a bar takes up in its lane, as far as it is seen."""
    left = max(bar.run.start, window.begin)
    if bar.pulse:
        half = min(sizes.pulse / 2, _CENTURY)
        return left - half, left + half
    right = window.end if bar.run.end is None else min(bar.run.end, window.end)
    return left, max(right, left + min(sizes.resolution, _CENTURY))


def _in_lane(bar: Bar, lane: int) -> Bar:
    return Bar(bar.dispatch, bar.run, lane, bar.clipped_left, bar.clipped_right)


def _together(first: Bar, second: Bar) -> Bar:
    """Two bars in one."""
    ends = (first.run.end, second.run.end)
    last = None if ends[0] is None or ends[1] is None else max(ends[0], ends[1])
    return replace(
        first,
        run=Run(min(first.run.start, second.run.start), last, True),
        clipped_left=first.clipped_left or second.clipped_left,
        clipped_right=first.clipped_right or second.clipped_right,
        others=first.others + second.others + 1,
    )
