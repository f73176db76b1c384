"""A dispatch service on a real socket in its own thread, and commands that use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.commanding import Cli, ServiceThread


@pytest.fixture(scope="module")
def service_thread() -> Iterator[ServiceThread]:
    with ServiceThread() as thread:
        yield thread


@pytest.fixture
def cli(service_thread: ServiceThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs commands in a complete environment; the service is empty."""
    cli = Cli(service_thread.url, tmp_path)
    for name, value in cli.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "DISPATCH_API_AUTH_KEY", "DISPATCH_API_SIGN_SECRET"):
        monkeypatch.delenv(name, raising=False)
    service_thread.clear()
    return cli
