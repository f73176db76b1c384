"""The picture as text: a line of blocks for each lane.

A cell has a left and a right half, which doubles the resolution of the ends of bars.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..model.dispatch import Dispatch
from .colours import PALETTE, colours_of
from .diagram import Bar, Diagram, Row, make_diagram
from .grouping import Grouping
from .heights import Heights, number_in
from .ticks import make_axis
from .window import Window
from .words import cells, clean, moment_text, shorten, zone_text

__all__ = ["draw_text"]

_MAX_LANES = 4
_BOLD, _DIM, _NOW, _CROWD = "1", "2", "1;38;5;197", "38;5;245"

_EMPTY, _TICK, _MARK = " ", "·", "│"
_PULSE, _ENDLESS, _DRY, _MANY, _SEVERAL, _PALE = "◆", "▶", "░", "▖", "▓", "▁"
_LEVELS, _NEGATIVE = "▂▃▄▅▆▇█", "▔▀"
_HALVES = {(True, True): "▄", (True, False): "▖", (False, True): "▗"}

Piece = tuple[str, str]
"""A text and its style, as the numbers of ANSI's "select graphic rendition"."""


def draw_text(
    dispatches: Sequence[Dispatch],
    window: Window,
    grouping: Grouping,
    width: int,
    color: bool,
    height: str | None = None,
) -> str:
    """Return the picture, in lines of at most `width` columns."""
    labels = {label for each in dispatches for label in grouping.labels(each)}
    longest = max(map(cells, labels), default=0)
    column = min(max(longest, cells(zone_text(window.zone)), 4), width // 3)
    chart = width - column - 1
    diagram = make_diagram(
        dispatches,
        window,
        grouping,
        height=height,
        resolution=window.part(2 * chart),
        pulse=window.part(chart),
        max_lanes=_MAX_LANES,
    )
    lines = [*_head(diagram, column, chart), *_body(diagram, column, chart), *_foot(diagram, width)]
    return "\n".join(_line(pieces, color) for pieces in lines)


def _line(pieces: Iterable[Piece], color: bool) -> str:
    joined: list[list[str]] = []
    for text, style in pieces:
        if joined and joined[-1][1] == style:
            joined[-1][0] += text
        else:
            joined.append([text, style])
    while joined and not joined[-1][0].strip():
        joined.pop()
    if joined:
        joined[-1][0] = joined[-1][0].rstrip()
    return "".join(
        f"\x1b[{style}m{text}\x1b[0m" if color and style else text for text, style in joined
    )


# The axis.


def _head(diagram: Diagram, column: int, chart: int) -> list[list[Piece]]:
    window = diagram.window
    axis = make_axis(window.begin, window.end, window.zone, chart, lambda label: cells(label) + 2)
    days, times = [_EMPTY] * chart, [_EMPTY] * chart
    for span in axis.spans:
        first, last = (int(window.share(each) * chart) for each in (span.begin, span.end))
        name = next((label for label in span.labels if cells(label) < last - first), None)
        if name is not None:
            days[first : first + len(name)] = name
    for tick in axis.ticks:
        place = int(window.share(tick.moment) * chart)
        if place + len(tick.label) <= chart:
            times[place : place + len(tick.label)] = tick.label
    zone = shorten(zone_text(window.zone), column, cells)
    upper = [(_padded(zone, column + 1), _DIM), ("".join(days), _BOLD)]
    lower = [(_EMPTY * (column + 1), ""), ("".join(times), _DIM)]
    return [upper, lower] if axis.spans else [[(upper[0][0], _DIM), lower[1]]]


def _padded(text: str, width: int) -> str:
    return text + _EMPTY * (width - cells(text))


# The rows.


def _body(diagram: Diagram, column: int, chart: int) -> list[list[Piece]]:
    if not diagram.rows:
        return [[(_EMPTY * (column + 1), ""), ("Nothing runs in this time.", _DIM)]]
    window = diagram.window
    colours = colours_of(diagram.types)
    axis = make_axis(window.begin, window.end, window.zone, chart, lambda label: cells(label) + 2)
    ground: list[Piece] = [(_EMPTY, "")] * chart
    for tick in axis.ticks:
        ground[int(window.share(tick.moment) * chart)] = (_TICK, _DIM)
    lines = []
    for row in diagram.rows:
        for lane, drawn in enumerate(_row(row, diagram, ground, colours)):
            label = "" if lane else shorten(row.label, column, cells)
            lines.append([(_padded(label, column + 1), _BOLD), *drawn])
    return lines


def _row(
    row: Row, diagram: Diagram, ground: list[Piece], colours: dict[str, int]
) -> list[list[Piece]]:
    lanes = [list(ground) for _ in range(row.lanes)]
    halves: list[dict[int, str]] = [{} for _ in range(row.lanes)]
    for bar in row.bars:
        style = _style(bar, colours)
        sign = _sign(bar, diagram.heights)
        _draw(bar, diagram.window, lanes[bar.lane], halves[bar.lane], style, sign)
    if diagram.window.shows_now:
        place = int(diagram.window.share(diagram.window.now) * len(ground))
        for lane in lanes:
            lane[place] = (_MARK, _NOW)
    return lanes


def _style(bar: Bar, colours: dict[str, int]) -> str:
    if bar.others:
        return _CROWD
    return f"38;5;{PALETTE[colours[clean(bar.dispatch.type)]].terminal}"


def _sign(bar: Bar, heights: Heights | None) -> str:
    """Return the sign that is as high as a bar: from the bottom, or from the top if negative."""
    number = None if heights is None else number_in(bar.dispatch.payload, heights.key)
    if heights is None or number is None or bar.others or bar.dry_run or bar.overridden:
        return ""
    signs = _NEGATIVE if number < 0 else _LEVELS
    part = abs(number) / (max(-heights.low, heights.high) or 1.0)
    return signs[min(int(part * len(signs)), len(signs) - 1)]


def _draw(
    bar: Bar,
    window: Window,
    lane: list[Piece],
    halves: dict[int, str],
    style: str,
    sign: str,
) -> None:
    """Draw a bar into the cells of its lane; `halves` are the half cells that are taken."""
    size = len(lane)
    first = max(0.0, window.share(max(bar.run.start, window.begin)) * 2 * size)
    if bar.pulse and not bar.others:
        lane[min(int(first) // 2, size - 1)] = (_PULSE, style)
        return
    stop = window.end if bar.run.end is None else min(bar.run.end, window.end)
    left = min(round(first), 2 * size - 1)
    right = max(left + 1, round(window.share(stop) * 2 * size))
    for half in range(left, right):
        halves[half] = style
    for cell in range(left // 2, (right + 1) // 2):
        lane[cell] = (sign or _block(bar, 2 * cell in halves, 2 * cell + 1 in halves), style)
    if bar.endless:
        lane[-1] = (_ENDLESS, style)


def _block(bar: Bar, left: bool, right: bool) -> str:
    if bar.others:
        return _SEVERAL
    if bar.dry_run:
        return _DRY
    if bar.overridden:
        return _PALE
    return _MANY if bar.run.many else _HALVES[left, right]


# The legend.


def _foot(diagram: Diagram, width: int) -> list[list[Piece]]:
    lines: list[list[Piece]] = []
    if diagram.rows:
        lines += [[], *_flow(_legend(diagram), width)]
    if diagram.idle:
        names = f"Not in this time: {', '.join(diagram.idle)}"
        lines.append([(shorten(names, width, cells), _DIM)])
    return lines


def _legend(diagram: Diagram) -> list[list[Piece]]:
    """Return the signs that are in the picture, each with its meaning."""
    bars, heights = list(diagram.bars()), diagram.heights
    plain = [
        bar
        for bar in bars
        if not (bar.others or bar.pulse or bar.dry_run or bar.overridden or _sign(bar, heights))
    ]
    single = "run" if heights is None else f"no {clean(heights.key)}"
    signs = [
        (_HALVES[True, True] * 2, single, any(not bar.run.many for bar in plain)),
        (_MANY * 2, "short runs", any(bar.run.many for bar in plain)),
        (_DRY * 2, "dry run", any(bar.dry_run and not bar.others for bar in bars)),
        (_PALE * 2, "overridden", any(bar.overridden and not bar.others for bar in bars)),
        (_SEVERAL * 2, "too many to tell apart", any(bar.others for bar in bars)),
        (_PULSE, "pulse", any(bar.pulse and not bar.others for bar in bars)),
        (_ENDLESS, "without end", any(bar.endless for bar in bars)),
    ]
    if heights is not None:
        scale = (_LEVELS, clean(str(heights)), True)
        signs[:0] = [scale, (_NEGATIVE, "below 0", heights.low < 0)]
    entries = [[(sign, ""), (f" {meaning}", _DIM)] for sign, meaning, there in signs if there]
    if diagram.window.shows_now:
        now = f" now, {moment_text(diagram.window.now, diagram.window.zone)}"
        entries.append([(_MARK, _NOW), (now, _DIM)])
    return entries


def _flow(entries: list[list[Piece]], width: int) -> list[list[Piece]]:
    """Return the entries in as few lines as possible."""
    lines: list[list[Piece]] = [[]]
    used = 0
    for entry in entries:
        size = sum(cells(text) for text, _ in entry)
        if used and used + 3 + size > width:
            lines.append([])
            used = 0
        if used:
            lines[-1].append((_EMPTY * 3, ""))
            used += 3
        lines[-1] += entry
        used += size
    return lines
