"""Draws what runs when, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from rich.text import Text

from ..dispatch import Dispatch

__all__ = ["draw_timeline"]

_FULL, _PART, _OVERLAP, _PULSE, _EMPTY = "█", "░", "▓", "◆", "·"
_TICKS = [
    timedelta(seconds=s)
    for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
]


def draw_timeline(
    dispatches: Iterable[Dispatch],
    begin: datetime,
    end: datetime,
    *,
    now: datetime | None = None,
    width: int = 80,
) -> list[Text]:
    """A row for each type, its runs as bars from `begin` to `end`; `now` is marked by a line.

    Where runs fill less than half of a cell it is pale, where several dispatches of the type run at
    once it is hatched; a pulse is a diamond.
    """
    rows: dict[str, list[Dispatch]] = {}
    for dispatch in dispatches:
        rows.setdefault(dispatch.type, []).append(dispatch)
    label = max([len(name) for name in rows] + [3]) + 1
    cells = max(width - label, 20)
    scale = _Scale(begin, end, cells)
    mark = scale.cell(now) if now is not None and begin <= now < end else None
    lines = [Text(" " * label) + _axis(scale)]
    for name in sorted(rows):
        bar = _row(rows[name], scale)
        line = Text(f"{name:<{label}}", style="bold")
        for number, cell in enumerate(bar):
            style = "red" if number == mark else "dim" if cell == _EMPTY else "green"
            line.append("│" if number == mark else cell, style)
        lines.append(line)
    return lines


class _Scale:
    def __init__(self, begin: datetime, end: datetime, cells: int) -> None:
        self.begin, self.end, self.cells = begin, end, cells
        self.step = (end - begin) / cells

    def cell(self, moment: datetime) -> int:
        return int((moment - self.begin) / self.step)


def _row(dispatches: list[Dispatch], scale: _Scale) -> list[str]:
    row = [_EMPTY] * scale.cells
    for dispatch in dispatches:
        for number, share in enumerate(_shares(dispatch, scale)):
            if share == 0 or row[number] == _PULSE:
                continue
            new = _PULSE if share < 0 else _FULL if share >= 0.5 else _PART
            row[number] = new if row[number] == _EMPTY or new == _PULSE else _OVERLAP
    return row


def _shares(dispatch: Dispatch, scale: _Scale) -> list[float]:
    """What share of each cell is run; -1 where there is a pulse."""
    shares = [0.0] * scale.cells
    for start, end in runs(dispatch, scale.begin, scale.end):
        first = max(start, scale.begin)
        if start == end:
            shares[scale.cell(first)] = -1
            continue
        last = scale.end if end is None else min(end, scale.end)
        for number in range(scale.cell(first), scale.cells):
            cell = scale.begin + number * scale.step
            if cell >= last:
                break
            shares[number] += (min(last, cell + scale.step) - max(first, cell)) / scale.step
    return shares


def runs(
    dispatch: Dispatch, begin: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime | None]]:
    """The runs that touch an interval, as starts and ends; an end of None is none."""
    if not dispatch.active or dispatch.deleted:
        return
    start = dispatch.run_at(begin)
    if start is not None:
        yield start, dispatch.end_of(start)
    start = dispatch.next_run_after(begin) if start != begin else dispatch.first_after(begin)
    while start is not None and start < end:
        yield start, dispatch.end_of(start)
        start = dispatch.first_after(start)


def _axis(scale: _Scale) -> Text:
    """Times at round moments, as many as there is room for."""
    form = "%H:%M:%S" if scale.end - scale.begin < timedelta(minutes=10) else "%H:%M"
    room = len(scale.begin.strftime(form)) + 2
    tick = next((t for t in _TICKS if t / scale.step >= room), timedelta(days=1))
    midnight = scale.begin.replace(hour=0, minute=0, second=0, microsecond=0)
    moment = midnight + ((scale.begin - midnight) // tick + 1) * tick
    line = [" "] * scale.cells
    while moment < scale.end:
        text = moment.strftime(form)
        place = scale.cell(moment)
        if place + len(text) <= scale.cells:
            line[place : place + len(text)] = text
        moment += tick
    return Text("".join(line), style="dim")
