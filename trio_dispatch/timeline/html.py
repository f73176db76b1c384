"""The picture as a page that contains its data, styles and script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from ..model.dispatch import Dispatch
from .details import Details
from .diagram import Bar, Diagram, make_diagram
from .grouping import Grouping
from .heights import Heights, number_in
from .svg import draw_svg
from .ticks import offsets
from .window import Window
from .words import clean, span_text, zone_text

__all__ = ["draw_html"]

_PIXELS = 960
_FINER = 8
_MAX_LANES, _MAX_ROWS, _MAX_BARS = 12, 200, 20_000
_PULSE = 12
_MAX_IDLE = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CUT_LEFT, _CUT_RIGHT, _OVERRIDDEN, _MANY, _PULSES = 1, 2, 4, 8, 16

# The page must not load anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

# The chart is that of the live page.
_STATIC = files("trio_dispatch") / "web" / "static"
_STYLES = ("base.css", "chart.css", "export.css")
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (const (\w+))", re.MULTILINE)


def draw_html(
    dispatches: Sequence[Dispatch], window: Window, grouping: Grouping, height: str | None = None
) -> str:
    """Return the page.  Its data is finer than its picture, for zooming."""
    diagram = _finest_diagram(dispatches, window, grouping, height)
    head = f"What runs, {span_text(window.begin, window.end, window.zone)}"
    parts = {
        "TITLE": escape(head),
        "POLICY": escape(_POLICY),
        "STYLE": "".join((_STATIC / "css" / name).read_text("utf-8") for name in _STYLES),
        "PICTURE": draw_svg(dispatches, window, grouping, _PIXELS, "auto", height),
        "REMARKS": escape(_remarks(diagram)),
        "DATA": _safe_json(_data(diagram)),
        "SCRIPT": _script(),
    }
    pieces = (files(__package__) / "page.html").read_text("utf-8").split("%%")
    # Every second piece is the name of a part.
    return "".join(parts[each] if place % 2 else each for place, each in enumerate(pieces))


def _finest_diagram(
    dispatches: Sequence[Dispatch], window: Window, grouping: Grouping, height: str | None
) -> Diagram:
    """Return a diagram that is finer than the picture, unless it would be too large for a page."""
    diagram = make_diagram(
        dispatches,
        window,
        grouping,
        height=height,
        resolution=window.part(_PIXELS / 3),
        pulse=window.part(_PIXELS / _PULSE),
        max_lanes=_MAX_LANES,
        max_rows=_MAX_ROWS,
        max_bars=_MAX_BARS,
    )
    if _FINER * max(diagram.number_of_bars, len(dispatches)) > _MAX_BARS:
        return diagram
    return make_diagram(
        dispatches,
        window,
        grouping,
        height=height,
        resolution=window.part(_PIXELS * _FINER),
        pulse=window.part(_PIXELS / _PULSE),
        max_lanes=_MAX_LANES,
        max_rows=_MAX_ROWS,
        max_bars=_MAX_BARS,
    )


def _safe_json(data: Any) -> str:
    """Return JSON that cannot end a script element."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _script() -> str:
    """Return the modules of the chart as one script, which needs no other files."""
    modules: dict[str, str] = {}

    def add(name: str) -> None:
        if name in modules:
            return
        source = (_STATIC / "chart" / name).read_text("utf-8")
        for _, other in _IMPORT.findall(source):
            add(other)
        names = ", ".join(name for _, name in _EXPORT.findall(source))
        source = _IMPORT.sub(r'const \1 = modules["\2"];\n', source)
        source = _EXPORT.sub(r"\1", source)
        modules[name] = f'modules["{name}"] = (() => {{\n{source}return {{ {names} }};\n}})();\n'

    add("export.js")
    return f'"use strict";\nconst modules = {{}};\n{"".join(modules.values())}'


def _data(diagram: Diagram) -> dict[str, Any]:
    """Return what the chart shows, in the form in which the live page gets its plan."""
    window = diagram.window
    details = Details(window)
    places: dict[int, int] = {}
    described: list[dict[str, Any]] = []
    for bar in diagram.bars():
        # By identity: the dispatches of a picture may have the same id.
        if id(bar.dispatch) not in places:
            places[id(bar.dispatch)] = len(described)
            described.append(_describe(bar.dispatch, diagram, details))
    return {
        "from": _milliseconds(window.begin),
        "to": _milliseconds(window.end),
        "now": _milliseconds(window.now),
        "by": diagram.grouping.by,
        "zone": zone_text(window.zone),
        "offsets": [
            [_milliseconds(moment), round(offset.total_seconds() * 1000)]
            for moment, offset in offsets(*_extent(diagram), window.zone)
        ],
        "types": [clean(each) for each in diagram.types],
        "height": _height(diagram.heights),
        "dispatches": dict(enumerate(described)),
        "rows": [
            {
                "label": row.label,
                "lanes": row.lanes,
                "bars": [_bar(bar, places[id(bar.dispatch)]) for bar in row.bars],
            }
            for row in diagram.rows
        ],
    }


def _bar(bar: Bar, place: int) -> list[int | None]:
    """Return the number of the dispatch, start, end, lane, flags, and number of merged bars."""
    end = None if bar.run.end is None else _milliseconds(bar.run.end)
    flags = (
        _CUT_LEFT * bar.clipped_left
        | _CUT_RIGHT * bar.clipped_right
        | _OVERRIDDEN * bar.overridden
        | _MANY * bar.run.many
        | _PULSES * bar.dispatch.is_pulse
    )
    return [place, _milliseconds(bar.run.start), end, bar.lane, flags, bar.others]


def _describe(dispatch: Dispatch, diagram: Diagram, details: Details) -> dict[str, Any]:
    heights = diagram.heights
    return {
        "type": clean(dispatch.type),
        "dry_run": dispatch.dry_run,
        "name": diagram.grouping.caption(dispatch),
        "lines": details.of_dispatch(dispatch),
        "height": None if heights is None else number_in(dispatch.payload, heights.key),
    }


def _height(heights: Heights | None) -> dict[str, Any] | None:
    if heights is None:
        return None
    return {"key": clean(heights.key), "min": heights.low, "max": heights.high}


def _remarks(diagram: Diagram) -> str:
    def lines() -> Iterator[str]:
        if diagram.left_out:
            yield f"{diagram.left_out} more rows are not in the picture."
        if diagram.idle:
            yield f"Not in this time: {', '.join(diagram.idle[:_MAX_IDLE])}"

    return "  ".join(lines())


def _extent(diagram: Diagram) -> tuple[datetime, datetime]:
    """Return the range of the times that the page may have to write."""
    begin, end = diagram.window.begin, diagram.window.end
    for bar in diagram.bars():
        begin = min(begin, bar.run.start)
        if bar.run.end is not None:
            end = max(end, bar.run.end)
    return begin, end


def _milliseconds(moment: datetime) -> int:
    return round((moment - _EPOCH).total_seconds() * 1000)
