"""``list``, ``get``, ``create``, ``update`` and ``delete`` against the real service."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.helpers.commanding import Cli, ServiceThread
from trio_dispatch import (
    BatteryType,
    ElectricalComponentCategory,
    EndCriteria,
    Frequency,
    InverterType,
    RecurrenceRule,
    TargetCategories,
    TargetIds,
    Weekday,
)
from trio_dispatch.cli.app.group import COMMANDS
from trio_dispatch.testing import make_dispatch

HOUR = timedelta(hours=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LATER = datetime(2090, 1, 1, 7, tzinfo=UTC)
CREATE = ("--target", "1-3", "--start", "2090-01-01 08:00", "--duration", "90m")


def ids(cli: Cli, *arguments: str) -> list[int]:
    return [record["id"] for record in cli.json("list", *arguments)]


def test_create_prints_the_dispatch_of_the_service(cli: Cli, service_thread: ServiceThread) -> None:
    (record,) = cli.json(
        "create", "CHARGE", *CREATE, "--payload", '{"power_kw": 5, "zone": "Kür"}', "--dry-run",
        "--inactive",
    )  # fmt: skip
    (dispatch,) = service_thread.dispatches().values()
    assert record["id"] == dispatch.id
    assert dispatch.type == "CHARGE"
    assert dispatch.start_time == LATER
    assert dispatch.duration == 1.5 * HOUR
    assert dispatch.target == TargetIds(1, 2, 3)
    assert dispatch.payload == {"power_kw": 5, "zone": "Kür"}
    assert (dispatch.dry_run, dispatch.active) == (True, False)
    text = cli.ok("get", str(dispatch.id))
    assert f"#{dispatch.id} CHARGE  dry run" in text
    assert '"zone": "Kür"' in text
    assert "2090-01-01 08:00" in text


def test_create_now_is_filled_in_by_the_service(cli: Cli) -> None:
    (record,) = cli.json("create", "A", "-t", "battery:li_ion", "-s", "now", "-d", "forever")
    assert record["running"] is True
    assert (record["until"], record["duration"], record["end_time"]) == (None, None, None)
    assert record["target"] == ["battery:li_ion"]


def test_a_payload_from_a_file_or_stdin(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "payload.json"
    path.write_text('{"a": [1, {"b": null}]}')
    (record,) = cli.json("create", "A", *CREATE, "--payload", f"@{path}")
    assert record["payload"] == {"a": [1, {"b": None}]}
    text = cli.ok("create", "A", *CREATE, "--payload", "@-", "--json", input='{"c": 1}')
    assert json.loads(text)["payload"] == {"c": 1}


def test_a_recurrence_by_options_and_as_text(cli: Cli, service_thread: ServiceThread) -> None:
    until = "2091-01-01T00:00Z"
    cli.ok(
        "create", "A", *CREATE, "--frequency", "weekly", "--interval", "2", "--by-weekday",
        "mon-wed,fri", "--by-hour", "8,9", "--by-minute", "0,30", "--until", until,
    )  # fmt: skip
    rule = (
        "FREQ=WEEKLY;INTERVAL=2;UNTIL=20910101T000000Z;BYDAY=MO,TU,WE,FR;BYHOUR=8,9;BYMINUTE=0,30"
    )
    cli.ok("create", "B", *CREATE, "--rrule", rule)
    first, second = service_thread.dispatches().values()
    assert first.recurrence == second.recurrence
    assert first.recurrence == RecurrenceRule(
        Frequency.WEEKLY,
        interval=2,
        end_criteria=EndCriteria(until=datetime(2091, 1, 1, tzinfo=UTC)),
        byweekdays=tuple(map(Weekday, (1, 2, 3, 5))),
        byhours=(8, 9),
        byminutes=(0, 30),
    )


def test_a_recurrence_in_local_time_causes_a_warning(cli: Cli) -> None:
    arguments = ("create", "A", *CREATE, "--frequency", "daily")
    warning = cli(*arguments).stderr
    assert "Warning: recurrences are in UTC and do not follow daylight saving time" in warning
    assert "in Europe/Berlin" in warning
    assert cli(*arguments, "--timezone", "UTC").stderr == ""
    assert "Warning" not in cli("create", "A", *CREATE, "--frequency", "hourly").stderr


def test_a_refusal_names_the_option(cli: Cli) -> None:
    said = cli.fails(1, "create", "A", "-t", "1", "-s", "5 minutes ago", "-d", "1h")
    assert said.startswith("--start must not be in the past")


def test_update_changes_only_what_is_given(cli: Cli, service_thread: ServiceThread) -> None:
    rule = RecurrenceRule(Frequency.DAILY, byhours=(8,), byminutes=(30,))
    service_thread.put(
        make_dispatch(5, start_time=LATER, payload={"a": 1}, dry_run=True, recurrence=rule)
    )

    def update(*arguments: str) -> None:
        cli.ok("update", "5", *arguments)

    before = service_thread.dispatches()[5]
    update("--inactive")
    changed = service_thread.dispatches()[5]
    assert not changed.active
    assert (changed.payload, changed.recurrence, changed.dry_run) == ({"a": 1}, rule, True)
    update("--active", "--payload", '{"b": 2}', "--target", "hvac", "--duration", "2h")
    changed = service_thread.dispatches()[5]
    assert changed.active
    assert changed.payload == {"b": 2}
    assert changed.target == TargetCategories(ElectricalComponentCategory.HVAC)
    assert changed.duration == 2 * HOUR
    update("--by-hour", "none", "--interval", "3")
    changed = service_thread.dispatches()[5]
    assert changed.recurrence == RecurrenceRule(Frequency.DAILY, interval=3, byminutes=(30,))
    update("--rrule", "FREQ=HOURLY")
    assert service_thread.dispatches()[5].recurrence == RecurrenceRule(Frequency.HOURLY)
    update("--clear-recurrence", "--duration", "none")
    changed = service_thread.dispatches()[5]
    assert (changed.recurrence, changed.duration) == (None, None)
    update("--start", "2095-01-01T00:00Z")
    assert service_thread.dispatches()[5].start_time == datetime(2095, 1, 1, tzinfo=UTC)
    update("--payload", "{}")
    assert service_thread.dispatches()[5].payload == {}
    assert service_thread.dispatches()[5].create_time == before.create_time


def test_update_to_start_now_starts_in_a_moment(cli: Cli) -> None:
    (record,) = cli.json("create", "A", *CREATE)
    (changed,) = cli.json("update", str(record["id"]), "--start", "now")
    ahead = datetime.fromisoformat(changed["start_time"]) - datetime.fromisoformat(
        changed["update_time"]
    )
    assert timedelta() <= ahead <= timedelta(seconds=2)


def test_delete(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(*(make_dispatch(id_) for id_ in range(1, 8)))
    assert cli.ok("delete", "1", "3-4", "--yes") == "deleted #1\ndeleted #3\ndeleted #4\n"
    assert cli.json("delete", "5", "-y") == [{"deleted": 5}]
    assert sorted(service_thread.dispatches()) == [2, 6, 7]
    said = cli.fails(3, "delete", "6,9,7", "--yes")
    assert said == "microgrid 1 has no dispatch 9"
    assert [*service_thread.dispatches()] == [2], "what there is was deleted"


def test_missing_dispatches_set_the_exit_status(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1), make_dispatch(3))
    result = cli("get", "1-3", "--json")
    assert result.exit_code == 3
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [1, 3]
    assert "has no dispatch 2" in result.stderr
    cli.fails(3, "update", "2", "--inactive")
    cli.fails(3, "update", "2", "--interval", "3")


def test_filters(cli: Cli, service_thread: ServiceThread) -> None:
    def at(hours: int) -> datetime:
        return LATER + hours * HOUR

    service_thread.put(
        make_dispatch(1, type="CHARGE", start_time=at(0), create_time=LONG_AGO),
        make_dispatch(2, type="DISCHARGE", start_time=at(1), active=False),
        make_dispatch(3, type="CHARGE", start_time=at(2), dry_run=True, target=TargetIds(7)),
        make_dispatch(
            4,
            type="HEAT",
            start_time=at(3),
            recurrence=RecurrenceRule(Frequency.DAILY),
            target=TargetCategories(BatteryType.LI_ION, InverterType.PV),
            end_time=None,
        ),
        make_dispatch(5, type="COOL", start_time=LONG_AGO, duration=None, end_time=None),
        make_dispatch(
            6, type="HEAT", start_time=LONG_AGO, end_time=LONG_AGO + HOUR, update_time=at(0)
        ),
    )

    def found(*arguments: str) -> set[int]:
        return set(ids(cli, *arguments))

    assert found() == {1, 2, 3, 4, 5, 6}
    assert found("--type", "CHARGE") == {1, 3}, "and no DISCHARGE"
    assert found("--type", "CHARGE", "--type", "HEAT") == {1, 3, 4, 6}
    assert found("--type", "#4") == set()
    assert found("--query", "CHARGE") == {1, 2, 3}
    assert found("-q", "#4", "-q", "COOL") == {4, 5}
    assert found("--id", "2,4-9") == {2, 4, 5, 6}
    assert found("--target", "7") == {3}
    assert found("--target", "battery:li_ion,inverter:pv", "--target", "7") == {3, 4}
    assert found("--active") == {1, 3, 4, 5, 6}
    assert found("--inactive") == {2}
    assert found("--dry-run") == {3}
    assert found("--no-dry-run", "--once") == {1, 2, 5, 6}
    assert found("--recurring") == {4}
    assert found("--running") == {5}
    assert found("--start-from", "2090-01-01 09:00", "--start-to", "2090-01-01 10:00") == {2}
    assert found("--end-to", "2021-01-01") == {6}
    assert found("--end-from", "2021-01-01", "--type", "COOL") == {5}
    assert found("--updated-from", "2089-01-01") == {6}
    assert found("--updated-to", "2089-01-01", "--type", "HEAT") == {4}
    assert ids(cli, "--sort", "start", "--ascending", "--start-from", "now") == [1, 2, 3, 4]
    assert ids(cli, "--sort", "start", "--start-from", "now") == [4, 3, 2, 1]
    assert ids(cli, "--sort", "updated")[0] == 6
    assert ids(cli, "--ascending")[0] == 1


def test_a_list_is_complete_without_a_terminal(cli: Cli, service_thread: ServiceThread) -> None:
    targets = TargetIds(*range(0, 300, 2))
    service_thread.put(
        make_dispatch(1, type="T" * 300, target=targets, start_time=LATER),
        make_dispatch(2, duration=None),
        make_dispatch(3, active=False),
        make_dispatch(4),
    )
    heading, *rows = cli.ok("list").splitlines()
    assert heading.split() == [
        "ID", "TYPE", "TARGET", "START", "DURATION", "RECURS", "STATE", "NEXT", "RUN", "PAYLOAD",
    ]  # fmt: skip
    states = {row.split()[0]: row for row in rows}
    assert len(rows) == 4
    assert "T" * 300 in states["1"]
    assert ",".join(map(str, sorted(targets))) in states["1"]
    assert states["1"].split()[-3:] == ["waits", "2090-01-01", "08:00"]
    assert states["2"].split()[-2:] == ["forever", "runs"]
    assert states["3"].split()[-1] == "inactive"
    assert states["4"].split()[-1] == "over"


def test_many_pages(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(*(make_dispatch(id_) for id_ in range(1, 351)))
    assert len(ids(cli)) == 350
    assert "350 dispatches in microgrid 1" in cli("list").stderr


def test_an_empty_list(cli: Cli) -> None:
    result = cli("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "0 dispatches in microgrid 1" in result.stderr
    assert cli.json("list") == []


def test_keys_of_json_are_stable(cli: Cli) -> None:
    (created,) = cli.json("create", "A", *CREATE)
    (got,) = cli.json("get", str(created["id"]))
    (listed,) = cli.json("list")
    assert [*got] == [*listed] == [*created]
    assert [*got] == [
        "id", "type", "start_time", "duration", "target", "active", "dry_run", "payload",
        "recurrence", "create_time", "update_time", "end_time", "running", "until", "next_run",
    ]  # fmt: skip
    assert got == listed


def test_an_invalid_key(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    said = cli.fails(1, "list", "--key", "wrong")
    assert "check --key (DISPATCH_API_AUTH_KEY)" in said


def test_an_unreachable_service(cli: Cli) -> None:
    said = cli.fails(4, "list", "--url", "grpc://127.0.0.1:1?ssl=false")
    assert "check --url, and that the service runs" in said


def test_a_service_that_does_not_answer(cli: Cli) -> None:
    said = cli.fails(4, "list", "--timeout", "0.000001")
    assert "allow more time with --timeout" in said


def test_help_of_each_command(cli: Cli) -> None:
    overview = cli.ok("--help")
    for name in COMMANDS:
        text = cli.ok(name, "--help")
        assert text.startswith(f"Usage: trio-dispatch {name}")
        assert f"  {name} " in overview
    assert "Exit status:" in cli.ok("--help")
    assert cli.ok("--version").startswith("trio-dispatch, version ")
