"""`draw_timeline`: its arguments, and the formats of a picture."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from trio.testing import MockClock

import trio_dispatch
from tests.helpers.drawing import BEGIN, DAY, HOUR, documentation
from trio_dispatch import draw_timeline
from trio_dispatch.clock import VIRTUAL_START
from trio_dispatch.testing import make_dispatch

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - must be refused


async def test_a_day_from_now(autojump_clock: MockClock) -> None:
    end = VIRTUAL_START + DAY
    expected = (
        f"<Timeline of 0 dispatches by type, {VIRTUAL_START.isoformat()} to {end.isoformat()}>"
    )
    assert repr(draw_timeline([])) == expected
    assert "now, Thu 1 Jan 2026, 00:00" in draw_timeline([make_dispatch()]).text(100)


def test_a_day_from_the_begin() -> None:
    berlin = datetime(2026, 6, 15, 2, tzinfo=ZoneInfo("Europe/Berlin"))
    assert repr(draw_timeline([], berlin)) == repr(draw_timeline([], BEGIN, BEGIN + DAY))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"begin": NAIVE}, "begin .* has no time zone"),
        ({"end": NAIVE}, "end .* has no time zone"),
        ({"now": NAIVE}, "now .* has no time zone"),
        ({"begin": "today"}, "begin 'today' is not a datetime"),
        ({"begin": BEGIN, "end": BEGIN}, "is not after begin"),
        ({"begin": datetime(999, 1, 1, tzinfo=UTC)}, "is not within the years 1000 to 8999"),
        ({"begin": datetime(9000, 1, 1, tzinfo=UTC)}, "is not within the years 1000 to 8999"),
        ({"begin": BEGIN, "end": datetime.max.replace(tzinfo=UTC)}, "is after the year 8999"),
        ({"by": "id"}, "by 'id' is not 'type', 'target' or 'component'"),
        ({"time_zone": "Europe/Berlin"}, r"'Europe/Berlin' is not a tzinfo, such as ZoneInfo"),
        ({"dispatches": {1: make_dispatch()}}, r"1 is not a Dispatch: .* pass its values\(\)"),
    ],
)
def test_invalid_arguments_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_timeline(fields.pop("dispatches", []), **fields)


def test_the_last_possible_day() -> None:
    begin = datetime(8999, 12, 31, 12, tzinfo=UTC)
    assert repr(draw_timeline([], begin)).endswith("to 9000-01-01T00:00:00+00:00>")
    picture = draw_timeline([make_dispatch(1, start_time=begin, duration=100 * 365 * DAY)], begin)
    for form in (picture.text, picture.svg, picture.html):
        assert "CHARGE" in form()


@pytest.mark.parametrize("days", [1 / 1440, 8000 * 365])
def test_the_shortest_and_the_longest_window(days: float) -> None:
    begin = datetime(1000, 1, 1, tzinfo=UTC)
    found = documentation().a_day_of_a_microgrid()
    if days < 1:
        begin = BEGIN + 8 * HOUR
    picture = draw_timeline(
        found, begin, begin + timedelta(days=days), time_zone=ZoneInfo("Asia/Tokyo")
    )
    for form in (picture.text, picture.svg, picture.html):
        assert "EV_CHARGING" in form()


def test_a_window_of_a_microsecond() -> None:
    found = documentation().a_day_of_a_microgrid()
    picture = draw_timeline(found, BEGIN, BEGIN + timedelta.resolution)
    for form in (picture.text, picture.svg, picture.html):
        assert "EV_CHARGING" in form()


# Formats.


def test_save(tmp_path: Path) -> None:
    picture = documentation().picture()
    for name, content in (
        ("a.svg", (picture.svg() + "\n").encode()),
        ("a.SVG", (picture.svg() + "\n").encode()),
        ("a.png", picture.png()),
        ("a.html", picture.html().encode()),
        ("a.htm", picture.html().encode()),
        ("a.txt", (picture.text(100) + "\n").encode()),
    ):
        picture.save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == content
    picture.save(str(tmp_path / "b.svg"), 500)
    assert (tmp_path / "b.svg").read_text() == picture.svg(500) + "\n"


@pytest.mark.parametrize(
    ("name", "problem"), [("plan.jpg", "has the suffix '.jpg'"), ("plan", "has no suffix")]
)
def test_an_unknown_suffix_is_refused(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=rf"'{name}' {problem}: give one of \.svg, \.png, \.html"):
        draw_timeline([]).save(name)
    assert not Path(name).exists()


def test_in_a_notebook() -> None:
    picture = documentation().picture()
    assert picture._repr_svg_() == picture.svg()
    frame = picture._repr_html_()
    assert frame.startswith("<iframe srcdoc=")
    assert unescape(frame.split('"')[1]) == picture.html()
    # The frame has no access to the notebook.
    assert 'sandbox="allow-scripts"' in frame
    assert "<" not in frame.split('"')[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 10_001}, "width 10001 is not from 400 to 10,000"),
        ({"theme": "blue"}, "theme 'blue' is not 'auto', 'light' or 'dark'"),
    ],
)
def test_invalid_sizes_and_themes_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_timeline([]).svg(**fields)


def test_drawing_is_imported_when_needed() -> None:
    program = (
        "import sys; from trio_dispatch import draw_timeline; print(sorted("
        "n for n in sys.modules if n.startswith('trio_dispatch.timeline')))"
    )
    command = [sys.executable, "-c", program]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    drawing = {"svg", "html", "text", "png", "diagram", "ticks", "style"}
    assert not drawing & {each.rpartition(".")[2] for each in ast.literal_eval(printed)}
    assert trio_dispatch.draw_timeline is draw_timeline


def test_the_picture_of_the_readme_is_up_to_date() -> None:
    pictures = documentation()
    assert len(pictures.a_day_of_a_microgrid()) == 30
    kept = (pictures.STATIC / "timeline.svg").read_text("utf-8")
    assert kept == pictures.picture().svg(pictures.WIDTH) + "\n"
