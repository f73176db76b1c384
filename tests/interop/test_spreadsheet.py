"""A plan through LibreOffice: CSV to a workbook and back changes nothing."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.helpers.commanding import KEY, ServiceThread
from trio_dispatch import (
    BatteryType,
    Dispatch,
    ElectricalComponentCategory,
    EndCriteria,
    Frequency,
    RecurrenceRule,
    TargetCategories,
    TargetCategory,
    TargetIds,
)
from trio_dispatch.cli.app.group import cli
from trio_dispatch.model.times import time_from_nanos
from trio_dispatch.testing import make_dispatch

pytestmark = pytest.mark.skipif(
    shutil.which("soffice") is None, reason="LibreOffice (soffice) is not installed"
)
LATER = datetime(2090, 1, 2, 11, tzinfo=UTC)
TYPES = (
    "CHARGE", "=1+1", "+1", "-1", "@SUM(A1)", "\tTAB", "'quoted", "''", "007", "1e5", "1-3",
    "2090-01-02", "TRUE", "false", "MAR1", "Sept 12", " spaces ", "two\nlines", "Zürich €",
    'a"quote', "a;b,c\td", "12:30", "50%", "$5", "1,5", "#N/A", "3/4", "1.5E-3", "x" * 200,
)  # fmt: skip


def plan() -> list[Dispatch]:
    targets = (
        TargetIds(1), TargetIds(1, 2), TargetIds(1, 2, 3), TargetIds(12, 5, 6, 7, 10),
        TargetIds(1, 2, 2030), TargetIds(2**53 + 1), TargetIds(2**64 - 1, 3),
        TargetCategories(
            TargetCategory(ElectricalComponentCategory.BATTERY, BatteryType.LI_ION),
            TargetCategory(ElectricalComponentCategory.CHP),
        ),
    )  # fmt: skip
    rules = (
        None,
        RecurrenceRule(Frequency.DAILY, byhours=(8, 12), byminutes=(0, 30)),
        RecurrenceRule(Frequency.WEEKLY, byweekdays=(1, 5), end_criteria=EndCriteria(count=9)),
        RecurrenceRule(Frequency.MONTHLY, bymonthdays=(-1,), end_criteria=EndCriteria(until=LATER)),
    )
    payloads: tuple[dict[str, Any], ...] = (
        {"power_kw": -5.5}, {"=a": ["-1", None, True, {"näme": "=2"}]}, {"n": 1e-7},
    )  # fmt: skip
    durations = (None, timedelta(), timedelta(seconds=1), timedelta(days=400))
    found = [make_dispatch(1, type=type, start_time=LATER) for type in TYPES]
    found += [make_dispatch(1, start_time=LATER, target=target) for target in targets]
    found += [make_dispatch(1, start_time=LATER, recurrence=rule) for rule in rules]
    found += [make_dispatch(1, start_time=LATER, payload=payload) for payload in payloads]
    found += [make_dispatch(1, start_time=LATER, duration=duration) for duration in durations]
    found.append(make_dispatch(1, start_time=LATER, active=False, dry_run=True))
    found.append(make_dispatch(1, start_time=LATER + timedelta(microseconds=1)))
    found.append(make_dispatch(1, start_time=time_from_nanos(4_000_000_000_123_456_789)))
    return found


def convert(source: Path, ending: str, folder: Path) -> Path:
    folder.mkdir()
    profile = (folder.parent / "profile").as_uri()
    command = ["soffice", f"-env:UserInstallation={profile}", "--headless", "--convert-to", ending]
    subprocess.run(
        [*command, "--outdir", str(folder), str(source)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder / f"{source.stem}.{ending}"


def test_csv_through_a_workbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ServiceThread() as service:
        for name, value in {
            "DISPATCH_API_URL": service.url,
            "DISPATCH_API_KEY": KEY,
            "DISPATCH_MICROGRID_ID": "1",
            "XDG_CONFIG_HOME": str(tmp_path),
        }.items():
            monkeypatch.setenv(name, value)
        dispatches = [replace(each, id=number) for number, each in enumerate(plan(), 1)]
        service.put(*dispatches)
        path = tmp_path / "plan.csv"

        def run(*arguments: str) -> str:
            result = CliRunner().invoke(cli, arguments)
            assert result.exit_code == 0, result.output
            return result.stdout

        run("export", str(path))
        workbook = convert(path, "xlsx", tmp_path / "there")
        back = convert(workbook, "csv", tmp_path / "back")
        assert run("diff", str(back), "--prune") == ""
        # Nor do the cells differ that only people read.
        assert back.read_text().replace("\r\n", "\n") == path.read_text()
