"""The picture as text."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.helpers.drawing import (
    BEGIN,
    DAY,
    HOUR,
    NASTY,
    dispatches,
    documentation,
    minutely,
)
from trio_dispatch import Dispatch, Frequency, RecurrenceRule, draw_timeline
from trio_dispatch.testing import make_dispatch

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def draw(
    found: list[Dispatch], width: int = 40, now: datetime = BEGIN + HOUR, **fields: object
) -> list[str]:
    picture = draw_timeline(found, BEGIN, BEGIN + DAY, now=now, **fields)  # type: ignore[arg-type]
    return picture.text(width).splitlines()


def test_what_runs_when() -> None:
    rule = RecurrenceRule(Frequency.HOURLY, interval=4)
    found = [
        make_dispatch(1, start_time=BEGIN + 2 * HOUR, duration=2 * HOUR),
        make_dispatch(2, start_time=BEGIN + 3 * HOUR, duration=2 * HOUR),
        make_dispatch(3, type="PULSE", start_time=BEGIN + 4 * HOUR, duration=timedelta()),
        make_dispatch(4, type="SHORT", start_time=BEGIN, duration=HOUR / 10, recurrence=rule),
        make_dispatch(5, type="ENDLESS", start_time=BEGIN + 20 * HOUR, duration=None),
        make_dispatch(6, type="OFF", start_time=BEGIN, active=False),
        make_dispatch(7, type="DRY", start_time=BEGIN + 3 * HOUR, duration=6 * HOUR, dry_run=True),
        minutely(8, type="MANY"),
        make_dispatch(9, type="BEFORE", start_time=BEGIN - 9 * HOUR, duration=15 * HOUR),
    ]
    assert draw(found, 56) == [
        "UTC     Mon 15 Jun 2026",
        "        00:00       06:00       12:00       18:00",
        "BEFORE  ▄▄│▄▄▄▄▄▄▄▄▄·           ·           ·",
        "CHARGE  · │ ▄▄▄▄    ·           ·           ·",
        "        · │   ▄▄▄▄  ·           ·           ·",
        "DRY     · │   ░░░░░░░░░░░░      ·           ·",
        "ENDLESS · │         ·           ·           ·   ▄▄▄▄▄▄▄▶",
        "MANY    ▖▖│▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖▖",
        "PULSE   · │     ◆   ·           ·           ·",
        "SHORT   ▖ │     ▖   ·   ▖       ▖       ▖   ·   ▖",
        "",
        "▄▄ run   ▖▖ short runs   ░░ dry run   ◆ pulse",
        "▶ without end   │ now, Mon 15 Jun 2026, 01:00",
        "Not in this time: OFF",
    ]


def test_more_runs_at_once_than_lanes() -> None:
    found = [make_dispatch(n, start_time=BEGIN + n * HOUR, duration=9 * HOUR) for n in range(9)]
    lines = draw(found, now=BEGIN - DAY)
    assert lines[2:6] == [
        "CHARGE ▄▄▄▄▄▄▄▄▄▄▄▄▖   ·       ·",
        "       ·▗▄▄▄▄▄▄▄▄▄▄▄▄  ·       ·",
        "       ·  ▄▄▄▄▄▄▄▄▄▄▄▄ ·       ·",
        "       ·   ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓·",
    ]
    assert "▓▓ too many to tell apart" in lines[-1]


def test_days_in_a_time_zone() -> None:
    found = [make_dispatch(1, start_time=BEGIN + 10 * HOUR)]
    lines = draw(found, 80, time_zone=ZoneInfo("Asia/Tokyo"))
    assert lines[0].split("  ")[0] == "Asia/Tokyo Mon 15 Jun 2026"
    assert "Tue 16 Jun" in lines[0]
    # 10:00 UTC is 19:00 there.
    assert lines[1].index("18:00") < lines[2].index("▄") < lines[1].index("21:00")


def test_no_dispatches() -> None:
    assert draw([])[2] == "     Nothing runs in this time."
    lines = draw([make_dispatch(1, start_time=BEGIN - DAY)])
    assert lines[2:] == ["       Nothing runs in this time.", "Not in this time: CHARGE"]


@pytest.mark.parametrize("width", [40, 57, 80, 200])
@pytest.mark.parametrize("by", ["type", "target"])
@pytest.mark.parametrize("days", [0.001, 1, 31, 3653])
def test_lines_keep_to_the_width(width: int, by: str, days: float) -> None:
    found = documentation().a_day_of_a_microgrid()
    found += [make_dispatch(100 + n, type=t, start_time=BEGIN) for n, t in enumerate(NASTY)]
    found += [make_dispatch(200, type="x" * 500, start_time=BEGIN, active=False)]
    picture = draw_timeline(found, BEGIN, BEGIN + days * DAY, now=BEGIN, by=by)  # type: ignore[arg-type]
    text = picture.text(width)
    for line in text.splitlines():
        assert cell_len(line) <= width
    # No control character reaches the terminal.
    assert not set(text) & set(map(chr, [*range(10), *range(11, 32), 0x7F, 0x9B, 0x202E]))
    coloured = picture.text(width, color=True)
    assert ANSI.sub("", coloured) == text
    assert coloured.count("\x1b[0m") > 20


@given(dispatches(), st.integers(40, 120))
def test_random_pictures(found: list[Dispatch], width: int) -> None:
    lines = draw(found, width)
    rows = lines[2 : lines.index("")] if "" in lines else []
    names = {line[0] for line in rows} - {" "}
    shown = [each for each in found if any(each.running_at(BEGIN + m * HOUR) for m in range(24))]
    assert {each.type for each in shown} <= names
    assert all(len(line) <= width for line in lines)


def test_a_width_below_40_is_refused() -> None:
    with pytest.raises(ValueError, match="width 39 is less than 40"):
        draw([], 39)
