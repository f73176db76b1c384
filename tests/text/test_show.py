"""Dispatches for people: tables that fit, and text that is safe to show."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.helpers.random_dispatches import dispatches
from trio_dispatch import Dispatch, Frequency, RecurrenceRule, TargetIds, Weekday
from trio_dispatch.clock import VIRTUAL_START
from trio_dispatch.testing import make_dispatch
from trio_dispatch.text.show import (
    Cell,
    columns,
    fitted_columns,
    format_details,
    format_headline,
    format_table,
)

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)
MON_WED_FRI = (Weekday.MONDAY, Weekday.WEDNESDAY, Weekday.FRIDAY)
HEADING = ("ID", "TYPE", "TARGET")
words = st.text("abc ,日é", max_size=30)


def plain(text: str, _: str) -> str:
    return text


@given(st.lists(st.lists(words, min_size=3, max_size=3), max_size=6))
def test_columns_hold_every_cell(cells: list[list[str]]) -> None:
    rows = [[Cell(cell) for cell in row] for row in cells]
    heading, *lines = columns(HEADING, rows, plain)
    assert heading.split() == [*HEADING]
    for row, line in zip(cells, lines, strict=True):
        assert line == line.rstrip()
        for cell in row:
            assert cell.strip() in line
    assert all(cell_len(row[0]) <= heading.find("TYPE") for row in cells)


@given(st.lists(st.lists(words, min_size=3, max_size=3), max_size=6), st.integers(30, 100))
def test_fitted_columns_lose_no_word(cells: list[list[str]], width: int) -> None:
    rows = [[Cell(str(number)), *map(Cell, row[1:])] for number, row in enumerate(cells)]
    lines = fitted_columns(HEADING, rows, plain, width, {"TYPE", "TARGET"})
    assert all(cell_len(line) <= width for line in lines)
    shown, wanted = (
        sorted("".join(some).replace(" ", ""))
        for some in (lines[2:], [str(i) + "".join(row[1:]) for i, row in enumerate(cells)])
    )
    assert shown == wanted


@pytest.mark.parametrize("width", [40, 60, 79, 80, 100, 200])
def test_a_table_fits_the_terminal(width: int) -> None:
    rule = RecurrenceRule(Frequency.WEEKLY, byweekdays=MON_WED_FRI, byhours=(8, 12))
    never = RecurrenceRule(Frequency.MONTHLY, bymonthdays=(30,), bymonths=(2,))
    some = [
        make_dispatch(1, type="PEAK_SHAVING", target=TargetIds(*range(0, 60, 2)), recurrence=rule),
        make_dispatch(2, duration=None, dry_run=True),
        make_dispatch(3, start_time=VIRTUAL_START + 30 * HOUR),
        make_dispatch(4, start_time=VIRTUAL_START - 30 * HOUR),
        make_dispatch(5, active=False),
        make_dispatch(6, recurrence=never),
    ]
    text = format_table(some, VIRTUAL_START, BERLIN, plain, width)
    assert all(cell_len(line) <= width for line in text.split("\n"))
    for word in ("ID", "WHEN", "now", "over,", "inactive", "never", "tomorrow", "07:00"):
        assert word in text
    assert ("RECURS" in text) == (width >= 80)
    assert ("* recurs" in text) == (width < 80)


@given(dispatches(), st.none() | st.integers(40, 200))
def test_control_characters_are_never_shown(dispatch: Dispatch, width: int | None) -> None:
    table = format_table([dispatch], VIRTUAL_START, BERLIN, plain, width)
    details = format_details(dispatch, VIRTUAL_START, BERLIN, plain)
    shown = table + details + format_headline(dispatch)
    assert all(char.isprintable() for char in shown.replace("\n", ""))
    if width is None:
        assert table.count("\n") == 1
