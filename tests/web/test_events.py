"""The stream of events: what happens at the service appears on all pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.paging import Browser, Site, paged
from trio_dispatch import Frequency, RecurrenceRule, TargetIds
from trio_dispatch.service import Keys
from trio_dispatch.web import sessions, views

HOUR = timedelta(hours=1)


async def create(site: Site, type: str = "CHARGE", **more: Any) -> int:
    values: dict[str, Any] = {
        "type": type, "start_time": "NOW", "duration": HOUR, "target": TargetIds(1), **more,
    }  # fmt: skip
    return (await site.client.create(1, **values)).id


async def test_what_another_client_does_appears_within_a_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with paged() as site:
        known = await create(site)
        browser = await site.browser()
        async with browser.events() as events:
            hello = await events.next()
            assert hello.name == "hello"
            assert not hello.data["resumed"]
            assert hello.data["sync"]["phase"] == "live"
            await trio.sleep(5)
            id_ = await create(site, "DISCHARGE", payload={"power_kw": 3})
            created = await events.next("changes")
            (record,) = created.data["created"]
            assert (record["id"], record["type"], record["running"]) == (id_, "DISCHARGE", True)
            assert created.data["status"][0]["running"]
            assert created.data["version"] == hello.data["version"] + 1 or events.seen
            await site.client.update(1, known, payload={"power_kw": 1})
            (record,) = (await events.next("changes")).data["updated"]
            assert record["payload"] == {"power_kw": 1}
            await site.client.delete(1, known)
            assert (await events.next("changes")).data["deleted"] == [known]


async def test_pages_of_one_key_share_a_view_and_its_messages(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = 0
    original = views._Pending.content

    def content(self: Any) -> dict[str, Any]:
        nonlocal encoded
        encoded += 1
        return original(self)

    monkeypatch.setattr(views._Pending, "content", content)
    async with paged() as site:
        first, second = await site.browser(), await site.browser()
        async with first.events() as one, second.events() as two:
            await trio.sleep(2)
            encoded = 0
            await create(site)
            assert (await one.next("changes")).data == (await two.next("changes")).data
            assert encoded == 1
            assert len(site.page.site._views) == 1


async def test_changes_in_quick_succession_are_one_message(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with paged() as site:
        browser = await site.browser()
        async with browser.events() as events:
            await trio.sleep(2)
            first = await create(site)
            await events.next("changes")
            for power in range(20):
                await site.client.update(1, first, payload={"power_kw": power})
            second = await create(site)
            await site.client.update(1, second, payload={"power_kw": 9})
            message = (await events.next("changes")).data
            assert [record["payload"] for record in message["updated"]] == [{"power_kw": 19}]
            # An update of what no page has seen is its creation.
            assert [record["payload"] for record in message["created"]] == [{"power_kw": 9}]


async def test_reconnected_page_gets_what_it_missed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with paged() as site:
        browser = await site.browser()
        async with browser.events() as events:
            await trio.sleep(2)
            await create(site)
            last = (await events.next("changes")).id
        missed = await create(site, "MISSED")
        await trio.sleep(1)
        async with browser.events(last) as events:
            assert (await events.next("hello")).data["resumed"]
            (record,) = (await events.next("changes")).data["created"]
            assert record["id"] == missed
        for unknown in ("", "x", f"{last}9", "other-1", f"{(last or '').partition('-')[0]}--1"):
            async with browser.events(unknown) as events:
                assert not (await events.next("hello")).data["resumed"]


async def test_page_that_reads_slowly_is_told_to_load_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with paged() as site:
        browser = await site.browser()
        async with browser.events() as events:
            await trio.sleep(2)
            view = next(iter(site.page.site._views._open.values()))
            number = view.feed.last
            # As if this page had not been sent anything meanwhile.
            for _ in range(600):
                view.feed.put("changes", {"version": view.feed.last + 1})
            assert view.feed.after(number) is None
            event = await events.next("reset")
            assert event.data == {"version": view.feed.last}
            assert event.id == view.feed.id_of(view.feed.last)
            await create(site)
            assert (await events.next("changes")).data["created"]


async def test_many_changes_at_once_are_a_reset(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "_MOST_CHANGES", 5)
    async with paged() as site:
        browser = await site.browser()
        async with browser.events() as events:
            await trio.sleep(2)
            for _ in range(9):
                await create(site)
            assert (await events.next("reset")).data["version"]
            assert len((await browser.ask("/api/dispatches", microgrid=1))["dispatches"]) == 9


async def test_lost_service_is_shown_and_the_page_catches_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with paged() as site:
        browser = await site.browser()
        async with browser.events() as events:
            await trio.sleep(2)
            await site.line.cut()
            lost = (await events.next("sync", within=5)).data
            assert lost["phase"] != "live"
            assert lost["offline_since"]
            id_ = await create(site)
            await trio.sleep(60)
            # What was known is shown all the time; what needs the service says so.
            assert (await browser.ask("/api/dispatches", microgrid=1))["total"] == 0
            response = await browser.get(f"/api/dispatches/{id_}", microgrid=1)
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "unavailable"
            site.line.works = True
            await trio.sleep(90)
            changes = [event.data for event in events.seen if event.name == "changes"]
            assert [each["id"] for data in changes for each in data["created"]] == [id_]
            assert any(data["reload_runs"] for data in changes)
            phases = [event.data["phase"] for event in events.seen if event.name == "sync"]
            assert phases[-1] == "live"


async def test_heartbeat_keeps_the_stream_and_the_session(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "IDLE", HOUR)
    async with paged() as site:
        browser = await site.browser()
        async with browser.events() as events:
            await trio.sleep(2 * 3600)
            assert events.pings == pytest.approx(2 * 240, abs=20)
            assert not events.ended
        assert (await browser.get("/api/plan")).status_code == 400


async def test_view_closes_when_its_last_page_is_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with paged() as site:
        browser = await site.browser()
        async with browser.events():
            await trio.sleep(600)
            assert len(site.page.site._views) == 1
        await trio.sleep(59)
        assert len(site.page.site._views) == 1
        await trio.sleep(2)
        assert len(site.page.site._views) == 0
        assert site.service.store.watchers.statistics().watchers == 0
        # A page that comes back opens it again.
        async with browser.events() as events:
            assert (await events.next("hello")).data["sync"]["phase"] == "live"


async def test_many_microgrids_of_one_key_lock_nobody_out(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "_MOST_VIEWS", 3)
    async with paged() as site:
        browser = await site.browser()
        async with browser.events() as events:
            for microgrid in range(1, 9):
                await browser.ask("/api/dispatches", microgrid=microgrid)
                assert len(site.page.site._views) <= 3
            await create(site)
            await events.next("changes")
            async with browser.events(microgrid=2), browser.events(microgrid=3):
                refused = await browser.get("/api/dispatches", microgrid=4)
                assert refused.status_code == 503


async def test_views_close_while_the_service_is_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with paged() as site:
        browser = await site.browser()
        await site.line.cut()
        assert (await browser.get("/api/dispatches", microgrid=1)).status_code == 503
        await trio.sleep(61)
        assert len(site.page.site._views) == 0


async def test_error_in_a_view_does_not_stop_the_service(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with paged() as site:
        browser = await site.browser()
        with monkeypatch.context() as patch:
            patch.setattr(views, "page_record", None)
            async with browser.events() as events:
                await create(site)
                await events.next("end")
        assert "the view of microgrid 1 has failed" in caplog.text
        async with browser.events() as events:
            assert (await events.next("hello")).data["sync"]["phase"] == "live"


@pytest.mark.parametrize("how", ["log out", "stop", "revoke"])
async def test_stream_says_why_it_ends(autojump_clock: trio.testing.MockClock, how: str) -> None:
    async with paged() as site:
        browser: Browser = await site.browser()
        async with browser.events() as events:
            await trio.sleep(2)
            if how == "log out":
                assert (await browser.send("POST", "/api/logout")).status_code == 204
            elif how == "stop":
                site.page.stop()
            else:
                site.service.keys = Keys([])
            event = await events.next("end", within=10)
            reasons = {"log out": "signed_out", "stop": "stopping", "revoke": "forbidden"}
            assert event.data == {"reason": reasons[how]}
            await trio.sleep(1)
            assert events.ended


async def test_page_shows_starts_and_ends_and_announces_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with paged() as site:
        daily = RecurrenceRule(Frequency.DAILY)
        ids = [await create(site, recurrence=daily), await create(site, duration=timedelta())]
        await trio.sleep(10 * 86400 - 600)
        caplog.clear()
        browser = await site.browser()
        async with browser.events() as events:
            assert (await events.next()).name == "hello"
            started = (await events.next("changes", within=601)).data["status"]
            (stopped,) = (await events.next("changes", within=3601)).data["status"]
            # The runs of the days before are over, whether or not anything has carried them out.
            assert [event.name for event in events.seen] == ["hello", "changes", "changes"]
    assert [(each["id"], each["running"]) for each in started] == [(ids[0], True)]
    assert (stopped["id"], stopped["running"]) == (ids[0], False)
    assert "missed" not in caplog.text
