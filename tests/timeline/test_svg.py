"""The picture as SVG."""

from __future__ import annotations

import re
from datetime import timedelta
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.counting import calls
from tests.helpers.drawing import (
    BEGIN,
    DAY,
    HOUR,
    NASTY,
    dispatches,
    documentation,
    minutely,
)
from trio_dispatch import Dispatch, TargetIds, draw_timeline
from trio_dispatch.testing import make_dispatch
from trio_dispatch.timeline import Timeline
from trio_dispatch.timeline.colours import PALETTE, colours_of

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def titles(svg: str) -> list[str]:
    return [title.text or "" for title in parse(svg).iter(f"{SVG}title")]


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in parse(svg).iter(f"{SVG}text")]


def day(found: list[Dispatch], **fields: object) -> Timeline:
    return draw_timeline(found, BEGIN, BEGIN + DAY, **({"now": BEGIN} | fields))  # type: ignore[arg-type]


def test_a_bar_with_a_tooltip_for_each_run() -> None:
    found = documentation().a_day_of_a_microgrid()
    svg = day(found, time_zone=ZoneInfo("Europe/Berlin")).svg()
    said = titles(svg)
    # Every run of the day; the short runs of the heat pump are one bar.
    assert len(said) == 30
    assert said[0].splitlines() == [
        "BATTERY_CHARGE #1",
        "time: Mon 15 Jun 2026, 03:00 to 06:30",
        "duration: 3h30m",
        "target: battery",
        'payload: {"power_kw": 40}',
        "recurs: every day at 01:00 UTC",
        "next: Mon 15 Jun 2026, 03:00",
    ]
    assert sum("dry run" in each.splitlines()[0] for each in said) == 2
    assert sum("many runs one after the other" in each for each in said) == 1
    assert sum("without end" in each for each in said) == 1
    assert {"dry run", "many short runs", "without end", "pulse"} <= set(texts(svg))


def test_positions_of_bars() -> None:
    found = [make_dispatch(n, start_time=BEGIN + n * 6 * HOUR, duration=6 * HOUR) for n in range(4)]
    svg = day(found, now=BEGIN - DAY).svg(1000)
    bars = [bar for bar in parse(svg).iter(f"{SVG}g") if bar.get("class") == "bar"]
    edges = []
    for bar in bars:
        shape = bar.find(f"{SVG}path")
        assert shape is not None
        xs = [float(x) for x in re.findall(r"[MH](-?[\d.]+)", shape.get("d", ""))]
        edges.append((min(xs) - 3, max(xs) + 3))
    left, right = edges[0][0], edges[-1][1]
    assert right == pytest.approx(1000 - 16, abs=0.2)
    for number, (first, last) in enumerate(edges):
        assert first == pytest.approx(left + number * (right - left) / 4, abs=0.2)
        assert last == pytest.approx(left + (number + 1) * (right - left) / 4, abs=0.2)


@pytest.mark.parametrize("by", ["type", "target"])
def test_text_from_dispatches_is_inert(by: str) -> None:
    found = [
        make_dispatch(n, type=name, start_time=BEGIN, payload={"<b>": name})
        for n, name in enumerate(NASTY)
    ]
    svg = day(found, by=by).svg()
    svg.encode()
    root = parse(svg)
    names = {each.tag.removeprefix(SVG) for each in root.iter()}
    assert names <= {"svg", "style", "path", "rect", "text", "g", "title", "defs"}
    assert not any(name.startswith("on") for each in root.iter() for name in each.attrib)
    assert any("<script>alert(1)</script>" in title for title in titles(svg))


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_light_and_dark(theme: str) -> None:
    svg = day([make_dispatch(1, start_time=BEGIN)]).svg(theme=theme)  # type: ignore[arg-type]
    style = parse(svg).find(f"{SVG}style")
    assert style is not None
    rules = style.text or ""
    assert ("prefers-color-scheme:dark" in rules) == (theme == "auto")
    assert ("#ffffff" in rules) == (theme != "dark")
    assert ("#0e141b" in rules) == (theme != "light")


def test_pictures_in_one_page_share_no_styles() -> None:
    dry = make_dispatch(1, start_time=BEGIN, dry_run=True)
    other = make_dispatch(2, type="OTHER", start_time=BEGIN, dry_run=True)
    one, two = day([dry]).svg(), day([other]).svg()
    for svg, foreign in ((one, two), (two, one)):
        ids = {each.get("id") for each in parse(svg).iter() if each.get("id")}
        assert ids
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) == ids
        assert not any(f'id="{each}"' in foreign for each in ids)
        scope = parse(svg).get("class")
        assert f".{scope} " in svg
        assert f".{scope} " not in foreign
    assert day([dry]).svg() == one


@given(dispatches(), st.integers(400, 2000), st.sampled_from(["type", "target"]))
def test_random_pictures_stay_within_their_size(found: list[Dispatch], width: int, by: str) -> None:
    svg = day(found, by=by).svg(width)
    root = parse(svg)
    assert root.get("width") == str(width)
    height = float(root.get("height", ""))
    for bar in root.iter(f"{SVG}path"):
        for x in re.findall(r"[MH](-?[\d.]+)", bar.get("d", "")):
            assert 0 <= float(x) <= width
    for text in root.iter(f"{SVG}text"):
        assert 0 < float(text.get("y", "")) < height


def test_long_names_are_shortened_and_complete_in_the_tooltip() -> None:
    name = "A_TYPE_WITH_A_VERY_LONG_NAME_THAT_GOES_ON_AND_ON"
    svg = day([make_dispatch(1, type=name, start_time=BEGIN)]).svg()
    (label,) = [each for each in texts(svg) if each.startswith("A_TYPE")]
    assert label.endswith("…")
    assert len(label) < len(name)
    assert name in titles(svg)


def test_now_hides_no_label() -> None:
    svg = day([make_dispatch(1, start_time=BEGIN)], now=BEGIN + 10.2 * HOUR).svg()
    assert "now 10:12" in texts(svg)
    assert "10:00" not in texts(svg)
    outside = day([make_dispatch(1, start_time=BEGIN)], now=BEGIN + 2 * DAY).svg()
    assert "now" not in " ".join(texts(outside))


def test_rows_beyond_the_limit_are_counted() -> None:
    found = [make_dispatch(n, type=f"T{n}", start_time=BEGIN) for n in range(230)]
    assert "30 more rows are not in the picture." in texts(day(found).svg())


def test_no_dispatches() -> None:
    assert "Nothing runs in this time." in texts(day([]).svg())
    idle = day([make_dispatch(1, type="<OFF>", active=False)]).svg()
    assert "Not in this time: <OFF>" in texts(idle)


# Cost.


@pytest.mark.parametrize("days", [1, 31, 365])
def test_the_size_is_bounded_by_the_width(days: int) -> None:
    found = [minutely(n, type=f"T{n}") for n in range(3)]
    svg = draw_timeline(found, BEGIN, BEGIN + days * DAY, now=BEGIN).svg()
    assert len(svg) < 30_000


def month(number: int) -> Timeline:
    """A month of many dispatches: their rules are those of the documentation."""
    rules = [each.recurrence for each in documentation().a_day_of_a_microgrid()]
    found = [
        make_dispatch(
            n,
            type=f"T{n % 20}",
            start_time=BEGIN + n * timedelta(minutes=7),
            recurrence=rules[n % len(rules)],
            target=TargetIds(n % 40),
        )
        for n in range(number)
    ]
    return draw_timeline(found, BEGIN, BEGIN + 31 * DAY, now=BEGIN)


def test_a_month_of_a_thousand_dispatches() -> None:
    assert len(month(1000).svg()) < 6_000_000


def test_the_work_grows_with_the_dispatches_and_no_faster() -> None:
    small, large = (calls(month(number).svg) for number in (60, 240))
    assert large < 6 * small


# Colours.


@given(st.sets(st.text(max_size=8), max_size=30))
def test_colours(names: set[str]) -> None:
    found = colours_of(names)
    assert set(found) == names
    assert len(set(found.values())) == min(len(names), len(PALETTE))
    # The order of the names does not matter.
    assert colours_of(sorted(names, reverse=True)) == found
    # A type keeps a colour that no other type chooses.
    alone = {name: colours_of([name])[name] for name in names}
    for name, number in alone.items():
        if list(alone.values()).count(number) == 1:
            assert found[name] == number


def test_a_name_keeps_its_colour() -> None:
    assert colours_of(["CHARGE", "DISCHARGE", "HEAT"]) == KEPT
    assert colours_of(["HEAT"])["HEAT"] == KEPT["HEAT"]


KEPT = {"CHARGE": 4, "DISCHARGE": 8, "HEAT": 6}


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_text_on_bars_has_enough_contrast() -> None:
    for colour in PALETTE:
        assert contrast(colour.light, colour.light_ink) >= 4.5
        assert contrast(colour.dark, colour.dark_ink) >= 4.5
        assert contrast(colour.light, "#ffffff") >= 2
        assert contrast(colour.dark, "#0e141b") >= 4
