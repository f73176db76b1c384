"""The live page in a real browser, as people use it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.helpers.browsing import ZONE, Errors, chromium, log_in, violations
from tests.helpers.live_page import HOUR, MICROGRID, READ_KEY, WRITE_KEY, LivePage, live_page
from trio_dispatch import Dispatch, Frequency, RecurrenceRule, TargetIds, Weekday, clock

DAY = 24 * HOUR
NASTY = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(browser: Browser) -> Iterator[LivePage]:
    with live_page() as found:
        yield found


@pytest.fixture
def errors() -> Iterator[Errors]:
    found = Errors()
    yield found
    assert not found, "\n".join(found)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    found = browser.new_context(viewport={"width": 1280, "height": 760}, timezone_id=ZONE)
    found.set_default_timeout(10_000)
    yield found
    found.close()


@pytest.fixture
def visit(context: BrowserContext, site: LivePage, errors: Errors) -> Callable[..., Page]:
    def visit(view: str = "plan", key: str = WRITE_KEY) -> Page:
        log_in(context, site.url, key)
        page = context.new_page()
        errors.watch(page)
        page.goto(f"{site.url}#/{view}")
        expect(page.locator("#live")).to_have_text("Live")
        return page

    return visit


def row(page: Page, dispatch: Dispatch) -> Locator:
    """The link of a dispatch in the list."""
    name = f"{dispatch.type} #{dispatch.id}"
    return page.locator("table.list").get_by_role("link", name=name, exact=True)


def details(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Details of a dispatch")


def confirm(page: Page, name: str) -> None:
    page.locator("dialog.confirm").get_by_role("button", name=name).click()
    expect(page.locator("dialog")).to_have_count(0)


def in_service(site: LivePage, dispatch: Dispatch) -> Dispatch:
    return site.run(site.client.get, MICROGRID, dispatch.id)


# Log-in and rights.


def test_a_wrong_key_is_refused_and_a_valid_one_opens_the_plan(
    context: BrowserContext, site: LivePage, errors: Errors
) -> None:
    page = context.new_page()
    errors.watch(page)
    page.goto(site.url)
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("This key is not valid.")
    assert not violations(page)
    page.get_by_label("API key").fill(WRITE_KEY)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("application")).to_be_visible()
    page.get_by_label("Settings").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    page.reload()
    expect(page.get_by_label("API key")).to_be_visible()


def test_a_read_only_key_looks_and_changes_nothing(
    visit: Callable[..., Page], site: LivePage
) -> None:
    dispatch = site.create("ONLY_READ")
    page = visit(f"plan/{dispatch.id}", READ_KEY)
    expect(details(page).get_by_role("heading", name="Why")).to_be_visible()
    expect(details(page).get_by_role("button", name="Edit")).to_have_count(0)
    expect(page.get_by_role("button", name="New dispatch")).to_be_hidden()
    expect(page.locator(".grip")).to_be_visible()
    expect(page.locator(".grip")).not_to_have_class(re.compile("movable"))


# What others change.


def test_a_dispatch_that_another_client_creates_appears(
    visit: Callable[..., Page], site: LivePage
) -> None:
    page = visit("dispatches")
    dispatch = site.create("FROM_ELSEWHERE")
    expect(row(page, dispatch)).to_be_visible()
    page.get_by_role("link", name="Plan").click()
    expect(page.locator("#legend")).to_contain_text("FROM_ELSEWHERE")
    other = site.create("AGAIN_FROM_ELSEWHERE")
    expect(page.locator("#legend")).to_contain_text("AGAIN_FROM_ELSEWHERE")
    page.get_by_role("link", name="Activity").click()
    expect(page.locator(".events")).to_contain_text(f"AGAIN_FROM_ELSEWHERE #{other.id} was created")


def test_text_of_dispatches_is_never_markup(visit: Callable[..., Page], site: LivePage) -> None:
    nasty = site.create(NASTY, payload={NASTY: NASTY})
    page = visit(f"plan/{nasty.id}")
    expect(details(page).get_by_role("heading", level=2)).to_have_text(f"{NASTY} #{nasty.id}")
    expect(details(page).locator("pre")).to_contain_text(NASTY)
    expect(page.locator("#legend")).to_contain_text(NASTY)
    details(page).get_by_role("button", name="Duplicate").click()
    expect(page.locator("dialog .preview")).to_contain_text("once")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Dispatches").click()
    expect(row(page, nasty)).to_be_visible()
    page.get_by_role("link", name="Activity").click()
    site.update(nasty, duration=2 * HOUR)
    expect(page.locator(".events")).to_contain_text(NASTY)
    assert page.locator("img[src=x]").count() == 0


# Changes.


def test_create_with_a_weekly_rule(visit: Callable[..., Page], site: LivePage) -> None:
    page = visit()
    page.get_by_role("button", name="New dispatch").click()
    editor = page.locator("dialog.editor")
    expect(editor.locator(".preview")).to_contain_text("appear here when all fields are valid")
    target_error = editor.locator("[data-field=target] .error")
    expect(target_error).to_be_empty()
    editor.get_by_role("button", name="Review").click()
    expect(target_error).to_contain_text("must not be empty")
    editor.get_by_label("Type").fill("WEEKLY")
    editor.get_by_label("Target").fill("not a target")
    expect(target_error).to_contain_text("unknown category")
    editor.get_by_label("Target").fill("1-3")
    editor.get_by_label("Start (").fill("2027-03-25T07:30:00")
    editor.get_by_label("Repeats").select_option("weekly")
    editor.get_by_text("Thu", exact=True).click()
    editor.get_by_label("Payload").fill('{"power_kw": 5}')
    expect(editor.locator(".rule")).to_have_text("every week Thu at 06:30 UTC")
    occurrences = editor.locator(".occurrences li")
    expect(occurrences).to_have_count(10)
    # Clocks go forward on 28 March: the rule is in UTC.
    expect(occurrences.nth(0)).to_contain_text("Thu 25 Mar 2027, 07:30UTC+01:00")
    expect(occurrences.nth(1)).to_contain_text("Thu 1 Apr 2027, 08:30UTC+02:00")
    expect(occurrences.nth(1)).to_contain_text("clocks change")
    editor.get_by_role("button", name="Review").click()
    expect(page.locator("dialog.confirm")).to_contain_text("every week Thu at 06:30 UTC")
    confirm(page, "Create")
    expect(details(page).get_by_role("heading", level=2)).to_contain_text("WEEKLY #")
    id = int(page.url.rpartition("/")[2])
    created = site.run(site.client.get, MICROGRID, id)
    assert created.type == "WEEKLY"
    assert created.target == TargetIds(1, 2, 3)
    assert created.duration == HOUR
    assert created.payload == {"power_kw": 5}
    assert created.recurrence == RecurrenceRule(Frequency.WEEKLY, byweekdays=(Weekday.THURSDAY,))
    expect(details(page).locator(".history")).to_contain_text("by operator")


def test_edit_shows_old_and_new_values(visit: Callable[..., Page], site: LivePage) -> None:
    dispatch = site.create("EDITED", payload={"power_kw": 5})
    page = visit(f"dispatches/{dispatch.id}")
    details(page).get_by_role("button", name="Edit").click()
    editor = page.locator("dialog.editor")
    editor.get_by_role("button", name="Review changes").click()
    expect(editor.get_by_role("alert")).to_have_text("Nothing is changed.")
    editor.get_by_label("Duration").fill("2h")
    editor.get_by_label("Payload").fill('{"power_kw": ')
    expect(editor.locator("[data-field=payload] .error")).to_have_text("This is not valid JSON.")
    editor.get_by_label("Payload").fill('{"power_kw": 7}')
    editor.get_by_role("button", name="Review changes").click()
    cells = page.locator("dialog.confirm td")
    expect(cells).to_have_text(
        ["1h", "2h", re.compile('"power_kw": 5'), re.compile('"power_kw": 7')]
    )
    confirm(page, "Save")
    expect(details(page)).to_contain_text("2 h")
    changed = in_service(site, dispatch)
    assert (changed.duration, changed.payload) == (2 * HOUR, {"power_kw": 7})
    assert (changed.start_time, changed.target) == (dispatch.start_time, dispatch.target)


def test_a_change_of_what_somebody_else_changed_is_refused(
    visit: Callable[..., Page], site: LivePage
) -> None:
    dispatch = site.create("CONTESTED")
    page = visit(f"dispatches/{dispatch.id}")
    details(page).get_by_role("button", name="Pause").click()
    site.update(dispatch, duration=3 * HOUR)
    page.locator("dialog.confirm").get_by_role("button", name="Pause").click()
    expect(page.locator("dialog.confirm").get_by_role("alert")).to_contain_text("changed")
    page.keyboard.press("Escape")
    expect(details(page)).to_contain_text("3 h")
    assert in_service(site, dispatch).active


def test_pause_resume_and_delete(visit: Callable[..., Page], site: LivePage) -> None:
    dispatch = site.create("PAUSED")
    page = visit(f"dispatches/{dispatch.id}")
    details(page).get_by_role("button", name="Pause").click()
    expect(page.locator("dialog.confirm td")).to_have_text(["active", "paused"])
    confirm(page, "Pause")
    expect(details(page).locator(".badges")).to_have_text("paused")
    assert not in_service(site, dispatch).active
    details(page).get_by_role("button", name="Resume").click()
    confirm(page, "Resume")
    expect(details(page).get_by_role("button", name="Pause")).to_be_visible()
    details(page).get_by_role("button", name="Delete").click()
    confirm(page, "Delete")
    expect(details(page)).to_be_hidden()
    expect(row(page, dispatch)).to_have_count(0)
    expect(page).to_have_url(f"{site.url}/#/dispatches")


def drag(page: Page, by: float, at: float) -> None:
    """Drag the chosen bar; `at` is from 0 at its left to 1 at its right end."""
    box = page.locator(".grip").bounding_box()
    assert box is not None
    x, y = box["x"] + 1 + at * (box["width"] - 2), box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by / 2, y)
    page.mouse.move(x + by, y, steps=2)
    page.mouse.up()


def pixels_an_hour(page: Page) -> float:
    box = page.locator(".chart-stage").bounding_box()
    assert box is not None
    return box["width"] / 24


def test_drag_a_run_of_a_weekly_rule_and_its_end(
    visit: Callable[..., Page], site: LivePage
) -> None:
    start = clock.now().replace(minute=0, second=0, microsecond=0) + 5 * HOUR
    rule = RecurrenceRule(Frequency.WEEKLY, byweekdays=tuple(Weekday)[1:])
    dispatch = site.create("DRAGGED", start_time=start, recurrence=rule)
    page = visit(f"plan/{dispatch.id}")
    expect(page.locator(".grip.movable")).to_be_visible()
    drag(page, 3 * pixels_an_hour(page), at=0.5)
    expect(page.locator("dialog.confirm")).to_contain_text("The change is for all occurrences.")
    confirm(page, "Reschedule")
    moved = in_service(site, dispatch)
    assert (moved.start_time, moved.duration) == (start + 3 * HOUR, HOUR)
    assert moved.recurrence == rule
    expect(page.locator(".grip.movable")).to_be_visible()
    drag(page, 2 * pixels_an_hour(page), at=1)
    expect(page.locator("dialog.confirm td")).to_have_text(["1 h", "3 h"])
    confirm(page, "Reschedule")
    longer = in_service(site, dispatch)
    assert (longer.start_time, longer.duration) == (start + 3 * HOUR, 3 * HOUR)


def test_the_keyboard_chooses_moves_and_opens(visit: Callable[..., Page], site: LivePage) -> None:
    start = clock.now().replace(minute=0, second=0, microsecond=0) + 6 * HOUR
    dispatch = site.create("BY_KEYS", start_time=start)
    page = visit()
    page.get_by_role("toolbar").get_by_label(re.compile("^Type")).select_option("BY_KEYS")
    expect(page.locator("#legend")).to_have_text("BY_KEYS")
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".chart .unseen")).to_contain_text(f"component 1, BY_KEYS #{dispatch.id}")
    page.keyboard.press("Enter")
    expect(details(page).get_by_role("heading", level=2)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("application")).to_be_focused()
    page.keyboard.press("ArrowRight")
    for _ in range(4):
        page.keyboard.press("Alt+ArrowRight")
    page.keyboard.press("Enter")
    confirm(page, "Reschedule")
    assert in_service(site, dispatch).start_time > start


# Runs.


def test_a_run_becomes_actual(visit: Callable[..., Page], site: LivePage) -> None:
    page = visit("activity")
    good = site.create("CHARGE", start_time="NOW", target=TargetIds(41))
    bad = site.create("CHARGE", start_time="NOW", target=TargetIds(42), payload={"broken": True})
    expect(page.locator(".events")).to_contain_text(f"CHARGE #{good.id} running: site-7, _charge")
    expect(page.locator(".events .bad-event")).to_contain_text(f"CHARGE #{bad.id} failed: site-7")
    whole = page.get_by_title("tests.helpers.live_page._charge", exact=True)
    expect(whole.filter(has_text="[41]").first).to_have_text("site-7, _charge [41]")
    page.goto(f"{site.url}#/plan/{good.id}")
    expect(details(page).locator(".badges")).to_contain_text("running until")
    expect(details(page).locator("table .running").first).to_be_visible()
    expect(page.locator("#legend")).to_contain_text("running now")
    expect(page.locator("#legend")).to_contain_text("failed")
    page.goto(f"{site.url}#/plan/{bad.id}")
    expect(details(page).locator("table")).to_contain_text("the battery does not answer")
    page.get_by_role("link", name="Dispatchers").click()
    expect(page.locator(".card")).to_contain_text("site-7")
    expect(page.locator(".card .pill")).to_have_text("live")


# The connection.


def test_the_page_catches_up_when_the_service_was_away(
    visit: Callable[..., Page], site: LivePage
) -> None:
    page = visit("dispatches")
    site.lose_service()
    try:
        expect(page.locator("#banner")).to_contain_text("no contact with the dispatch service")
        dispatch = site.create("WHILE_AWAY")
    finally:
        site.recover_service()
    expect(row(page, dispatch)).to_be_visible(timeout=20_000)
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#banner")).to_be_hidden()


def test_the_page_catches_up_when_it_was_offline(
    visit: Callable[..., Page], site: LivePage
) -> None:
    page = visit("dispatches")
    site.lose_browsers()
    try:
        expect(page.locator("#banner")).to_contain_text("lost its connection to the server")
        dispatch = site.create("WHILE_OFFLINE")
    finally:
        site.recover_browsers()
    expect(row(page, dispatch)).to_be_visible(timeout=20_000)
    expect(page.locator("#banner")).to_be_hidden()


# For everyone.


@pytest.mark.parametrize(("scheme", "rule"), [("light", None), ("dark", "color-contrast")])
def test_axe_finds_no_serious_violation(
    scheme: Literal["light", "dark"],
    rule: str | None,
    visit: Callable[..., Page],
    site: LivePage,
) -> None:
    dispatch = site.create("FOR_EVERYONE", payload={"power_kw": 5})
    site.create("PAUSED_FOR_EVERYONE", active=False, dry_run=True)
    page = visit(f"plan/{dispatch.id}")
    page.emulate_media(color_scheme=scheme)
    expect(details(page).get_by_role("heading", name="History")).to_be_visible()
    assert not violations(page, rule)
    details(page).get_by_role("button", name="Edit").click()
    expect(page.locator("dialog .rule")).to_be_visible()
    assert not violations(page, rule)
    page.locator("dialog").get_by_label("Duration").fill("5m")
    page.get_by_role("button", name="Review changes").click()
    expect(page.locator("dialog.confirm")).to_be_visible()
    assert not violations(page, rule)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    for view in ("dispatches", "activity", "dispatchers"):
        page.goto(f"{site.url}#/{view}")
        expect(page.locator(f"#{view}")).to_be_visible()
        assert not violations(page, rule)


def test_a_phone_shows_everything_without_scrolling_sideways(
    visit: Callable[..., Page], site: LivePage
) -> None:
    dispatch = site.create("ON_A_PHONE")
    page = visit()
    page.set_viewport_size({"width": 375, "height": 720})
    for view in ("plan", "dispatches", "activity", "dispatchers", f"plan/{dispatch.id}"):
        page.goto(f"{site.url}#/{view}")
        assert page.evaluate("document.documentElement.scrollWidth") == 375, view
    expect(details(page).get_by_role("heading", name="Why")).to_be_visible()
    assert not violations(page)
    details(page).get_by_role("button", name="Close").click()
    expect(details(page)).to_be_hidden()
    expect(page.get_by_role("application")).to_be_visible()


def test_the_time_zone_and_the_span_can_be_chosen(visit: Callable[..., Page]) -> None:
    page = visit()
    expect(page.locator(".chart-corner")).to_have_text(ZONE)
    page.get_by_label("Settings").click()
    page.get_by_label("Time zone").select_option("UTC")
    expect(page.locator(".chart-corner")).to_have_text("UTC")
    page.get_by_label("Appearance").select_option("dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 20, 27)"
    week = page.get_by_role("button", name="Week")
    week.click()
    expect(week).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Zoom in").click()
    expect(week).to_have_attribute("aria-pressed", "false")
