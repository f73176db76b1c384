"""Dispatches for people: a table that fits the terminal, one in detail, or one in a few words.

What comes from a service is shown without control characters.  A style is a function that paints a
text, see `Settings.paint`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, tzinfo
from itertools import zip_longest
from typing import NamedTuple

from rich.cells import cell_len, chop_cells

from ..model.dispatch import Dispatch
from ..model.formatting import format_duration, format_target
from ..model.recurrence.description import describe_rule
from .records import payload_json, plain
from .safe import dump_json, printable
from .times import format_moment, format_near

Paint = Callable[[str, str], str]

_WHOLE = ("ID", "TYPE", "TARGET", "START", "DURATION", "RECURS", "STATE", "NEXT RUN", "PAYLOAD")
_FITTED = ("ID", "TYPE", "TARGET", "WHEN", "FOR", "RECURS")
_NARROW = 80
_LEAST_PAYLOAD, _BRIEF_PAYLOAD = 14, 40


class Cell(NamedTuple):
    """A text in a table, and its style."""

    text: str
    style: str = ""


def format_name(dispatch: Dispatch) -> str:
    """Return the type of a dispatch, and whether it is a dry run."""
    return printable(dispatch.type) + (" (dry run)" if dispatch.dry_run else "")


def format_headline(dispatch: Dispatch) -> str:
    """Return what a dispatch is, in a few words."""
    target = format_target(dispatch.target) or "nothing"
    dry_run = " (dry run)" if dispatch.dry_run else ""
    return f"#{dispatch.id} {printable(dispatch.type)} on {target}{dry_run}"


def describe_recurrence(dispatch: Dispatch, zone: tzinfo) -> str:
    """Return how a dispatch recurs, in words; hours are in UTC, the end is in the zone."""
    rule = dispatch.effective_recurrence
    text = describe_rule(rule, dispatch.start_time, lambda moment: format_moment(moment, zone))
    return printable(text)


def format_details(dispatch: Dispatch, now: datetime, zone: tzinfo, paint: Paint) -> str:
    """Return all fields of a dispatch, a line each."""
    run = dispatch.next_run_after(now) if dispatch.active else None
    rows = {
        "target": format_target(dispatch.target) or "none",
        "start": format_moment(dispatch.start_time, zone),
        "duration": format_duration(dispatch.duration),
        "recurs": describe_recurrence(dispatch, zone) or "no",
        "payload": payload_json(dispatch),
        "state": paint(*_state(dispatch, now, zone)),
        "next run": "none" if run is None else format_near(run, now, zone),
        "created": format_moment(dispatch.create_time.replace(microsecond=0), zone),
        "updated": format_moment(dispatch.update_time.replace(microsecond=0), zone),
    }
    if dispatch.end_time is not None:
        rows["ends"] = format_moment(dispatch.end_time, zone)
    rows["zone"] = str(zone)
    first = f"{paint(f'#{dispatch.id}', 'bold')} {paint(printable(dispatch.type), 'bold cyan')}"
    lines = [first + (f"  {paint('dry run', 'yellow')}" if dispatch.dry_run else "")]
    lines += [f"{paint(f'  {name:<9}', 'dim')} {text}" for name, text in rows.items()]
    return "\n".join(lines)


def format_table(
    dispatches: Sequence[Dispatch],
    now: datetime,
    zone: tzinfo,
    paint: Paint,
    width: int | None,
    *,
    wide: bool = False,
) -> str:
    """Return a table, a row for each dispatch.

    Args:
      width: The columns of a terminal: the narrower it is, the fewer columns there are, and long
        cells take several lines.  None is for a file: each row is one line.
      wide: Whether each row is one line, and complete, whatever the width; otherwise a long payload
        is cut.
    """
    if width is None or wide:
        rows = [_whole_row(dispatch, now, zone, wide) for dispatch in dispatches]
        return "\n".join(columns(_WHOLE, rows, paint))
    narrow = width < _NARROW
    heading: tuple[str, ...] = _FITTED[:5] if narrow else _FITTED
    rows = [_fitted_row(dispatch, now, zone, narrow) for dispatch in dispatches]
    payloads = [] if narrow else [brief_payload(dispatch) for dispatch in dispatches]
    if any(payloads):
        rest = width - sum(_widths(heading, rows)) - _GAP * len(heading)
        room = max(rest, _LEAST_PAYLOAD)
        for row, payload in zip(rows, payloads, strict=True):
            row.append(Cell(cut(payload, room), "dim"))
        heading = (*heading, "PAYLOAD")
    lines = fitted_columns(heading, rows, paint, width, {"TYPE", "TARGET", "WHEN", "RECURS"})
    if narrow:
        lines.append(paint("* recurs; a wider terminal shows how", "dim"))
    return "\n".join(lines)


def _type_cell(dispatch: Dispatch) -> Cell:
    return Cell(format_name(dispatch), "yellow" if dispatch.dry_run else "cyan")


def _state(dispatch: Dispatch, now: datetime, zone: tzinfo) -> Cell:
    """Whether a dispatch runs now, waits, is over, or does not run at all."""
    if not dispatch.active:
        return Cell("inactive", "dim")
    if dispatch.running_at(now):
        until = dispatch.until_at(now)
        end = "" if until is None else f" until {format_near(until, now, zone)}"
        return Cell(f"runs{end}", "bold green")
    if dispatch.next_run_after(now) is None:
        never = dispatch.recurrence is not None and dispatch.recurrence.problem is not None
        return Cell("never runs", "red") if never else Cell("over", "dim")
    return Cell("waits")


def brief_payload(dispatch: Dispatch) -> str:
    """Return a payload in a few words: ``power_kw=5, mode=eco``."""
    parts = []
    for name, value in dispatch.payload.items():
        text = value if isinstance(value, str) else dump_json(plain(value))
        parts.append(f"{name}={text}")
    return printable(", ".join(parts))


def cut(text: str, width: int) -> str:
    """Return as much of a text as fits into a width."""
    if cell_len(text) <= width:
        return text
    return f"{chop_cells(text, max(width - 1, 1))[0]}…"


def _whole_row(dispatch: Dispatch, now: datetime, zone: tzinfo, wide: bool) -> list[Cell]:
    run = dispatch.next_run_after(now) if dispatch.active else None
    return [
        Cell(str(dispatch.id)),
        _type_cell(dispatch),
        Cell(format_target(dispatch.target)),
        Cell(format_moment(dispatch.start_time, zone)),
        Cell(format_duration(dispatch.duration)),
        Cell(describe_recurrence(dispatch, zone)),
        _state(dispatch, now, zone),
        Cell("" if run is None else format_moment(run, zone)),
        Cell(
            (payload_json(dispatch) if dispatch.payload else "")
            if wide
            else cut(brief_payload(dispatch), _BRIEF_PAYLOAD)
        ),
    ]


def _fitted_row(dispatch: Dispatch, now: datetime, zone: tzinfo, narrow: bool) -> list[Cell]:
    length = format_duration(dispatch.duration)
    rule = describe_recurrence(dispatch, zone).replace(",", ", ")
    row = [
        Cell(str(dispatch.id)),
        _type_cell(dispatch),
        Cell(format_target(dispatch.target).replace(",", ", ")),
        _when(dispatch, now, zone),
    ]
    if narrow:
        return [*row, Cell(f"{length} *" if rule else length)]
    return [*row, Cell(length), Cell(rule)]


def _when(dispatch: Dispatch, now: datetime, zone: tzinfo) -> Cell:
    """When a dispatch runs next, or until when it runs now, or when it ran last."""

    def near(moment: datetime) -> str:
        return format_near(moment, now, zone, seconds=False)

    if not dispatch.active:
        return Cell("inactive", "dim")
    if dispatch.running_at(now):
        until = dispatch.until_at(now)
        return Cell("now" if until is None else f"now, until {near(until)}", "bold green")
    run = dispatch.next_run_after(now)
    if run is not None:
        return Cell(near(run))
    last = dispatch.last_start(now)
    return Cell("never", "red") if last is None else Cell(f"over, was {near(last)}", "dim")


# Columns.  A rich.table.Table takes four seconds for ten thousand rows.

_GAP = 2
_LEAST = 7

Row = Sequence[Cell]


def columns(heading: Sequence[str], rows: Sequence[Row], paint: Paint) -> list[str]:
    """Return a line for the heading and for each row; the first column is aligned to the right."""
    widths = _widths(heading, rows)
    head = [Cell(name, "bold") for name in heading]
    return [_line(row, widths, paint) for row in (head, *rows)]


def fitted_columns(
    heading: Sequence[str],
    rows: Sequence[Row],
    paint: Paint,
    width: int,
    shrinking: Collection[str],
) -> list[str]:
    """Return the same within a width: long cells of the shrinking columns take several lines."""
    widths = _widths(heading, rows)
    gaps = _GAP * (len(widths) - 1)
    may_shrink = [number for number, name in enumerate(heading) if name in shrinking]
    while sum(widths) + gaps > width:
        widest = max(may_shrink, key=lambda number: widths[number])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    lines = [_line([Cell(name, "bold") for name in heading], widths, paint)]
    lines.append(paint("─" * min(width, sum(widths) + gaps), "dim"))
    for row in rows:
        cells = [
            [Cell(part, cell.style) for part in _wrap(cell.text, room)]
            for cell, room in zip(row, widths, strict=True)
        ]
        lines += [_line(parts, widths, paint) for parts in zip_longest(*cells, fillvalue=Cell(""))]
    return lines


def _widths(heading: Sequence[str], rows: Sequence[Row]) -> list[int]:
    widths = [*map(cell_len, heading)]
    for row in rows:
        for number, cell in enumerate(row):
            widths[number] = max(widths[number], cell_len(cell.text))
    return widths


def _wrap(text: str, width: int) -> list[str]:
    """Lines of whole words, unless a word alone is too wide."""
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            first, *more = chop_cells(word, width) or [""]
            lines[-1:] = [first, *more] if not lines[-1] else [lines[-1], first, *more]
    return lines


def _line(cells: Row, widths: Sequence[int], paint: Paint) -> str:
    parts = []
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        padding = " " * (width - cell_len(cell.text))
        text = paint(cell.text, cell.style)
        parts.append(padding + text if number == 0 else text + padding)
    # The padding of the last cells is dropped: colours end before it.
    return (" " * _GAP).join(parts).rstrip()
