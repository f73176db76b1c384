"""Who may use the page: log-in, sessions, rights, and requests of other sites."""

from __future__ import annotations

import logging
from datetime import timedelta

import httpx
import pytest
import trio
import trio.testing

from tests.helpers.paging import KEYS, paged
from trio_dispatch import TargetIds
from trio_dispatch.service import Keys
from trio_dispatch.web.app import make_app

HOUR = timedelta(hours=1)
CHARGE = {"type": "CHARGE", "start_time": "NOW", "duration": 60, "target": [1]}
SESSION_COOKIE = "HttpOnly; Path=/; SameSite=strict"


async def test_log_in_and_log_out(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_dispatch")
    async with paged(microgrids=(3, 1), span=HOUR) as site:
        browser = await site.browser(None)
        assert await browser.ask("/api/session") == {
            "signed_in": False, "version": "0.1.0", "keys_required": True, "secure": False,
        }  # fmt: skip
        response = await browser.get("/api/plan", microgrid=1)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "login_required")
        wrong = await browser.log_in("wrong-key")
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_key")
        assert "set-cookie" not in wrong.headers
        right = await browser.log_in()
        assert right.headers["set-cookie"].startswith("trio-dispatch=")
        assert right.headers["set-cookie"].endswith(SESSION_COOKIE)
        session = await browser.ask("/api/session")
        assert session == right.json()
        assert session["key"] == {"name": "operator", "rights": ["read", "report", "write"]}
        assert (session["microgrids"], session["any_microgrid"]) == ([1, 3], True)
        assert session["span"] == 3600
        assert (await browser.get("/api/dispatches", microgrid=1)).status_code == 200
        assert (await browser.send("POST", "/api/logout")).status_code == 204
        assert not (await browser.ask("/api/session"))["signed_in"]
    assert "key 'operator'" in caplog.text
    assert "the key is invalid" in caplog.text
    assert "operator-key" not in caplog.text
    assert "wrong-key" not in caplog.text


@pytest.mark.parametrize("own", [True, False])
async def test_key_with_a_secret(autojump_clock: trio.testing.MockClock, *, own: bool) -> None:
    async with paged(own=own) as site:
        browser = await site.browser(None)
        assert (await browser.log_in("signed-key")).status_code == 401
        assert (await browser.log_in("signed-key", "another secret")).status_code == 401
        assert (await browser.log_in("signed-key", "signing-secret")).status_code == 200
        assert (await browser.get("/api/dispatches", microgrid=1)).status_code == 200


@pytest.mark.parametrize("own", [True, False])
async def test_read_only_key_changes_nothing(
    autojump_clock: trio.testing.MockClock, *, own: bool
) -> None:
    async with paged(own=own) as site:
        known = await site.client.create(
            1, type="X", start_time="NOW", duration=HOUR, target=TargetIds(1)
        )
        browser = await site.browser("viewer-key")
        if own:
            assert (await browser.ask("/api/session"))["key"]["rights"] == ["read"]
        expected = (await browser.ask(f"/api/dispatches/{known.id}", microgrid=1))["dispatch"]
        change = {"expected_update_time": expected["update_time"], "changes": {"active": False}}
        for response in (
            await browser.send("POST", "/api/dispatches", CHARGE),
            await browser.send("PATCH", f"/api/dispatches/{known.id}", change),
            await browser.send(
                "DELETE",
                f"/api/dispatches/{known.id}",
                expected_update_time=expected["update_time"],
            ),
        ):
            assert response.status_code == 403
            assert response.json()["error"]["code"] == "forbidden"
        assert await site.client.get(1, known.id) == known


@pytest.mark.parametrize("own", [True, False])
async def test_key_for_another_microgrid_sees_nothing(
    autojump_clock: trio.testing.MockClock, *, own: bool
) -> None:
    async with paged(own=own) as site:
        browser = await site.browser("elsewhere-key")
        if own:
            session = await browser.ask("/api/session")
            assert (session["microgrids"], session["any_microgrid"]) == ([7], False)
        for path in ("plan", "dispatches", "dispatches/1", "runs", "dispatchers", "events"):
            response = await browser.get(f"/api/{path}", microgrid=1, **{"from": 0, "to": 1000})
            assert response.status_code == 403, path
        assert (await browser.get("/api/dispatches", microgrid=7)).status_code == 200
        assert (await browser.send("POST", "/api/dispatches", CHARGE)).status_code == 403


async def test_log_ins_are_limited(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with paged() as site:
        browser = await site.browser(None)
        statuses = [(await browser.log_in(f"guess {n}")).status_code for n in range(20)]
        assert statuses[:5] == [401] * 5
        assert set(statuses[5:]) == {429}
        refused = await browser.log_in()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert "too many attempts" in caplog.text
        # Nobody is locked out for long.
        await trio.sleep(2)
        assert (await browser.log_in()).status_code == 200


async def test_session_expires_when_it_is_not_used(autojump_clock: trio.testing.MockClock) -> None:
    async with paged() as site:
        browser = await site.browser()
        for _ in range(3):
            await trio.sleep(11 * 3600)
            assert (await browser.ask("/api/session"))["signed_in"]
        await trio.sleep(13 * 3600)
        assert not (await browser.ask("/api/session"))["signed_in"]
        assert (await browser.get("/api/runs", microgrid=1)).status_code == 401
        assert len(site.page.site.sessions) == 0


async def test_removed_key_ends_its_sessions(autojump_clock: trio.testing.MockClock) -> None:
    async with paged() as site:
        browser = await site.browser()
        assert (await browser.get("/api/dispatches", microgrid=1)).status_code == 200
        site.service.keys = Keys.of("another")
        assert (await browser.get("/api/dispatches", microgrid=1)).status_code == 401
        assert not (await browser.ask("/api/session"))["signed_in"]


async def test_removed_key_at_a_service_elsewhere(autojump_clock: trio.testing.MockClock) -> None:
    async with paged(own=False) as site:
        browser = await site.browser()
        assert (await browser.get("/api/dispatches", microgrid=1)).status_code == 200
        site.service.keys = Keys.of("another")
        await trio.sleep(5)
        assert (await browser.get("/api/dispatches", microgrid=1)).status_code == 401
        assert (await browser.get("/api/runs", microgrid=1)).status_code == 401


async def test_service_without_keys_needs_no_log_in(autojump_clock: trio.testing.MockClock) -> None:
    async with paged(keys=None) as site:
        browser = await site.browser(None)
        session = await browser.ask("/api/session")
        assert (session["signed_in"], session["keys_required"]) == (True, False)
        assert (await browser.get("/api/dispatches", microgrid=1)).status_code == 200
        assert (await browser.send("POST", "/api/dispatches", CHARGE)).status_code == 201


async def test_service_that_has_no_keys_after_all_lets_nobody_in(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # The page assumes keys if the service is away when the page starts.
    async with paged(own=False) as site:
        site.service.keys = None
        browser = await site.browser(None)
        response = await browser.log_in("anything")
        assert response.status_code == 503
        assert "has no keys" in response.json()["error"]["message"]


async def test_log_in_when_the_service_is_away(autojump_clock: trio.testing.MockClock) -> None:
    async with paged() as site:
        await site.line.cut()
        browser = await site.browser(None)
        response = await browser.log_in()
        assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")


async def test_pages_on_two_ports_have_a_cookie_each(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Browsers send the cookies of one port to all ports of the host.
    async with paged() as site:
        app = make_app(site.page.site)
        cookies: dict[str, str] = {}
        for port in (8080, 8081):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(
                transport=transport, base_url=f"http://127.0.0.1:{port}", cookies=cookies
            ) as http:
                body = {"key": "operator-key"}
                response = await http.post("/api/login", json=body, headers={"X-CSRF": "1"})
                cookies |= dict(response.cookies)
        assert cookies.keys() == {"trio-dispatch-8080", "trio-dispatch-8081"}
        assert len(site.page.site.sessions) == 2


async def test_cookie_behind_a_proxy_with_tls(autojump_clock: trio.testing.MockClock) -> None:
    async with paged(hosts=["plan.example"]) as site:
        browser = await site.browser(None)
        response = await browser.http.post(
            "/api/login",
            json={"key": "operator-key"},
            headers={"Host": "plan.example", "Origin": "https://plan.example", "X-CSRF": "1"},
        )
        cookie = response.headers["set-cookie"]
        assert cookie.startswith("__Host-trio-dispatch=")
        assert cookie.endswith(f"{SESSION_COOKIE}; Secure")
        cookie = cookie.partition(";")[0]
        response = await browser.http.get("/api/session", headers={"Cookie": cookie})
        assert response.json()["signed_in"]


# Every route.


@pytest.mark.parametrize(
    "name",
    ["a" * 300, "a/" * 3000, "%00", "/etc/passwd", "..%2fapp.py", "%2e%2e/app.py", "app", ""],
)
async def test_only_files_of_the_folder_are_served(
    autojump_clock: trio.testing.MockClock, name: str
) -> None:
    async with paged() as site:
        browser = await site.browser(None)
        response = await browser.get(f"/static/{name}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


async def test_headers_of_every_route(autojump_clock: trio.testing.MockClock) -> None:
    async with paged() as site:
        browser = await site.browser()
        paths = {route.path for route in make_app(site.page.site).routes}  # type: ignore[attr-defined]
        assert len(paths) == 13
        for path in [*sorted(paths - {"/api/events"}), "/nothing", "/static/../page.py"]:
            where = path.replace("{id}", "1").replace("{name:path}", "index.html")
            response = await browser.get(where, microgrid=1)
            headers = response.headers
            assert "default-src 'none'" in headers["content-security-policy"], path
            assert "unsafe" not in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["cache-control"] == ("no-cache" if response.status_code == 200
                and not path.startswith("/api") else "no-store"), path  # fmt: skip
            assert "server" not in headers
        async with browser.events() as events:
            assert "default-src 'none'" in events.response.headers["content-security-policy"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-CSRF": "1", "Sec-Fetch-Site": "cross-site"},
        {"X-CSRF": "1", "Sec-Fetch-Site": "same-site"},
        {"X-CSRF": "1", "Sec-Fetch-Site": "none"},
        {"X-CSRF": "1", "Origin": "http://evil.example"},
        {"X-CSRF": "1", "Origin": "null"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_requests_of_other_sites_are_refused(
    autojump_clock: trio.testing.MockClock, headers: dict[str, str]
) -> None:
    async with paged() as site:
        browser = await site.browser()
        for method, path in (
            ("POST", "/api/dispatches"),
            ("POST", "/api/login"),
            ("POST", "/api/logout"),
            ("PATCH", "/api/dispatches/1"),
            ("DELETE", "/api/dispatches/1"),
        ):
            response = await browser.http.request(
                method, path, params={"microgrid": 1}, json=CHARGE, headers=headers
            )
            assert (response.status_code, response.json()["error"]["code"]) == (403, "csrf")
        assert (await browser.ask("/api/dispatches", microgrid=1))["total"] == 0


async def test_other_sites_read_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with paged() as site:
        browser = await site.browser()
        for path, status in (("/", 200), ("/api/session", 403), ("/static/index.html", 403)):
            response = await browser.http.get(path, headers={"Sec-Fetch-Site": "cross-site"})
            assert response.status_code == status


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8080", True),
        ("localhost", True),
        ("[::1]:8080", True),
        ("192.0.2.7", True),
        ("plan.example:443", True),
        ("PLAN.example", True),
        ("evil.example", False),
        ("plan.example.evil.example", False),
        ("plan.example@evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[", False),
        ("[plan.example]", False),
    ],
)
async def test_host_names(
    autojump_clock: trio.testing.MockClock, host: str, *, known: bool
) -> None:
    async with paged(hosts=["Plan.example"]) as site:
        browser = await site.browser(None)
        response = await browser.http.get("/api/session", headers={"Host": host})
        assert response.status_code == (200 if known else 421)
        if not known:
            assert response.json()["error"]["code"] == "host"


async def test_sessions_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with paged(keys=KEYS) as site:
        sessions = site.page.site.sessions
        sessions._most = 3
        first = await site.browser()
        second = await site.browser()
        await trio.sleep(1)
        assert (await first.ask("/api/session"))["signed_in"]
        await trio.sleep(5)
        for _ in range(2):
            await site.browser()
        # The one that was not used for the longest time had to go.
        assert (await first.ask("/api/session"))["signed_in"]
        assert not (await second.ask("/api/session"))["signed_in"]
        assert len(sessions) == 3
