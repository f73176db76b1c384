"""``trio-dispatch timeline``."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.helpers.commanding import Cli, ServiceThread
from tests.helpers.reporting import report_about, store_reports
from trio_dispatch import (
    Dispatch,
    ElectricalComponentCategory,
    Frequency,
    RecurrenceRule,
    ReportKind,
    TargetCategories,
    TargetIds,
    draw_timeline,
)
from trio_dispatch.testing import make_dispatch
from trio_dispatch.text.files import write_header, write_row

BEGIN = datetime(2030, 3, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = ("--from", "2030-03-04T00:00Z", "--timezone", "UTC")
ANSI = re.compile(r"\x1b\[[0-9;]*m")

PLAN = [
    make_dispatch(1, start_time=BEGIN + 2 * HOUR, duration=3 * HOUR),
    make_dispatch(
        2,
        type="DISCHARGE",
        start_time=BEGIN - 48 * HOUR,
        target=TargetIds(7, 8),
        recurrence=RecurrenceRule(Frequency.HOURLY, interval=6),
    ),
    make_dispatch(3, type="RESERVE", start_time=BEGIN + 20 * HOUR, duration=None, dry_run=True),
    make_dispatch(4, type="OFF", start_time=BEGIN, active=False),
    make_dispatch(5, type="OVER", start_time=BEGIN - 9 * HOUR, end_time=BEGIN - 8 * HOUR),
    make_dispatch(6, type="LATER", start_time=BEGIN + 25 * HOUR),
]


@pytest.fixture
def plan(service_thread: ServiceThread, cli: Cli) -> Cli:
    service_thread.put(*PLAN)
    return cli


def picture(found: list[Dispatch], width: int) -> str:
    drawn = draw_timeline(found, BEGIN, BEGIN + 24 * HOUR, now=BEGIN - HOUR)
    return drawn.text(width) + "\n"


def test_a_timeline_of_a_service(plan: Cli) -> None:
    # Dispatches that cannot run in that time are not requested.
    assert plan.ok("timeline", *DAY, "--width", "60") == picture(PLAN[:3], 60)
    assert plan.ok("timeline", *DAY, "--width", "60", "--type", "CHARGE") == picture(PLAN[:1], 60)
    assert plan.ok("timeline", *DAY, "--width", "60", "2,3", "1") == picture(PLAN[:3], 60)
    assert plan.ok("timeline", *DAY, "--width", "60", "2") == picture(PLAN[1:2], 60)


def test_the_length_of_a_timeline(plan: Cli) -> None:
    to = plan.ok("timeline", *DAY, "--to", "2030-03-05T12:00Z")
    assert "LATER" in to
    assert plan.ok("timeline", *DAY, "--for", "36h") == to
    assert plan.ok("timeline", *DAY, "--for", "1d12h") == to


def test_by_target(plan: Cli) -> None:
    lines = plan.ok("timeline", *DAY, "--by", "target").splitlines()
    assert [line[:5].strip() for line in lines[2:4]] == ["1", "7,8"]


def test_times_of_a_zone(plan: Cli) -> None:
    printed = plan.ok("timeline", "--from", "2030-03-04", "--timezone", "Asia/Tokyo")
    assert printed.startswith("Asia/Tokyo Mon 4 Mar 2030")


def test_colours(plan: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plan.ok("timeline", *DAY)
    assert "\x1b" not in plain
    coloured = plan.ok("timeline", *DAY, "--color", "always")
    assert "\x1b[" in coloured
    assert ANSI.sub("", coloured) == plain
    monkeypatch.setenv("COLUMNS", "70")
    assert max(map(len, plan.ok("timeline", *DAY).splitlines())) <= 70


def test_json(plan: Cli) -> None:
    runs = [json.loads(line) for line in plan.ok("timeline", *DAY, "--json").splitlines()]
    starts = [run["start"] for run in runs]
    assert starts == sorted(starts)
    assert [run["id"] for run in runs] == [2, 1, 2, 2, 2, 3]
    assert runs[1] == {
        "id": 1,
        "type": "CHARGE",
        "target": [1],
        "dry_run": False,
        "payload": {},
        "start": "2030-03-04T02:00:00Z",
        "end": "2030-03-04T05:00:00Z",
    }
    assert (runs[-1]["end"], runs[-1]["dry_run"]) == (None, True)


@pytest.mark.parametrize("suffix", ["svg", "png", "html", "txt"])
def test_a_file(plan: Cli, suffix: str) -> None:
    path = plan.directory / f"plan.{suffix}"
    result = plan("timeline", *DAY, "-o", str(path), "--width", "600")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert result.stderr.endswith(f"{path}: 3 dispatches\n")
    content = path.read_bytes()
    if suffix == "svg":
        assert content.startswith(b'<svg xmlns="http://www.w3.org/2000/svg"')
        assert b'width="600"' in content
    assert (content[:4] == b"\x89PNG") == (suffix == "png")
    assert suffix == "png" or b"DISCHARGE" in content


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_timeline_of_a_file(format: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPATCH_API_URL", "DISPATCH_API_KEY", "DISPATCH_MICROGRID_ID"):
        monkeypatch.delenv(name)
    path = cli.directory / f"plan.{format}"
    lines = [write_row(each, format) for each in PLAN]  # type: ignore[arg-type]
    path.write_text(write_header(format, 1) + "".join(lines))  # type: ignore[arg-type]
    command = ("timeline", *DAY, "--width", "60")
    assert cli.ok(*command, "--input", str(path)) == picture(PLAN, 60)
    assert cli.ok(*command, "-i", str(path), "1,2") == picture(PLAN[:2], 60)
    assert cli.ok(*command, "-i", str(path), "--type", "OFF") == picture(PLAN[3:4], 60)
    if format == "jsonl":
        assert cli.ok(*command, "-i", "-", input="".join(lines)) == picture(PLAN, 60)


def test_an_invalid_input(cli: Cli) -> None:
    path = cli.directory / "plan.jsonl"
    path.write_text('{"type": 5}\n')
    result = cli("timeline", "-i", str(path))
    assert result.exit_code == 2
    assert f"{path}:1: type: 5 is not a string" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("-o", "plan.jpg"), 2, "'plan.jpg' is neither table nor json nor a file"),
        (("-o", "/nonexistent/plan.svg"), 1, "/nonexistent/plan.svg cannot be written: No such"),
        (("--width", "9"), 2, "9 is not in the range 40<=x<=10000"),
        (("--by", "id"), 2, "'id' is not one of type, target, component"),
        (("--for", "forever"), 2, "--for cannot be forever: use a duration such as 12h or 7d"),
        (("--for", "0"), 2, "is not after the begin"),
        (("--for", "much"), 2, "'much'"),
        (("--from", "whenever"), 2, "'whenever' is not a time"),
        (("--to", "now", "--for", "1d"), 2, "--to and --for exclude each other"),
        (("--to", "yesterday"), 2, "is not after the begin"),
        (("--from", "9999-12-31", "--for", "7d"), 2, "ends after the year 9999"),
        (("--from", "9500-01-01"), 2, "is not within the years 1000 to 8999"),
        (("-i", "/nonexistent"), 2, "'/nonexistent' does not exist"),
        (("x",), 2, "'x'"),
    ],
)
def test_invalid_options(cli: Cli, arguments: tuple[str, ...], status: int, message: str) -> None:
    result = cli("timeline", *arguments)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert result.exit_code == status
    assert result.stdout == ""


def test_without_the_extra(plan: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    result = plan("timeline", "-o", str(Path(plan.directory) / "plan.png"))
    assert result.exit_code == 1
    assert "pip install 'trio-dispatch[pictures]'" in result.stderr


# By component.


SITE = """
1-2 = "battery:li_ion"
3 = "battery"
8 = "inverter:pv"
"""
DRIVEN = [
    make_dispatch(
        1,
        start_time=BEGIN,
        duration=6 * HOUR,
        target=TargetCategories(ElectricalComponentCategory.BATTERY),
    ),
    make_dispatch(2, start_time=BEGIN + 2 * HOUR, duration=2 * HOUR, target=TargetIds(2)),
    make_dispatch(3, type="LIMIT", start_time=BEGIN, duration=HOUR, target=TargetIds(8, 9)),
]


@pytest.fixture
def site(service_thread: ServiceThread, cli: Cli) -> Cli:
    service_thread.put(*DRIVEN)
    (cli.directory / "site.toml").write_text(SITE)
    return cli


def test_by_component(site: Cli) -> None:
    drawn = site.ok("timeline", *DAY, "--by", "component")
    assert [line.split(" ▄")[0].split(" ·")[0] for line in drawn.splitlines()[2:5]] == [
        "component 2",
        "component 8",
        "component 9",
    ]
    components = ("--components", str(site.directory / "site.toml"))
    drawn = site.ok("timeline", *DAY, "--by", "component", *components)
    rows = [line for line in drawn.splitlines() if line.startswith("component")]
    assert [row[:11] for row in rows] == [f"component {id_}" for id_ in (1, 2, 3, 8)]
    assert "▁▁ overridden" in drawn


def test_json_by_component(site: Cli) -> None:
    components = ("--components", str(site.directory / "site.toml"))
    printed = site.ok("timeline", *DAY, "--by", "component", *components, "--json")
    found = [
        (each["component"], each["id"], each["start"][11:16], each["end"][11:16])
        for each in map(json.loads, printed.splitlines())
    ]
    assert found == [
        (1, 1, "00:00", "06:00"),
        (2, 1, "00:00", "02:00"),
        (3, 1, "00:00", "06:00"),
        (8, 3, "00:00", "01:00"),
        (2, 2, "02:00", "04:00"),
        (2, 1, "04:00", "06:00"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 = 5", "1: 5 is not a category"),
        ('1 = "boiler"', "unknown category 'boiler'"),
        ('x = "battery"', "'x' is not an id"),
        ("1 =", "Invalid value"),
    ],
)
def test_invalid_components(cli: Cli, content: str, message: str) -> None:
    path = cli.directory / "site.toml"
    path.write_text(content)
    (cli.directory / "plan.jsonl").write_text("")
    files = ("-i", str(cli.directory / "plan.jsonl"), "--components", str(path))
    result = cli("timeline", "--by", "component", *files)
    assert result.exit_code == 2, result.output
    assert message in result.stderr


def test_planned_and_actual(plan: Cli, service_thread: ServiceThread) -> None:
    dispatch = PLAN[0]
    late = dispatch.start_time + HOUR / 2

    async def report() -> None:
        await store_reports(
            service_thread.store,
            report_about(dispatch, time=late, actor="charger", component=1),
            report_about(
                dispatch, ReportKind.COMPLETED, time=late + HOUR, actor="charger", component=1
            ),
        )

    service_thread.call(report)
    day = (*DAY, "--for", "1d", "--width", "80", "--type", "CHARGE")
    planned = plan.ok("timeline", *day)
    both = plan.ok("timeline", *day, "--actual")
    assert [line for line in both.splitlines() if line.startswith("CHARGE actual")]
    assert "CHARGE actual" not in planned
    by_component = plan.ok("timeline", *day, "--actual", "--by", "component")
    assert [line for line in by_component.splitlines() if line.startswith("component 1 actual")]
    assert [record.get("state") for record in plan.json("timeline", *day, "--actual")] == [
        None,
        "completed",
    ]
    assert plan.ok("timeline", "--actual", "--type", "CHARGE").count("CHARGE") == 0
    message = plan.fails(2, "timeline", "--actual", "--input", "-", input="")
    assert message.startswith("--actual and --input exclude each other")
