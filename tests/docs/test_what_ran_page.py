"""The page about runs and changes: its commands and examples run, and its numbers are true."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from tests.helpers.commanding import Cli, ServiceThread, run
from tests.helpers.reporting import report_about, store_reports
from trio_dispatch.dispatcher.reports import queue
from trio_dispatch.model.runs import (
    MAX_DETAILS_BYTES,
    MAX_ERROR_BYTES,
    ReportedState,
    ReportKind,
)
from trio_dispatch.model.validation import MAX_NAME_LENGTH
from trio_dispatch.service import Retention, rules, run_requests
from trio_dispatch.service.store.memory import MEMORY_RETENTION
from trio_dispatch.service.store.runs import MAX_DISPATCHERS, REMEMBERED_REPORTERS
from trio_dispatch.testing import make_dispatch, open_test_service

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "howto" / "what-ran.md").read_text()
API = (DOCS / "explanation" / "runs-api.md").read_text()


@pytest.fixture(scope="module")
def service_thread() -> Any:
    with ServiceThread() as thread:
        yield thread


@pytest.fixture
def cli(service_thread: ServiceThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    cli = Cli(service_thread.url, tmp_path)
    for name, value in cli.environment.items():
        monkeypatch.setenv(name, value)
    return cli


def test_the_commands_run(cli: Cli, service_thread: ServiceThread, tmp_path: Path) -> None:
    service_thread.put(make_dispatch(1))
    commands = re.findall(r"^\$ trio-dispatch (.*)$", PAGE, re.MULTILINE)
    assert len(commands) >= 9
    for command in commands:
        arguments = shlex.split(command)
        if arguments[0] == "purge":
            continue
        result = run(*arguments)
        assert result.exit_code == 0, f"{command}\n{result.output}"


async def test_the_examples_run(
    capsys: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    names: dict[str, Any] = {}
    for example in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        exec(example, names)
    async with open_test_service() as service:
        dispatch = make_dispatch(1)
        await service.put(dispatch)
        await store_reports(service.store, report_about(dispatch, ReportKind.COMPLETED))
        await names["assert_completed"](service)
        failed = report_about(dispatch, ReportKind.FAILED, error="no contact")
        await store_reports(service.store, failed)
        assert [run.state for run in await service.runs()] == [ReportedState.FAILED]
        await names["print_failures"](service.client)
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("site-7  no contact")
    assert second.endswith("created test")


def test_the_numbers_are_those_of_the_code() -> None:
    assert Retention() == Retention(
        run_age=timedelta(days=400),
        change_age=timedelta(days=400),
        runs=1_000_000,
        changes=1_000_000,
    )
    assert "400 days, and at most 1,000,000 of each" in PAGE
    assert f"{MEMORY_RETENTION.runs:,} of each" in PAGE
    assert f"Up to {queue.MAX_REPORTS:,} reports or {queue.MAX_BYTES // 2**20} MiB wait" in PAGE
    assert f"JSON, up to {MAX_DETAILS_BYTES // 1024} KiB" in PAGE
    for text in (
        f"| {MAX_NAME_LENGTH} characters |",
        f"| {rules.MAX_TYPE_BYTES} bytes |",
        f"| {MAX_ERROR_BYTES // 1024} KiB |",
        f"| {MAX_DETAILS_BYTES // 1024} KiB; beyond",
        f"| {run_requests.MAX_REPORTS:,}, within 512 KiB |",
        f"| {MAX_DISPATCHERS:,} |",
        f"| {run_requests.MAX_VALUES} |",
        f"remembers the last {REMEMBERED_REPORTERS} of a dispatcher",
    ):
        assert text in API, text
