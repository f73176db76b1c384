"""The chart in a real browser: exported pages, and what its modules compute."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
from playwright.sync_api import Browser, Route, expect
from playwright.sync_api import Page as BrowserPage

from tests.helpers.browsing import Errors, chromium, violations
from tests.helpers.drawing import BEGIN, NASTY, documentation
from trio_dispatch import Dispatch, draw_timeline
from trio_dispatch.testing import make_dispatch
from trio_dispatch.text.records import read_record, record_of
from trio_dispatch.timeline.colours import PALETTE, colours_of
from trio_dispatch.timeline.ticks import offsets

STATIC = files("trio_dispatch") / "web" / "static"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[BrowserPage]:
    errors = Errors()
    found = browser.new_page(viewport={"width": 1000, "height": 600})
    errors.watch(found)
    yield found
    found.close()
    assert not errors, "\n".join(errors)


@pytest.fixture
def modules(page: BrowserPage) -> BrowserPage:
    """A page that can import the modules, of a site that exists in the browser only."""

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix("http://page.test/")
        if not path:
            route.fulfill(body="<!doctype html>", content_type="text/html")
            return
        kind = mimetypes.guess_type(path)[0] or "text/plain"
        route.fulfill(body=(STATIC / path).read_text("utf-8"), content_type=kind)

    page.route("http://page.test/**", answer)
    page.goto("http://page.test/")
    return page


# Exported pages.


def test_an_exported_page_zooms_searches_and_is_operable(page: BrowserPage, tmp_path: Path) -> None:
    found = [
        *documentation().a_day_of_a_microgrid(),
        *(make_dispatch(n, type=name, start_time=BEGIN) for n, name in enumerate(NASTY, 900)),
    ]
    picture = draw_timeline(found, BEGIN, BEGIN + DAY, now=BEGIN + 9 * HOUR)
    picture.save(tmp_path / "plan.html")
    page.goto((tmp_path / "plan.html").as_uri())
    labels = page.locator(".chart-label")
    assert set(labels.all_text_contents()) > {"EV_CHARGING", "RESERVE"}
    expect(page.locator("#picture")).to_be_hidden()
    expect(page.locator("#legend")).to_contain_text("dry run")
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".chart .unseen")).not_to_be_empty()
    page.get_by_role("button", name="Zoom in").click()
    page.keyboard.press("0")
    page.get_by_role("searchbox").fill("EV_CHARGING")
    expect(labels).to_have_text(["EV_CHARGING"])
    page.get_by_role("searchbox").fill("no such text")
    expect(page.locator(".chart-message")).to_have_text("Nothing contains this.")
    assert not violations(page)
    page.emulate_media(media="print")
    expect(page.locator("#picture")).to_be_visible()
    expect(page.locator("#chart")).to_be_hidden()


def test_an_exported_page_shows_the_picture_without_javascript(
    browser: Browser, tmp_path: Path
) -> None:
    draw_timeline([make_dispatch(1, start_time=BEGIN)], BEGIN, BEGIN + DAY, now=BEGIN).save(
        tmp_path / "plan.html"
    )
    page = browser.new_page(java_script_enabled=False)
    page.goto((tmp_path / "plan.html").as_uri())
    expect(page.locator("#picture svg")).to_be_visible()
    expect(page.locator("#chart")).to_be_hidden()
    expect(page.get_by_role("button")).to_have_count(0)
    page.close()


# What the modules compute, compared with Python.


def test_types_have_the_colours_of_the_pictures(modules: BrowserPage) -> None:
    types = [f"TYPE_{n}" for n in range(14)] + ["CHARGE", "Größe", "<b>", ""]
    palette, colours = modules.evaluate(
        """async types => {
            const { PALETTE, coloursOf } = await import("/chart/palette.js");
            return [PALETTE, Object.fromEntries(coloursOf(types))];
        }""",
        types,
    )
    assert palette == [[c.light, c.light_ink, c.dark, c.dark_ink] for c in PALETTE]
    assert colours == colours_of(types)
    assert modules.evaluate(
        'async types => Object.fromEntries((await import("/chart/palette.js")).coloursOf(types))',
        types[:4],
    ) == colours_of(types[:4])


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
)
def test_offsets_are_those_of_the_zone(name: str, modules: BrowserPage) -> None:
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    expected = [
        [round(max(moment, begin).timestamp() * 1000), round(offset.total_seconds() * 1000)]
        for moment, offset in offsets(begin, end, ZoneInfo(name))
    ]
    found: list[list[int]] = modules.evaluate(
        """async ([name, begin, end]) => {
            const { zoneByName } = await import("/chart/zone.js");
            return zoneByName(name).offsets(begin, end);
        }""",
        [name, begin.timestamp() * 1000, end.timestamp() * 1000],
    )
    found[0][0] = max(found[0][0], expected[0][0])
    assert found == expected


RULES = [
    {"frequency": "daily"},
    {"frequency": "hourly", "interval": 5},
    {"frequency": "minutely", "interval": 90},
    {"frequency": "weekly", "byweekdays": ["mon", "thu"]},
    {"frequency": "weekly", "interval": 2, "byweekdays": ["wed"], "byhours": [7]},
    {"frequency": "daily", "byhours": [6, 18], "byminutes": [0]},
    {"frequency": "daily", "byhours": [7], "byminutes": [30]},
    {"frequency": "monthly", "bymonthdays": [15]},
    {"frequency": "monthly"},
    {"frequency": "yearly"},
    {"frequency": "daily", "byweekdays": ["sat", "sun"], "end_criteria": {"count": 9}},
]
SHIFTS = [HOUR, -HOUR, timedelta(minutes=45), DAY, -DAY, DAY + 2 * HOUR, 20 * HOUR]


def shifted(record: dict[str, Any], start: datetime, rule: dict[str, Any] | None) -> Dispatch:
    return read_record(
        record | {"recurrence": rule, "start_time": f"{start:%Y-%m-%dT%H:%M:%SZ}"}, zone=UTC
    )


@pytest.mark.parametrize(
    "fields", RULES, ids=lambda fields: "-".join(sorted(fields)) + fields["frequency"]
)
def test_a_moved_rule_gives_the_moved_occurrences(
    fields: dict[str, Any], modules: BrowserPage
) -> None:
    first = datetime(2027, 3, 1, 7, 30, tzinfo=UTC)  # a Monday
    record = record_of(make_dispatch(1, start_time=first, duration=HOUR))
    dispatch = read_record(record | {"recurrence": fields}, zone=UTC)
    rule = record_of(dispatch)["recurrence"]
    starts = [first]
    while len(starts) < 8 and (after := dispatch.first_after(starts[-1])):
        starts.append(after)
    starts = starts[1:]
    milliseconds = [round(each.timestamp() * 1000) for each in starts]
    moved = 0
    for shift in SHIFTS:
        after = modules.evaluate(
            """async ([rule, from, to]) => {
                const { movedRule } = await import("/app/moving.js");
                try { return movedRule(rule, from, to); } catch (error) { return error.message; }
            }""",
            [rule, milliseconds[0], milliseconds[0] + round(shift.total_seconds() * 1000)],
        )
        if isinstance(after, str):
            assert "edit the rule instead" in after
            continue
        new = shifted(record, starts[0] + shift, after)
        times: list[datetime] = []
        at = new.first_after(starts[0] + shift, inclusive=True)
        while at is not None and len(times) < len(starts):
            times.append(at)
            at = new.first_after(at)
        assert times[:5] == [each + shift for each in starts][:5], (fields, shift)
        moved += 1
    assert moved
