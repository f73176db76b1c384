"""Rows in columns, quickly also for ten thousand of them.

A `rich.table.Table` can do much more, and takes seconds for so many.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

__all__ = ["columns", "fitted_columns"]

_GAP = 2
_LEAST = 7
_CONSOLE = Console(markup=False)  # of no meaning, but asked for


def columns(heading: Sequence[str], rows: Sequence[Sequence[Text]]) -> list[Text]:
    """A line for the heading and for each row, as long as it needs to be.

    The first column is aligned to the right.
    """
    widths = _widths(heading, rows)
    return [_line([Text(name, "bold") for name in heading], widths)] + [
        _line(row, widths) for row in rows
    ]


def fitted_columns(
    heading: Sequence[str], rows: Sequence[Sequence[Text]], width: int, shrinking: Collection[str]
) -> list[Text]:
    """The same within a width: cells of the columns that may shrink go over several lines."""
    widths = _widths(heading, rows)
    may_shrink = [number for number, name in enumerate(heading) if name in shrinking]
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        widest = max(may_shrink, key=lambda number: widths[number])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    lines = [_line([Text(name, "bold") for name in heading], widths)]
    lines.append(Text("─" * min(width, sum(widths) + _GAP * (len(widths) - 1)), "dim"))
    for row in rows:
        cells = [_wrapped(cell, room) for cell, room in zip(row, widths, strict=True)]
        lines += [_line(parts, widths) for parts in zip_longest(*cells, fillvalue=Text())]
    return lines


def _widths(heading: Sequence[str], rows: Sequence[Sequence[Text]]) -> list[int]:
    widths = [*map(cell_len, heading)]
    for row in rows:
        for number, cell in enumerate(row):
            widths[number] = max(widths[number], cell_len(cell.plain))
    return widths


def _wrapped(cell: Text, width: int) -> list[Text]:
    if cell_len(cell.plain) <= width:
        return [cell]
    return [*cell.wrap(_CONSOLE, width, overflow="fold")]


def _line(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text(no_wrap=True)
    padding = 0
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        room = width - cell_len(cell.plain)
        # The padding before the first, and that of each cell only before the next: none at the end.
        line.append(" " * (room if number == 0 else padding + _GAP))
        line.append_text(cell)
        padding = 0 if number == 0 else room
    line.rstrip()
    return line
