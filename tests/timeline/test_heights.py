"""The heights of bars, which follow a number of the payload."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.drawing import BEGIN, DAY, HOUR
from trio_dispatch import Dispatch, draw_timeline
from trio_dispatch.testing import make_dispatch
from trio_dispatch.timeline import Timeline
from trio_dispatch.timeline.heights import heights_of, number_in


def dispatch(id_: int, **payload: Any) -> Dispatch:
    return make_dispatch(
        id_,
        type=f"TYPE{id_:02}",
        start_time=BEGIN + id_ * HOUR,
        duration=2 * HOUR,
        payload=payload,
    )


def day(*found: Dispatch, height: str | None = "power_kw") -> Timeline:
    return draw_timeline(found, BEGIN, BEGIN + DAY, now=BEGIN - DAY, height=height)


def bar_heights(svg: str, kind: str = "c") -> list[float]:
    """The heights of the boxes in which runs are drawn, from top to bottom."""
    boxes = re.findall(rf'<path class="{kind}\d+" d="M[\d.]+ ([\d.]+)H[^V]*V([\d.]+)', svg)
    return [float(last) - float(first) for first, last in boxes]


@pytest.mark.parametrize(
    ("payload", "key", "number"),
    [
        ({"a": 1}, "a", 1),
        ({"a": -2.5}, "a", -2.5),
        ({"a": {"b": 3}}, "a.b", 3),
        ({"a.b": 4, "a": {"b": 3}}, "a.b", 4),
        ({"a": "1"}, "a", None),
        ({"a": True}, "a", None),
        ({"a": None}, "a", None),
        ({}, "a", None),
        ({"a": [1]}, "a.0", None),
    ],
)
def test_numbers_in_payloads(payload: dict[str, Any], key: str, number: float | None) -> None:
    assert number_in(dispatch(1, **payload).payload, key) == number


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_all_bars_share_one_scale_that_includes_zero(numbers: list[float]) -> None:
    found = [dispatch(place, power_kw=number) for place, number in enumerate(numbers, 1)]
    heights = heights_of(found, "power_kw")
    assert heights is not None
    assert heights.low <= 0 <= heights.high
    spans = [heights.span(each) for each in found]
    for number, span in zip(numbers, spans, strict=True):
        assert span is not None
        bottom, top = span
        assert -1e-9 <= bottom <= top <= 1 + 1e-9
        assert (top - bottom > 0) <= (number != 0)
    if heights.high > 0:
        assert max(top for _, top in filter(None, spans)) == pytest.approx(1)
    if heights.low < 0:
        assert min(bottom for bottom, _ in filter(None, spans)) == pytest.approx(0)


def test_svg_bars_are_as_high_as_their_numbers() -> None:
    svg = day(dispatch(1, power_kw=10), dispatch(2, power_kw=5), dispatch(3, power_kw=2)).svg()
    whole, half, fifth = bar_heights(svg)
    assert half == pytest.approx(whole / 2, abs=3)
    assert fifth == pytest.approx(whole / 5, abs=3)
    assert "power_kw, 0 to 10" in svg
    assert "no power_kw" not in svg


def test_a_bar_without_a_number_is_full_and_the_legend_says_so() -> None:
    svg = day(dispatch(1, power_kw=10), dispatch(2, mode="eco")).svg()
    first, second = bar_heights(svg)
    assert first == second
    assert "no power_kw" in svg


def test_without_any_number_the_picture_is_the_usual_one() -> None:
    found = dispatch(1, mode="eco")
    assert day(found).svg() == day(found, height=None).svg()
    assert day(found).text() == day(found, height=None).text()


def test_text_has_blocks_of_eight_heights() -> None:
    text = day(
        dispatch(1, power_kw=10), dispatch(2, power_kw=5), dispatch(3, power_kw=-9), dispatch(4)
    ).text()
    first, second, third, fourth = (
        next(line for line in text.splitlines() if line.startswith(f"TYPE{number:02}"))
        for number in (1, 2, 3, 4)
    )
    assert "██" in first
    assert "▅▅" in second
    assert "▀▀" in third
    assert "▄▄" in fourth
    assert "▂▃▄▅▆▇█ power_kw, -9 to 10" in text
    assert "▔▀ below 0" in text
    assert "▄▄ no power_kw" in text


def test_the_page_has_the_numbers_and_their_scale() -> None:
    html = day(dispatch(1, power_kw=10), dispatch(2, power_kw=-5), dispatch(3)).html()
    data = re.search(r'id="data"[^>]*>(.*?)</script>', html, re.DOTALL)
    assert data is not None
    plan = json.loads(data[1])
    assert plan["height"] == {"key": "power_kw", "min": -5, "max": 10}
    assert [each["height"] for each in plan["dispatches"].values()] == [10, -5, None]


@pytest.mark.parametrize("height", ["", 5])
def test_an_invalid_key_is_refused(height: Any) -> None:
    with pytest.raises(ValueError, match="is not a key of the payload, such as 'power_kw'"):
        draw_timeline([], BEGIN, height=height)
