"""Lists, details and changes of dispatches by the page."""

from __future__ import annotations

import json
from datetime import UTC, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from dateutil.rrule import MONTHLY, rrule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.effort import cases
from tests.helpers.paging import Browser, paged
from trio_dispatch import Frequency, clock
from trio_dispatch.web.forms import preview

HOUR = timedelta(hours=1)
HOSTILE = "<img src=x onerror=alert(1)>\u2028\"'&]]>\x1b[31m"
FORM = {
    "type": HOSTILE,
    "start_time": "2026-02-01T08:00:00Z",
    "duration": "1h30m",
    "target": "1-3",
    "payload": {"power_kw": 5, "</script>": HOSTILE},
    "recurrence": "FREQ=WEEKLY;BYDAY=MO",
}


async def created(browser: Browser, **more: Any) -> dict[str, Any]:
    response = await browser.send("POST", "/api/dispatches", FORM | more)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()["dispatch"]
    return found


async def test_create_show_change_and_delete(autojump_clock: trio.testing.MockClock) -> None:
    async with paged() as site:
        browser = await site.browser()
        record = await created(browser)
        assert record["type"] == HOSTILE
        assert record["target"] == [1, 2, 3]
        assert record["target_text"] == "1-3"
        assert record["duration"] == 5400
        assert record["payload"] == FORM["payload"]
        assert record["rule"] == "every week Mon at 08:00 UTC"
        path = f"/api/dispatches/{record['id']}"
        change = {
            "expected_update_time": record["update_time"],
            "changes": {"duration": 60, "active": False, "recurrence": None, "target": ["battery"]},
        }
        response = await browser.send("PATCH", path, change)
        assert response.status_code == 200
        changed = response.json()["dispatch"]
        assert (changed["duration"], changed["active"], changed["recurrence"]) == (60, False, None)
        shown = await browser.ask(path, microgrid=1, zone="Europe/Berlin")
        assert shown["dispatch"]["target"] == ["battery"]
        assert shown["recorded"]
        update, creation = shown["history"]
        assert (update["change"], update["key_name"]) == ("updated", "operator")
        assert ["duration", "1h30m", "1m"] in update["differences"]
        assert creation["change"] == "created"
        assert any("inactive" in line for line in shown["explanation"])
        expected = changed["update_time"]
        response = await browser.send("DELETE", path, expected_update_time=expected)
        assert response.status_code == 204
        response = await browser.get(path, microgrid=1)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


async def test_old_state_is_a_conflict_with_the_present_content(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with paged() as site:
        browser = await site.browser()
        record = await created(browser)
        await trio.sleep(1)
        await site.client.update(1, record["id"], payload={"power_kw": 9})
        path, old = f"/api/dispatches/{record['id']}", record["update_time"]
        change = {"expected_update_time": old, "changes": {"active": False}}
        for response in (
            await browser.send("PATCH", path, change),
            await browser.send("DELETE", path, expected_update_time=old),
        ):
            assert (response.status_code, response.json()["error"]["code"]) == (409, "changed")
            assert response.json()["dispatch"]["payload"] == {"power_kw": 9}
        await site.client.delete(1, record["id"])
        response = await browser.send("PATCH", path, change)
        assert (response.status_code, response.json()["dispatch"]) == (409, None)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": 5}, "type"),
        ({"type": ""}, "type"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"start_time": None}, "start_time"),
        ({"duration": -1}, "duration"),
        ({"duration": "long"}, "duration"),
        ({"duration": 10**30}, "duration"),
        ({"target": None}, "target"),
        ({"target": ["nothing"]}, "target"),
        ({"target": []}, "target"),
        ({"active": "yes"}, "active"),
        ({"payload": []}, "payload"),
        ({"recurrence": {"frequency": "often"}}, "recurrence"),
        ({"recurrence": {"frequency": "daily", "interval": 0}}, "recurrence.interval"),
        ({"recurrence": {"frequency": "daily", "byhours": [24]}}, "recurrence.byhours"),
        (
            {"recurrence": {"frequency": "daily", "end_criteria": {"count": 0}}},
            "recurrence.end_criteria.count",
        ),
        ({"id": 5}, "id"),
        ({"other": 5}, "other"),
    ],
)
async def test_errors_name_their_field(
    autojump_clock: trio.testing.MockClock, change: dict[str, Any], field: str
) -> None:
    async with paged() as site:
        browser = await site.browser()
        response = await browser.send("POST", "/api/dispatches", FORM | change)
        assert response.status_code == 400
        error = response.json()["error"]
        assert error["code"] == "invalid"
        assert [*error["fields"]] == [field]
        assert error["fields"][field]
        assert (await browser.ask("/api/dispatches", microgrid=1))["total"] == 0


async def test_all_errors_of_a_form_are_named_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with paged() as site:
        browser = await site.browser()
        response = await browser.send("POST", "/api/dispatches", {"duration": "x", "dry_run": 0})
        fields = response.json()["error"]["fields"]
        assert {*fields} == {"duration", "dry_run", "type", "start_time", "target"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b'{"payload": NaN}', 400),
        (b'{"type": "\\ud800"}', 400),
        (b"[" * 100_000, 400),
        (b'{"payload": ' + b"[" * 100_000, 400),
        (b'"' + b"x" * 300_000 + b'"', 413),
    ],
)
async def test_malformed_bodies(
    autojump_clock: trio.testing.MockClock, body: bytes, status: int
) -> None:
    async with paged() as site:
        browser = await site.browser()
        headers = {"X-CSRF": "1", "Content-Type": "application/json"}
        for path in ("/api/dispatches?microgrid=1", "/api/preview", "/api/login"):
            response = await browser.http.post(path, content=body, headers=headers)
            assert response.status_code == status
            assert response.json()["error"]["message"]
        response = await browser.http.post(
            "/api/login", content=b"key=operator-key", headers={"X-CSRF": "1"}
        )
        assert response.status_code == 415


@pytest.mark.parametrize(
    "path",
    [
        "/api/plan",
        "/api/plan?microgrid=1",
        "/api/plan?microgrid=x&from=0&to=1",
        "/api/plan?microgrid=1&from=1&to=1",
        "/api/plan?microgrid=1&from=0&to=9999999999999999",
        "/api/plan?microgrid=1&from=0&to=1000&by=colour",
        "/api/plan?microgrid=1&from=0&to=1000&resolution=-5",
        "/api/dispatches?microgrid=-1",
        "/api/dispatches?microgrid=99999999999999999999999",
        "/api/dispatches?microgrid=1&limit=0",
        "/api/dispatches?microgrid=1&active=maybe",
        "/api/dispatches?microgrid=1&target=,",
        "/api/dispatches?microgrid=1&sort=password",
        "/api/dispatches?microgrid=1&zone=Mars/Olympus",
        "/api/dispatches?microgrid=1&zone=../../etc/passwd",
        "/api/runs?microgrid=1&state=odd",
        "/api/runs?microgrid=1&" + "&".join(["type=x"] * 101),
    ],
)
async def test_malformed_queries(autojump_clock: trio.testing.MockClock, path: str) -> None:
    async with paged() as site:
        browser = await site.browser()
        response = await browser.get(path)
        assert response.status_code == 400
        assert response.json()["error"]["fields"]


async def test_list_filters(autojump_clock: trio.testing.MockClock) -> None:
    async with paged() as site:
        browser = await site.browser()
        for number, type in enumerate(["CHARGE", "DISCHARGE", "HEAT"] * 3):
            await created(
                browser,
                type=type,
                target=[number],
                active=number % 2 == 0,
                dry_run=number == 0,
                payload={"note": f"number {number}"},
                recurrence=None if number < 4 else FORM["recurrence"],
            )
        await trio.sleep(1)

        async def ids(**params: Any) -> list[int]:
            found = await browser.ask("/api/dispatches", microgrid=1, **params)
            assert found["total"] == 9
            assert found["types"] == ["CHARGE", "DISCHARGE", "HEAT"]
            return [each["id"] for each in found["dispatches"]]

        assert await ids() == [*range(1, 10)]
        assert await ids(text="charge") == [1, 2, 4, 5, 7, 8]
        assert await ids(text="NUMBER 3") == [4]
        assert await ids(text="#7") == [7]
        assert await ids(type=["HEAT", "CHARGE"]) == [1, 3, 4, 6, 7, 9]
        assert await ids(active="true", recurring="false") == [1, 3]
        assert await ids(dry_run="true") == [1]
        assert await ids(running="true") == []
        assert await ids(target="2,5-6") == [3, 6, 7]
        assert await ids(target="battery") == []
        assert await ids(sort="type", descending="true", limit=2, offset=1) == [6, 3]
        assert [*await ids(sort="next_run")][-4:] == [2, 4, 6, 8]


async def test_preview_is_what_the_rule_does(autojump_clock: trio.testing.MockClock) -> None:
    async with paged() as site:
        browser = await site.browser("viewer-key")
        form = {
            "start_time": "2026-03-27T01:30:00Z",
            "duration": 60,
            "recurrence": {"frequency": "daily", "end_criteria": {"count": 5}},
        }
        body = {"dispatch": form, "zone": "Europe/Berlin", "count": 3}
        response = await browser.send("POST", "/api/preview", body, microgrid=None)
        found = response.json()
        assert found["valid"]
        assert found["rule"] == "every day at 01:30 UTC 5 times"
        assert found["total"] == 5
        assert found["last"] == "2026-03-31T01:30:00Z"
        assert [(each["local"], each["change"]) for each in found["occurrences"]] == [
            ("2026-03-27 02:30", None),
            ("2026-03-28 02:30", None),
            ("2026-03-29 03:30", "+01:00"),
        ]
        assert "daylight saving" in found["warning"]
        form["recurrence"] = {"frequency": "daily", "byminutes": [99]}
        form["duration"] = -1
        response = await browser.send("POST", "/api/preview", body, microgrid=None)
        assert not response.json()["valid"]
        assert {*response.json()["errors"]} == {"recurrence.byminutes", "duration"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "type": JSON,
    "target": JSON,
    "payload": JSON,
    "start_time": JSON | st.sampled_from(["NOW", "2026-02-01T08:00Z", "9999-12-31T23:59:59Z"]),
    "duration": JSON | st.integers(0, 10**12) | st.none(),
    "recurrence": JSON
    | st.fixed_dictionaries(
        {"frequency": st.sampled_from([*(each.name.lower() for each in Frequency)])},
        optional={
            "interval": st.integers(-1, 2**40),
            "bymonthdays": st.lists(st.integers(-32, 32), max_size=4),
            "byhours": st.lists(st.integers(-1, 25), max_size=4),
            "end_criteria": st.fixed_dictionaries({"count": st.integers(-1, 2**40)}),
        },
    ),
}
FORMS = st.fixed_dictionaries({}, optional=FIELDS)


@settings(
    max_examples=cases(40, long=2000), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(FORMS)
def test_preview_has_an_answer_to_any_form(form: dict[str, Any]) -> None:
    found = preview(form, clock.VIRTUAL_START, UTC, 3)
    assert found["valid"] or found["errors"]
    assert json.loads(json.dumps(found)) == found


def test_preview_compared_with_dateutil() -> None:
    form = {
        "start_time": "2026-01-01T00:00Z",
        "duration": 60,
        "recurrence": "FREQ=MONTHLY;BYMONTHDAY=31",
    }
    found = preview(form, clock.VIRTUAL_START, UTC, 4)
    expected = rrule(MONTHLY, dtstart=clock.VIRTUAL_START, bymonthday=31, count=4)
    assert [each["start"] for each in found["occurrences"]] == [
        f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in expected
    ]
