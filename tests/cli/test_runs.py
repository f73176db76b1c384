"""``runs``, ``history`` and ``explain``, and the runs in ``get``, against the real service."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.commanding import Cli, ServiceThread, settings_for
from tests.helpers.reporting import ago, report_about, store_reports
from trio_dispatch import Dispatch, TargetIds
from trio_dispatch.cli.commands.runs import ANNOUNCEMENT_DELAY
from trio_dispatch.cli.commands.runs import runs as runs_command
from trio_dispatch.grpc import Status
from trio_dispatch.model.recurrence.rule import Frequency, RecurrenceRule
from trio_dispatch.model.runs import ReportKind, RunReport, StopReason
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

HOUR = timedelta(hours=1)
ACTOR: dict[str, Any] = {"actor": "charger", "component": 3, "attempt": 1}


def report(service: ServiceThread, *reports: RunReport, **options: Any) -> None:
    async def store() -> None:
        await store_reports(service.store, *reports, **options)

    service.call(store)


@pytest.fixture
def id_() -> int:
    """An id that no other test has used, since the service of the module keeps its runs."""
    return next(_ids)


_ids = iter(range(1000, 2000))


def current(id_: int, **fields: Any) -> Dispatch:
    """Return a dispatch that has been running for half an hour."""
    start = ago(minutes=30)
    made = make_dispatch(id_, start_time=start, target=TargetIds(3), update_time=start - HOUR)
    return replace(made, **fields)


def explained(cli: Cli, id_: int, *options: str, status: int = 0) -> str:
    result = cli("explain", str(id_), *options)
    assert result.exit_code == status, result.output
    return result.stdout


# Each reason of `explain`, as printed.  The tests collect what is printed here.
PRINTED: dict[str, str] = {}


def explain_case(cli: Cli, name: str, id_: int, *options: str, status: int = 0) -> str:
    PRINTED[name] = text = explained(cli, id_, *options, status=status)
    return text


def test_explain_a_dispatch_that_is_not_there(
    cli: Cli, service_thread: ServiceThread, id_: int
) -> None:
    text = explain_case(cli, "unknown", 4711, status=3)
    assert text == "#4711\n- it does not exist, and no change of it is recorded\n"
    service_thread.put(current(id_))
    text = explain_case(cli, "wrong microgrid", id_, "--microgrid", "2", status=3)
    assert text == f"#{id_}\n- wrong microgrid: it belongs to microgrid 1\n"
    cli.ok("delete", str(id_), "--yes")
    text = explain_case(cli, "deleted", id_, status=3)
    assert re.fullmatch(rf"#{id_}\n- deleted at .+ by key 1\n", text)


def test_explain_by_the_content(cli: Cli, service_thread: ServiceThread, id_: int) -> None:
    daily = RecurrenceRule(Frequency.DAILY)
    invalid = RecurrenceRule.unchecked(
        frequency=Frequency.DAILY, interval=0, end_criteria=None, byminutes=(), byhours=(),
        byweekdays=(), bymonthdays=(), bymonths=(),
    )  # fmt: skip
    never = RecurrenceRule(Frequency.YEARLY, bymonths=(2,), bymonthdays=(30,))
    for name, dispatch, expected in (
        ("runs", current(id_), r"- due to run now, from .+ until .+"),
        ("next run", current(id_, start_time=ago(hours=5), recurrence=daily), "- next run: .+"),
        ("over", current(id_, start_time=ago(hours=5)), "- over: the last run was at .+"),
        ("invalid rule", current(id_, recurrence=invalid), "- its recurrence rule is invalid: .+"),
        ("never fires", current(id_, recurrence=never), "- its recurrence rule never fires"),
        ("dry run", current(id_, dry_run=True), "- dry run: actors skip it .+"),
    ):
        service_thread.put(dispatch)
        assert re.search(f"^{expected}$", explain_case(cli, name, id_), re.MULTILINE), name
    service_thread.put(current(id_))
    cli.ok("update", str(id_), "--inactive")
    text = explain_case(cli, "inactive", id_)
    assert re.search(r"^- inactive since .+ by key 1$", text, re.MULTILINE)
    records = cli.json("explain", str(id_))
    assert records[0]["reason"] == "inactive"
    assert records[0]["change"]["old"]["active"] is True


def test_explain_by_the_reports(cli: Cli, service_thread: ServiceThread, id_: int) -> None:
    dispatch = current(id_)
    service_thread.put(dispatch)
    service_thread.put(current(id_ + 5000), microgrid=9)
    text = explain_case(cli, "no dispatcher", id_ + 5000, "--microgrid", "9")
    assert "- no dispatcher has reported to this microgrid" in text
    report(service_thread, report_about(make_dispatch(7777), ReportKind.COMPLETED))
    text = explain_case(cli, "not reported", id_)
    assert re.search(r"- no dispatcher has reported the run of .+; .*site-7 \(last report", text)
    who = r"- site-7, charger \[3\]: the run of .+"
    # Each is the last report about the same run.
    for name, kind, changes, expected in (
        ("rejected", ReportKind.REJECTED, {"error": "power_kw is missing"},
         f"{who} was rejected: power_kw is missing"),
        ("skipped", ReportKind.SKIPPED, {}, f"{who} was skipped, since it is a dry run"),
        ("missed", ReportKind.MISSED, {}, f"{who} was missed: it was over before .+"),
        ("running", ReportKind.STARTED, {}, f"{who} is running"),
        ("failing", ReportKind.FAILED, {"attempt": 4, "error": "OSError: no contact"},
         f"{who} is failing, attempt 4: OSError: no contact"),
        ("failing again", ReportKind.STARTED, {"attempt": 5},
         f"{who} is failing, attempt 5: OSError: no contact"),
        ("stopped", ReportKind.STOPPED, {"reason": StopReason.OFFLINE},
         rf"{who} was stopped at .+: offline"),
        ("completed", ReportKind.COMPLETED, {}, f"{who} was completed"),
    ):  # fmt: skip
        report(service_thread, report_about(dispatch, kind, **ACTOR | changes))
        text = explain_case(cli, name, id_)
        assert re.search(f"^{expected}$", text, re.MULTILINE), (name, text)
    report(service_thread, report_about(dispatch, **ACTOR))
    cli.ok("update", str(id_), "--duration", "2h")
    text = explain_case(cli, "outdated", id_)
    assert re.search(r"^- site-7, charger \[3\]: acts upon the content of .+$", text, re.MULTILINE)


def test_explain_which_dispatch_supersedes(
    cli: Cli, service_thread: ServiceThread, id_: int
) -> None:
    first, second = current(id_), current(id_ + 3000, start_time=ago(minutes=10))
    service_thread.put(first, second)
    report(
        service_thread,
        report_about(first, **ACTOR),
        report_about(
            first,
            ReportKind.STOPPED,
            time=second.start_time,
            reason=StopReason.SUPERSEDED,
            **ACTOR,
        ),
        report_about(second, **ACTOR),
    )
    text = explain_case(cli, "superseded", id_)
    assert re.search(rf"was superseded by #{second.id} at .+$", text, re.MULTILINE)


def test_the_reasons_can_be_collected() -> None:
    """Writes what was printed where TRIO_DISPATCH_EXPLAIN says, to be read."""
    import os
    from pathlib import Path

    if (name := os.environ.get("TRIO_DISPATCH_EXPLAIN")) is not None:
        text = "".join(f"== {name}\n{text}\n" for name, text in PRINTED.items())
        Path(name).write_text(text)


def test_runs_lists_what_actors_did(cli: Cli, service_thread: ServiceThread, id_: int) -> None:
    dispatch = current(id_)
    other = current(id_ + 3000, start_time=ago(minutes=20), type="DISCHARGE")
    report(
        service_thread,
        report_about(dispatch),
        report_about(dispatch, **ACTOR),
        report_about(
            dispatch, ReportKind.FAILED, **ACTOR | {"attempt": 2}, error="no \x1b[31mcontact",
            details={"soc": 0.5, "steps": 3},
        ),
        report_about(other, ReportKind.COMPLETED, time=ago(minutes=5)),
    )  # fmt: skip
    only = (str(id_), str(other.id))
    heading, announced, acted = cli.ok("runs", *only).splitlines()
    assert heading.split()[:5] == ["START", "DISPATCH", "DISPATCHER", "ACTOR", "STATE"]
    assert re.search(rf"#{other.id} DISCHARGE  site-7 +completed", announced)
    assert re.search(rf"#{id_} CHARGE +site-7 +charger \[3\]  failed", acted)
    assert r'attempt 2; no \x1b[31mcontact; {"soc": 0.5, "steps": 3}' in acted
    assert [record["actor"] for record in cli.json("runs", *only)] == [None, "charger", None]
    assert cli.json("runs", *only, "--state", "failed")[0]["details"] == {"soc": 0.5, "steps": 3}
    # The announcement runs, but the actor has failed.
    assert cli.ok("runs", str(id_), "--state", "running") == ""
    for options, expected in (
        (["--type", "DISCHARGE"], [other.id]),
        (["--component", "3"], [id_]),
        (["--dispatcher", "nobody"], []),
        (["--from", f"{other.start_time.isoformat()}"], [other.id]),
        (["--to", f"{other.start_time.isoformat()}"], [id_, id_]),
        (["--limit", "1"], [other.id]),
    ):
        found = [record["dispatch_id"] for record in cli.json("runs", *only, *options)]
        assert found == expected, options


def test_get_shows_the_last_runs(cli: Cli, service_thread: ServiceThread, id_: int) -> None:
    dispatch = current(id_)
    service_thread.put(dispatch)
    assert "  run " not in cli.ok("get", str(id_))
    report(service_thread, report_about(dispatch), report_about(dispatch, **ACTOR))
    [line] = [line for line in cli.ok("get", str(id_)).splitlines() if line.startswith("  run ")]
    assert "charger [3]  runs" in line


def test_history_says_who_changed_what(cli: Cli, id_: int) -> None:
    (made,) = cli.json(
        "create", "CHARGE", "--target", "1-3", "--start", "2090-01-01 08:00", "--duration", "90m"
    )
    number = str(made["id"])
    cli.ok("update", number, "--inactive", "--payload", '{"power_kw": 7}')
    cli.ok("delete", number, "--yes")
    lines = cli.ok("history", number).splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    pattern = r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?  %s by key 1 \(127\.0\.0\.1:\d+\)"
    for line, kind in zip(heads, ("created", "updated", "deleted"), strict=True):
        assert re.fullmatch(pattern % kind, line)
    assert "    target    1-3" in lines
    assert '    payload   {} -> {"power_kw": 7}' in lines
    assert "    active    yes -> no" in lines
    assert sum("->" in line for line in lines) == 2
    created, updated, deleted = cli.json("history", number)
    assert (created["old"], deleted["new"]) == (None, None)
    assert (updated["old"]["active"], updated["new"]["active"]) == (True, False)
    assert created["key_name"] == "key 1"
    assert len(cli.json("history", number, "--limit", "1")) == 1
    assert cli.fails(3, "history", "4711").startswith("no change of dispatch 4711")


# Following, on virtual time.


class Lines:
    """What a command writes."""

    def __init__(self) -> None:
        self.text = ""

    async def write(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        self.text += text

    def take(self) -> list[str]:
        lines, self.text = self.text.splitlines(), ""
        return lines


async def test_follow_prints_each_change_once(autojump_clock: MockClock) -> None:
    lines = Lines()
    async with open_test_service() as service, trio.open_nursery() as nursery:
        dispatch = make_dispatch(1)
        await store_reports(service.store, report_about(dispatch, **ACTOR))
        nursery.start_soon(_follow, service, lines)
        await wait_all_tasks_blocked()
        assert [line.split()[1] for line in lines.take()] == ["#1"]
        # The announcement is not shown, since an actor reports soon.
        second = make_dispatch(2)
        await store_reports(service.store, report_about(second), report_about(second, **ACTOR))
        await trio.sleep(2 * ANNOUNCEMENT_DELAY)
        [line] = lines.take()
        assert re.search(r"#2 CHARGE  site-7  charger \[3\]  runs", line)
        # Nobody else reports this one.
        await store_reports(service.store, report_about(make_dispatch(3), ReportKind.MISSED))
        await trio.sleep(2 * ANNOUNCEMENT_DELAY)
        assert [line.split()[1] for line in lines.take()] == ["#3"]
        # What happens while it is disconnected is shown afterwards, and nothing twice.
        await service.stop()
        done = report_about(second, ReportKind.COMPLETED, **ACTOR)
        await store_reports(service.store, done)
        await trio.sleep(5)
        await service.restart()
        await trio.sleep(120)
        [line] = lines.take()
        assert "completed" in line
        nursery.cancel_scope.cancel()


async def _follow(service: LocalService, lines: Lines) -> None:
    await runs_command(settings_for(service), follow=True, write=lines.write)


async def test_follow_prints_json_with_announcements(autojump_clock: MockClock) -> None:
    lines = Lines()
    async with open_test_service() as service, trio.open_nursery() as nursery:
        settings = replace(settings_for(service), output="json")

        @nursery.start_soon
        async def follow() -> None:
            await runs_command(settings, follow=True, types=["CHARGE"], write=lines.write)

        await wait_all_tasks_blocked()
        dispatch = make_dispatch(1)
        await store_reports(
            service.store,
            report_about(dispatch),
            report_about(dispatch, **ACTOR),
            report_about(make_dispatch(2, type="OTHER")),
        )
        await trio.sleep(1)
        records = [json.loads(line) for line in lines.take()]
        assert [(each["dispatch_id"], each["actor"]) for each in records] == [
            (1, None),
            (1, "charger"),
        ]
        nursery.cancel_scope.cancel()


async def test_a_service_without_runs_is_named(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    from trio_dispatch.cli.commands.history import explain
    from trio_dispatch.cli.commands.read import get

    async with open_test_service() as service:
        await service.put(make_dispatch(1))
        for method in ("list_dispatchers", "list_runs"):
            service.fail_next(method, Status.UNIMPLEMENTED)
        await explain(settings_for(service), id=1)
        assert "- the service does not record runs" in capsys.readouterr().out
        await get(settings_for(service), ids=[[1]])
        assert "  run " not in capsys.readouterr().out
