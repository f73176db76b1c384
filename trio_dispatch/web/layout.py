"""Bars in lanes: which run drives, which is overridden, and where each is drawn.

Pure, with times as integers: a plan has tens of thousands of bars.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..timeline.runs import SEVERAL

__all__ = [
    "CONFLICT", "FOREVER", "MANY", "OVERRIDDEN", "PULSE", "Bar", "Span", "arbitrate", "conflicts",
    "in_lanes", "overridden", "told_apart",
]  # fmt: skip

OVERRIDDEN, MANY, PULSE, CONFLICT = 4, 8, 16, 32
"""Flags of bars."""

FOREVER = 1 << 62
"""The end of what has no end."""


@dataclass(slots=True, eq=False)
class Span:
    """A run of a dispatch, or several that cannot be told apart.

    Attributes:
      id: The dispatch.
      start, end: When it runs.
      many: Whether it is several runs.
    """

    id: int
    start: int
    end: int
    many: bool = False


@dataclass(slots=True, eq=False)
class Bar:
    """A bar to draw.

    Attributes:
      id: The dispatch.
      start, end: Its time.
      flags: What else is to be drawn.
      lane: Its lane, from 0 on top.
      others: How many other bars are merged into it.
    """

    id: int
    start: int
    end: int
    flags: int = 0
    lane: int = 0
    others: int = 0


def arbitrate(spans: Iterable[Span]) -> Iterator[tuple[Span, int, int]]:
    """Yield which of the runs for a component drives it, and from when to when, in order.

    The run that started last drives, of several the one with the highest id, as in
    `trio_dispatch.model.arbitration`; when it ends, the one before it that still runs.  Runs must
    be single ones: which of many drives is not known.
    """
    running: list[Span] = []
    moment = 0
    for span in sorted(spans, key=lambda span: (span.start, span.id)):
        while running and running[-1].end <= span.start:
            top = running.pop()
            if top.end > moment:
                yield top, moment, top.end
                moment = top.end
        if running and moment < span.start:
            yield running[-1], moment, span.start
        running.append(span)
        moment = span.start
    while running:
        top = running.pop()
        if top.end > moment:
            yield top, moment, top.end
            moment = top.end


def overridden(span: Span, driving: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the parts of a run in which it does not drive.

    Args:
      driving: When it drives, in order.
    """
    moment = span.start
    for start, end in driving:
        if moment < start:
            yield moment, start
        moment = end
    if moment < span.end:
        yield moment, span.end


def conflicts(bars: Sequence[tuple[str, Bar]]) -> Iterator[Bar]:
    """Yield the bars that drive a component while one of another type does, some of them twice.

    Args:
      bars: What drives, with its type, in order.  Bars of one type do not overlap.
    """
    latest: dict[str, Bar] = {}
    for type, bar in bars:
        for other_type, other in latest.items():
            if other_type != type and other.end > bar.start:
                yield bar
                yield other
        known = latest.get(type)
        if known is None or known.end < bar.end:
            latest[type] = bar


def told_apart(bars: Iterable[Bar], resolution: int) -> Iterator[Bar]:
    """Yield bars so that those that are too short to be told apart are one.

    Args:
      bars: In order of their start.
      resolution: The shortest time that can be told apart.  Shorter bars that start within
        `SEVERAL` of it are merged.
    """
    group: list[Bar] = []
    for bar in bars:
        if bar.end - bar.start >= resolution:
            yield bar
            continue
        if group and bar.start >= group[0].start + SEVERAL * resolution:
            yield _merged(group)
            group = []
        group.append(bar)
    if group:
        yield _merged(group)


def _merged(group: list[Bar]) -> Bar:
    bar, *rest = group
    if rest:
        bar.end = max(each.end for each in group)
        # Several of one dispatch are that dispatch again and again.
        bar.others = len({each.id for each in group}) - 1
        bar.flags = bar.flags & ~PULSE | MANY
        for each in rest:
            bar.flags |= each.flags & ~PULSE
    return bar


def in_lanes(
    bars: Iterable[Bar], resolution: int, lanes: int, *, first: int = 0
) -> tuple[int, list[Bar]]:
    """Give each bar a lane that has room for it; return the number of lanes, and the bars.

    A dispatch stays in its lane if it can.  Where no lane has room, the bar is merged into the last
    one of the last lane.

    Args:
      bars: In order of their start.
      resolution: The least room of a bar.
      lanes: The most lanes.
      first: The number of the first lane.
    """
    free: list[int] = []
    usual: dict[int, int] = {}
    placed: list[Bar] = []
    crowd: Bar | None = None
    for bar in bars:
        start, end = bar.start, max(bar.end, bar.start + resolution)
        lane = usual.get(bar.id, -1)
        if lane < 0 or free[lane] > start:
            lane = next((each for each, until in enumerate(free) if until <= start), -1)
        if lane < 0:
            if len(free) < lanes:
                lane = len(free)
                free.append(0)
            elif crowd is not None:
                crowd.end = max(crowd.end, bar.end)
                crowd.others += bar.others + 1
                crowd.flags |= bar.flags
                free[-1] = max(free[-1], end)
                continue
        usual[bar.id] = lane
        free[lane] = end
        bar.lane = first + lane
        if lane == lanes - 1:
            crowd = bar
        placed.append(bar)
    return len(free), placed
