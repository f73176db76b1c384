"""The picture as SVG, written without a library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from html import escape
from zlib import crc32

from ..model.dispatch import Dispatch
from .colours import Theme, colours_of
from .details import Details
from .diagram import Bar, Diagram, Row, make_diagram
from .grouping import Grouping
from .style import NEUTRAL, definitions, style_sheet
from .ticks import Axis, make_axis
from .window import Window
from .words import WIDEST, clean, moment_text, pixels, shorten, span_text, zone_text

__all__ = ["draw_svg", "svg_height"]

_EDGE = 16.0
_GAP = 12.0
_TOP = 58.0
_INDENT = 4.0
_ROW_EDGE = 6.0
_MAX_LABEL = 190.0
_MAX_LANES, _MAX_ROWS, _MAX_BARS = 12, 200, 20_000
_MANY_BARS = 3_000
_LEAST = 3.0
"""The least pixels of a bar and the gap after it."""
_PULSE = 12.0
_LEGEND = 20.0

_LABEL, _TEXT, _INNER = 12.5, 11.0, 10.5


def _text_width(text: str) -> float:
    """Return the greatest width of a small text in any common font."""
    return pixels(text, _TEXT) * WIDEST


def _label_width(text: str) -> float:
    return pixels(text, _LABEL) * 1.05


@dataclass(frozen=True, slots=True)
class _Layout:
    """The horizontal layout.  The chart is between `left` and `right`."""

    width: float
    left: float
    right: float
    window: Window

    def x(self, moment: datetime) -> float:
        moment = min(max(moment, self.window.begin), self.window.end)
        return self.left + (self.right - self.left) * self.window.share(moment)


def draw_svg(
    dispatches: Sequence[Dispatch],
    window: Window,
    grouping: Grouping,
    width: int,
    theme: Theme,
    height: str | None = None,
) -> str:
    """Return the picture as an SVG document, which may also stand in an HTML page."""
    diagram, layout = _lay_out(dispatches, window, grouping, width, height)
    chart = layout.right - layout.left
    axis = make_axis(
        window.begin, window.end, window.zone, chart, lambda label: _text_width(label) + 14
    )
    painter = _Painter(diagram, layout)
    body = [*painter.grid(axis), *painter.rows(), *painter.now(), *painter.foot()]
    content = "".join(body)
    # Pictures in one page must not use each other's styles and patterns.
    prefix = f"t{crc32((content + theme).encode()):08x}"
    bottom = painter.height
    name = f"What runs, {span_text(window.begin, window.end, window.zone)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{prefix}" viewBox="0 0 {width} {bottom:g}"'
        f' width="{width}" height="{bottom:g}" style="max-width:100%;height:auto" role="img"'
        f' aria-label="{escape(name)}">'
        f"<style>{style_sheet(f'.{prefix}', painter.colours.values(), theme)}</style>"
        f"{definitions(prefix, painter.paints)}"
        f'<path class="ground" d="M0 0h{width}v{bottom:g}H0z"/>'
        f"{content.replace('url(#', f'url(#{prefix}')}</svg>"
    )


def svg_height(
    dispatches: Sequence[Dispatch],
    window: Window,
    grouping: Grouping,
    width: int = 960,
    *,
    height: str | None = None,
) -> int:
    """Return the height of the picture, in pixels."""
    diagram, layout = _lay_out(dispatches, window, grouping, width, height)
    painter = _Painter(diagram, layout)
    for _ in (*painter.rows(), *painter.foot()):
        pass
    return round(painter.height)


def _lay_out(
    dispatches: Sequence[Dispatch],
    window: Window,
    grouping: Grouping,
    width: int,
    height: str | None,
) -> tuple[Diagram, _Layout]:
    labels = {label for each in dispatches for label in grouping.labels(each)}
    zone = zone_text(window.zone)
    longest = max([*map(_label_width, labels), _text_width(zone), 40.0])
    left = _EDGE + min(longest, _MAX_LABEL) + _GAP
    layout = _Layout(float(width), left, width - _EDGE, window)
    chart = layout.right - layout.left
    diagram = make_diagram(
        dispatches,
        window,
        grouping,
        height=height,
        resolution=window.part(chart / _LEAST),
        pulse=window.part(chart / _PULSE),
        max_lanes=_MAX_LANES,
        max_rows=_MAX_ROWS,
        max_bars=_MAX_BARS,
    )
    return diagram, layout


class _Painter:
    """Paints the picture from top to bottom.

    Attributes:
      colours: The colour of each type that is in the picture.
      paints: The patterns and gradients used so far, each with its colour.
      height: The height painted so far.
    """

    def __init__(self, diagram: Diagram, layout: _Layout) -> None:
        self._diagram = diagram
        self._layout = layout
        self._details = Details(diagram.window)
        self._brief = diagram.number_of_bars > _MANY_BARS
        shown = {clean(bar.dispatch.type) for bar in diagram.bars()}
        every = colours_of(diagram.types)
        self.colours = {name: every[name] for name in diagram.types if name in shown}
        self.paints: set[tuple[str, int]] = set()
        self._bottom = _TOP + (sum(map(self._row_height, diagram.rows)) or 40)
        self.height = self._bottom

    # The axis.

    def grid(self, axis: Axis) -> Iterator[str]:
        layout, window = self._layout, self._diagram.window
        top = _TOP
        for number, row in enumerate(self._diagram.rows):
            if number % 2 == 0:
                yield _rect("band", 0, top, layout.width, self._row_height(row))
            top += self._row_height(row)
        zone = shorten(zone_text(window.zone), _MAX_LABEL, _text_width)
        lower, upper = 46, 25 if axis.spans else 46
        yield _text("muted", _EDGE, lower, zone)
        taken = self._now_room()
        for tick in axis.ticks:
            x = layout.x(tick.moment)
            yield _line("line", x, _TOP - 6, self._bottom)
            end = x + _INDENT + _text_width(tick.label)
            if end <= layout.right + 8 and not (x < taken[1] and end > taken[0]):
                yield _text("muted", x + _INDENT, lower, tick.label)
        for span in axis.spans:
            first, last = layout.x(span.begin), layout.x(span.end)
            if span.begin != window.begin:
                yield _line("strong", first, 15, self._bottom)
            names = (each for each in span.labels if _text_width(each) * 1.12 + 8 < last - first)
            name = next(names, None)
            if name is not None:
                yield _text("ink span", first + _INDENT, upper, name)

    def _now_room(self) -> tuple[float, float]:
        """Return the left and right end of the label of the present."""
        window = self._diagram.window
        if not (window.shows_now and self._diagram.rows):
            return 0.0, 0.0
        half = _text_width(self._now_label()) / 2 + 6
        middle = self._layout.x(window.now)
        middle = min(max(middle, self._layout.left + half - 6), self._layout.right - half)
        return middle - half, middle + half

    def _now_label(self) -> str:
        local = moment_text(self._diagram.window.now, self._diagram.window.zone)
        return f"now {local.rpartition(', ')[2]}"

    def now(self) -> Iterator[str]:
        first, last = self._now_room()
        if first < last:
            x = self._layout.x(self._diagram.window.now)
            yield f'<path class="now" stroke-width="1.5" d="M{x:g} {_TOP - 9:g}V{self._bottom:g}"/>'
            yield (
                f'<rect class="now" x="{first:.1f}" y="33" width="{last - first:.1f}" '
                f'height="18" rx="9"/>'
            )
            middle = f'text-anchor="middle" class="nowtext" x="{(first + last) / 2:.1f}"'
            yield f'<text {middle} y="46">{self._now_label()}</text>'

    # The rows.

    def rows(self) -> Iterator[str]:
        top = _TOP
        for row in self._diagram.rows:
            height = self._row_height(row)
            yield self._row_label(row, top + height / 2 + 4.5)
            lane, gap = self._lane_sizes(row)
            for bar in row.bars:
                yield self._bar(bar, top + _ROW_EDGE + bar.lane * (lane + gap), lane)
            top += height
        if not self._diagram.rows:
            yield _text("muted", self._layout.left, _TOP + 22, "Nothing runs in this time.")

    def _row_height(self, row: Row) -> float:
        lane, gap = self._lane_sizes(row)
        return row.lanes * (lane + gap) - gap + 2 * _ROW_EDGE

    def _lane_sizes(self, row: Row) -> tuple[float, float]:
        """Return the height of a lane, and of the gap below it."""
        tall = 1.0 if self._diagram.heights is None else 1.5
        if row.lanes <= 4:
            return 18.0 * tall, 3.0
        return (13.0 * tall, 2.0) if row.lanes <= 8 else (9.0 * tall, 2.0)

    def _row_label(self, row: Row, y: float) -> str:
        room = self._layout.left - _GAP - _EDGE
        shown, length = _fitted(row.label, room, _LABEL)
        title = ""
        if shown != row.label:
            title = f"<title>{escape(shorten(row.label, 500, len))}</title>"
        place = f'class="ink label" x="{_EDGE:g}" y="{y:g}"{length}'
        return f"<text {place}>{escape(shown)}{title}</text>"

    def _bar(self, bar: Bar, y: float, height: float) -> str:
        title = f"<title>{escape(self._details.title(bar, self._brief))}</title>"
        number = self.colours[clean(bar.dispatch.type)]
        if bar.pulse and not bar.others:
            shape, text = self._diamond(bar, y + height / 2, min(height / 2, 6.5), number), ""
        else:
            shape, text = self._box(bar, y, height, number)
        style = "bar pale" if bar.overridden else "bar"
        return f'<g class="{style}">{title}{shape}{text}</g>'

    def _diamond(self, bar: Bar, y: float, half: float, number: int) -> str:
        x = self._layout.x(bar.run.start)
        paint = self._paint(bar, number)
        sides = f"l{half:g} {half:g}-{half:g} {half:g}-{half:g}-{half:g}z"
        return f'<path {paint} d="M{x:.1f} {y - half:g}{sides}"/>'

    def _box(self, bar: Bar, y: float, height: float, number: int) -> tuple[str, str]:
        layout = self._layout
        first = layout.x(bar.run.start)
        last = layout.right if bar.run.end is None else layout.x(bar.run.end)
        last = min(max(last, first + _LEAST - 1), layout.right)
        first = min(first, last - _LEAST + 1)
        shape = ""
        top, size = y, height
        heights = self._diagram.heights
        span = None if heights is None or bar.others else heights.span(bar.dispatch)
        if bar.dispatch.is_pulse and not bar.others:
            top, size = y + height * 0.3, height * 0.4
        elif span is not None and span != (0.0, 1.0):
            # The whole height of the lane, pale, shows how much there could be.
            whole = _outline(bar, first, last, y, height)
            shape = f'<path class="c{number}" fill-opacity=".18" d="{whole}"/>'
            size = max(_LEAST - 1, height * (span[1] - span[0]))
            top = min(y + height * (1 - span[1]), y + height - size)
        shape += f'<path {self._paint(bar, number)} d="{_outline(bar, first, last, top, size)}"/>'
        text = self._inner_text(bar)
        room = last - first - 11 - (8 if bar.endless else 0)
        shown, length = _fitted(text, room, _INNER) if height >= 15 else ("", "")
        if not shown or (shown != text and len(shown) < 6):
            return shape, ""
        plain = size == height and not (bar.dry_run or bar.run.many or bar.overridden)
        ink = f"t{number}" if plain else "nowtext" if bar.others else "over"
        return shape, _text(ink, first + 6, y + height / 2 + 3.8, shown, length)

    def _inner_text(self, bar: Bar) -> str:
        if bar.others:
            return f"{bar.others + 1} in one"
        return self._diagram.grouping.caption(bar.dispatch)

    def _paint(self, bar: Bar, number: int) -> str:
        """Return the attributes that fill a bar."""
        if bar.others:
            return 'class="crowd"'
        kind = (
            "dry" if bar.dry_run else "many" if bar.run.many else "endless" if bar.endless else ""
        )
        if not kind:
            return f'class="c{number}"'
        self.paints.add((kind, number))
        stroke = f' class="s{number}"' if bar.dry_run else ""
        return f'fill="url(#{kind}{number})"{stroke}'

    # The legend.

    def foot(self) -> Iterator[str]:
        layout = self._layout
        x, y = layout.left, self._bottom + 24
        for sign, meaning in self._entries():
            end = x + 26 + _text_width(meaning)
            if end > layout.right and x > layout.left:
                x, y = layout.left, y + _LEGEND
                end = x + 26 + _text_width(meaning)
            yield f'<g transform="translate({x:.1f} {y - 9:g})">{sign}</g>'
            yield _text("muted", x + 26, y, shorten(meaning, layout.right - x - 26, _text_width))
            x = end + 18
        if x > layout.left:
            y += _LEGEND
        room = layout.right - layout.left
        for line in self._remarks():
            yield _text("muted", layout.left, y, shorten(line, room, _text_width))
            y += _LEGEND
        self.height = y - _LEGEND + 16

    def _entries(self) -> Iterator[tuple[str, str]]:
        """Return the signs that are in the picture, 20 by 10 pixels, each with its meaning."""
        bars = list(self._diagram.bars())
        if self._diagram.grouping.by != "type":
            for name, number in self.colours.items():
                yield f'<rect class="c{number}" width="20" height="10" rx="3"/>', name
        heights = self._diagram.heights
        if heights is not None:
            stairs = "M0 7h6v3H0zM7 4h6v6H7zM14 0h6v10h-6z"
            yield f'<path class="c{NEUTRAL}" d="{stairs}"/>', clean(str(heights))
            if not heights.complete:
                yield f'<path class="c{NEUTRAL}" d="M0 0h20v10H0z"/>', f"no {clean(heights.key)}"
        for kind, meaning, there in (
            ("dry", "dry run", any(bar.dry_run and not bar.others for bar in bars)),
            ("many", "many short runs", any(bar.run.many and not bar.others for bar in bars)),
            ("endless", "without end", any(bar.endless for bar in bars)),
        ):
            if there:
                self.paints.add((kind, NEUTRAL))
                form = "M0 0h14l6 5-6 5H0z" if kind == "endless" else "M0 0h20v10H0z"
                stroke = f' class="s{NEUTRAL}"' if kind == "dry" else ""
                yield f'<path fill="url(#{kind}{NEUTRAL})"{stroke} d="{form}"/>', meaning
        if any(bar.pulse and not bar.others for bar in bars):
            yield f'<path class="c{NEUTRAL}" d="M10-1l6 6-6 6-6-6z"/>', "pulse"
        if any(bar.overridden for bar in bars):
            pale = f'<g class="pale"><path class="c{NEUTRAL}" d="M0 0h20v10H0z"/></g>'
            yield pale, "overridden"
        if any(bar.others for bar in bars):
            yield '<path class="crowd" d="M0 0h20v10H0z"/>', "too many to tell apart"

    def _remarks(self) -> Iterator[str]:
        if self._diagram.left_out:
            yield f"{self._diagram.left_out} more rows are not in the picture."
        if self._diagram.idle:
            yield f"Not in this time: {', '.join(self._diagram.idle[:100])}"


def _outline(bar: Bar, first: float, last: float, y: float, height: float) -> str:
    """Return a box: round at its ends, straight where it is cut off, an arrow if it has no end."""
    corner = min(3.0, (last - first) / 3, height / 2)
    left = 0.0 if bar.clipped_left else corner
    right = 0.0 if bar.clipped_right else corner
    tip = min(8.0, (last - first) / 2) if bar.endless else 0.0
    bottom = y + height
    edge = (
        f"L{last:.1f} {y + height / 2:g}L{last - tip:.1f} {bottom:g}"
        if bar.endless
        else f"q{right:g} 0 {right:g} {right:g}V{bottom - right:g}q0 {right:g}-{right:g} {right:g}"
    )
    return (
        f"M{first + left:.1f} {y:g}H{last - right - tip:.1f}{edge}"
        f"H{first + left:.1f}q-{left:g} 0-{left:g}-{left:g}V{y + left:g}"
        f"q0-{left:g} {left:g}-{left:g}z"
    )


def _rect(style: str, x: float, y: float, width: float, height: float) -> str:
    return f'<path class="{style}" d="M{x:g} {y:g}h{width:g}v{height:g}h-{width:g}z"/>'


def _line(style: str, x: float, top: float, bottom: float) -> str:
    return f'<path class="{style}" d="M{x:.1f} {top:g}V{bottom:g}"/>'


def _text(style: str, x: float, y: float, text: str, length: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:g}"{length}>{escape(text)}</text>'


def _fitted(text: str, room: float, size: float) -> tuple[str, str]:
    """Return as much of a text as the room allows, and attributes that limit its length.

    The attributes are needed where a wider font could make the text too long.
    """
    width = partial(pixels, size=size * 1.05)
    if width(text) * WIDEST <= room:
        return text, ""
    shown = shorten(text, room, width)
    if not shown.removesuffix("…").isascii():
        return shorten(text, room / WIDEST, width), ""
    return shown, f' textLength="{width(shown):.1f}" lengthAdjust="spacingAndGlyphs"'
