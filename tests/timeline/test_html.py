"""The picture as a page."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

from tests.helpers.drawing import BEGIN, DAY, HOUR, NASTY, documentation, minutely
from trio_dispatch import Dispatch, draw_timeline
from trio_dispatch.testing import make_dispatch

VOID = {"meta", "input"}


class Page(HTMLParser):
    """A page: its elements, and the content of its scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])


def draw(found: list[Dispatch], days: float = 1, **fields: Any) -> str:
    return draw_timeline(found, BEGIN, BEGIN + days * DAY, now=BEGIN + HOUR, **fields).html()


def test_the_page_loads_nothing() -> None:
    source = draw(documentation().a_day_of_a_microgrid())
    page = Page(source)
    assert len(page.scripts) == 2
    for _, attributes in page.tags:
        assert not {"src", "href", "xlink:href", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert set(re.findall(r"https?://[^\s\"'<]+", source)) == {"http://www.w3.org/2000/svg"}
    (policy,) = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "%%" not in source
    # Without a script it shows the picture, and no controls that would do nothing.
    assert ("div", {"id": "picture"}) in page.tags
    hidden = [attributes for _, attributes in page.tags if "hidden" in attributes]
    assert {a.get("id") or a.get("class") for a in hidden} == {"controls", "chart", "keys"}


def test_the_script_needs_no_other_file() -> None:
    (script,) = Page(draw([])).scripts[1:]
    assert not re.search(r"^\s*(?:import|export)\b", script, re.MULTILINE)
    used = set(re.findall(r"= modules\[\"([\w-]+\.js)\"\];", script))
    defined = set(re.findall(r"^modules\[\"([\w-]+\.js)\"\] = ", script, re.MULTILINE))
    assert {*used, "export.js"} == defined


def test_the_data_of_the_page() -> None:
    found = [
        make_dispatch(7, start_time=BEGIN - HOUR, duration=3 * HOUR, payload={"kw": 5}),
        make_dispatch(8, type="B", start_time=BEGIN + HOUR, duration=None, dry_run=True),
        make_dispatch(9, type="OFF", active=False),
    ]
    data = Page(draw(found, time_zone=ZoneInfo("Europe/Berlin"))).data
    begin, hour = round(BEGIN.timestamp() * 1000), 3_600_000
    assert (data["from"], data["to"], data["now"]) == (begin, begin + 24 * hour, begin + hour)
    assert data["zone"] == "Europe/Berlin"
    assert data["offsets"] == [[begin - hour, 2 * hour]]
    assert data["types"] == ["B", "CHARGE", "OFF"]
    assert [row["label"] for row in data["rows"]] == ["B", "CHARGE"]
    assert data["rows"][0]["bars"] == [[0, begin + hour, None, 0, 2, 0]]
    assert data["rows"][1]["bars"] == [[1, begin - hour, begin + 2 * hour, 0, 1, 0]]
    assert [each["dry_run"] for each in data["dispatches"].values()] == [True, False]
    assert data["dispatches"]["1"]["lines"] == [
        ["", "CHARGE #7"],
        ["duration", "3h"],
        ["target", "1"],
        ["payload", '{"kw": 5}'],
    ]


def test_what_does_not_run_is_below_the_picture() -> None:
    found = [make_dispatch(1, type="<off>", active=False)]
    assert "Not in this time: &lt;off&gt;</p>" in draw(found)


def test_a_change_of_offset_is_in_the_data() -> None:
    begin = datetime(2026, 10, 20, tzinfo=UTC)
    picture = draw_timeline(
        [], begin, begin + 10 * DAY, now=begin, time_zone=ZoneInfo("Europe/Berlin")
    )
    changed = datetime(2026, 10, 25, 1, tzinfo=UTC)
    assert Page(picture.html()).data["offsets"] == [
        [begin.timestamp() * 1000, 7_200_000],
        [changed.timestamp() * 1000, 3_600_000],
    ]


def test_text_from_dispatches_is_inert() -> None:
    found = [
        make_dispatch(n, type=name, start_time=BEGIN, payload={name: 1})
        for n, name in enumerate(NASTY)
    ]
    for by in ("type", "target"):
        page = Page(draw(found, by=by))
        assert len(page.scripts) == 2
        assert "<" not in page.scripts[0]
        heads = {each["lines"][0][1] for each in page.data["dispatches"].values()}
        assert "<script>alert(1)</script> #0" in heads
        assert "</script><!-- #1" in heads


def test_the_data_is_finer_than_the_picture() -> None:
    every = [row["bars"] for row in Page(draw([minutely()])).data["rows"]]
    assert len(every[0]) == 1440
    # But not any number.
    assert len(draw([minutely(n, type=f"T{n}") for n in range(100)])) < 4_000_000
    assert len(draw([minutely(n, type=f"T{n}") for n in range(5)], days=3650)) < 300_000


def test_no_dispatches() -> None:
    assert Page(draw([])).data["rows"] == []
