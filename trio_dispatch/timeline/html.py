"""The picture as a page that contains its data, styles and script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any

from ..model.dispatch import Dispatch
from .colours import colours_of
from .details import Details
from .diagram import Bar, Diagram, make_diagram
from .grouping import Grouping
from .style import NEUTRAL, definitions, style_sheet
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
_SCRIPTS = ("axis.js", "page.js")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DRY, _MANY, _PULSES, _OVERRIDDEN = 1, 2, 4, 8

# The page must not load anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def draw_html(dispatches: Sequence[Dispatch], window: Window, grouping: Grouping) -> str:
    """Return the page.  Its data is finer than its picture, for zooming."""
    diagram = _finest_diagram(dispatches, window, grouping)
    colours = colours_of(diagram.types)
    numbers = {NEUTRAL, *colours.values()}
    paints = {(kind, number) for kind in ("dry", "many", "endless") for number in numbers}
    head = f"What runs, {span_text(window.begin, window.end, window.zone)}"
    own = files(__package__)
    parts = {
        "TITLE": escape(head),
        "POLICY": escape(_POLICY),
        "STYLE": (own / "page.css").read_text("utf-8")
        + style_sheet(".chart", colours.values(), "auto"),
        "PICTURE": draw_svg(dispatches, window, grouping, _PIXELS, "auto"),
        "PAINTS": definitions("p-", paints),
        "DATA": _safe_json(_data(diagram, colours)),
        "SCRIPT": "".join((own / name).read_text("utf-8") for name in _SCRIPTS),
    }
    pieces = (own / "page.html").read_text("utf-8").split("%%")
    # Every second piece is the name of a part.
    return "".join(parts[each] if place % 2 else each for place, each in enumerate(pieces))


def _finest_diagram(dispatches: Sequence[Dispatch], window: Window, grouping: Grouping) -> Diagram:
    """Return a diagram that is finer than the picture, unless it would be too large for a page."""
    diagram = make_diagram(
        dispatches,
        window,
        grouping,
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


def _data(diagram: Diagram, colours: dict[str, int]) -> dict[str, Any]:
    window = diagram.window
    details = Details(window)
    places: dict[int, int] = {}
    described: list[dict[str, Any]] = []
    for bar in diagram.bars():
        if id(bar.dispatch) not in places:
            places[id(bar.dispatch)] = len(described)
            described.append(_describe(bar.dispatch, diagram, details, colours))
    return {
        "begin": _seconds(window.begin),
        "end": _seconds(window.end),
        "now": _seconds(window.now),
        "zone": zone_text(window.zone),
        "offsets": [
            [_seconds(moment), offset.total_seconds()]
            for moment, offset in offsets(*_extent(diagram), window.zone)
        ],
        "rows": [
            {
                "label": row.label,
                "lanes": row.lanes,
                "bars": [_bar(bar, places[id(bar.dispatch)]) for bar in row.bars],
            }
            for row in diagram.rows
        ],
        "dispatches": described,
        "colours": _legend(diagram, colours),
        "left_out": diagram.left_out,
        "idle": list(diagram.idle[:_MAX_IDLE]),
    }


def _bar(bar: Bar, place: int) -> list[float | None]:
    """Return lane, start, end, number of the dispatch, flags, and number of merged bars."""
    end = None if bar.run.end is None else _seconds(bar.run.end)
    kind = (
        _DRY * bar.dry_run
        | _MANY * bar.run.many
        | _PULSES * bar.dispatch.is_pulse
        | _OVERRIDDEN * bar.overridden
    )
    return [bar.lane, _seconds(bar.run.start), end, place, kind, bar.others]


def _describe(
    dispatch: Dispatch, diagram: Diagram, details: Details, colours: dict[str, int]
) -> dict[str, Any]:
    return {
        "colour": colours[clean(dispatch.type)],
        "name": diagram.grouping.caption(dispatch),
        "lines": details.of_dispatch(dispatch),
    }


def _legend(diagram: Diagram, colours: dict[str, int]) -> list[tuple[int, str]]:
    """Return the colours of the types, unless the rows are types."""
    if diagram.grouping.by == "type":
        return []
    shown = {clean(bar.dispatch.type) for bar in diagram.bars()}
    return [(colours[name], name) for name in diagram.types if name in shown]


def _extent(diagram: Diagram) -> tuple[datetime, datetime]:
    """Return the range of the times that the page may have to write."""
    begin, end = diagram.window.begin, diagram.window.end
    for bar in diagram.bars():
        begin = min(begin, bar.run.start)
        if bar.run.end is not None:
            end = max(end, bar.run.end)
    return begin, end


def _seconds(moment: datetime) -> float:
    seconds = (moment - _EPOCH).total_seconds()
    return int(seconds) if seconds.is_integer() else seconds
