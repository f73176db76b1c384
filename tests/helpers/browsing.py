"""A real browser: Chromium of the system, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ZONE = "Europe/Berlin"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium, or skip the test where it is not installed."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


class Errors(list[str]):
    """What a page complained about, which must be nothing."""

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.append(f"exception: {error}\n{error.stack}"))
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("dialog", lambda dialog: self.append(f"dialog: {dialog.message}"))

    def _note(self, kind: str, text: str) -> None:
        # The browser reports refused and failed requests, which some tests are about.
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.append(text)


def log_in(context: BrowserContext, url: str, key: str) -> None:
    """Log in without the form."""
    reply = context.request.post(f"{url}/api/login", headers={"X-CSRF": "1"}, data={"key": key})
    assert reply.ok, reply.text()


def violations(page: Page, rule: str | None = None) -> list[str]:
    """Return what axe-core finds to be seriously wrong for people with disabilities.

    Args:
      rule: The only rule to check; None for all.
    """
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rule is not None:
        options["runOnly"] = [rule]
    found: Any = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{each['id']}: {each['help']}: {each['nodes'][0]['html']}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
