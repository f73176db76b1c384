"""Rows in columns, and the list that is made of them."""

from __future__ import annotations

import io
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from trio_dispatch import Frequency, RecurrenceRule, TargetIds, Weekday
from trio_dispatch.cli._columns import columns, fitted_columns
from trio_dispatch.cli._show import table_of
from trio_dispatch.clock import VIRTUAL_START
from trio_dispatch.testing import make_dispatch

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)
MON_WED_FRI = (Weekday.MONDAY, Weekday.WEDNESDAY, Weekday.FRIDAY)
HEADING = ("ID", "TYPE", "TARGET")
words = st.text("abc ,日é", max_size=30)


@given(st.lists(st.lists(words, min_size=3, max_size=3), max_size=6))
def test_columns_hold_every_cell(cells: list[list[str]]) -> None:
    rows = [[Text(cell) for cell in row] for row in cells]
    heading, *lines = columns(HEADING, rows)
    assert heading.plain.split() == [*HEADING]
    for row, line in zip(cells, lines, strict=True):
        assert line.plain == line.plain.rstrip()
        for cell in row:
            assert cell.strip() in line.plain
    places = {line.plain.find("TYPE") for line in [heading]}
    assert all(cell_len(row[0]) <= next(iter(places)) for row in cells)


@given(st.lists(st.lists(words, min_size=3, max_size=3), max_size=6), st.integers(30, 100))
def test_within_a_width_no_word_is_lost(cells: list[list[str]], width: int) -> None:
    rows = [[Text(str(number)), *map(Text, row[1:])] for number, row in enumerate(cells)]
    lines = [line.plain for line in fitted_columns(HEADING, rows, width, {"TYPE", "TARGET"})]
    assert all(cell_len(line) <= width for line in lines)
    shown, wanted = (
        sorted("".join(some).replace(" ", ""))
        for some in (lines[2:], [str(i) + "".join(row[1:]) for i, row in enumerate(cells)])
    )
    assert shown == wanted


@pytest.mark.parametrize("width", [40, 60, 79, 80, 100, 200])
def test_a_list_fits_the_terminal(width: int) -> None:
    rule = RecurrenceRule(Frequency.WEEKLY, byweekdays=MON_WED_FRI, byhours=(8, 12))
    dispatches = [
        make_dispatch(1, type="PEAK_SHAVING", target=TargetIds(*range(0, 60, 2)), recurrence=rule),
        make_dispatch(2, duration=None, dry_run=True),
        make_dispatch(3, start_time=VIRTUAL_START + 30 * HOUR),
        make_dispatch(4, start_time=VIRTUAL_START - 30 * HOUR),
        make_dispatch(5, active=False),
        make_dispatch(6, recurrence=RecurrenceRule(Frequency.MONTHLY, bymonthdays=(30,),
                                                   bymonths=(2,))),
    ]  # fmt: skip
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    text = table_of(dispatches, VIRTUAL_START, BERLIN, console).plain
    assert all(cell_len(line) <= width for line in text.split("\n"))
    for word in ("ID", "WHEN", "now", "over,", "inactive", "never", "tomorrow", "07:00"):
        assert word in text
    assert ("RECURS" in text) == (width >= 80)
    assert ("* recurs" in text) == (width < 80)
