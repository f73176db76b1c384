"""A wrong value for each option: the message names the option, the value, and what is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.commanding import Cli

CREATE = ("create", "A", "-t", "1", "-s", "now", "-d", "1h")
MOMENT = "is no time: say now, 'in 10 minutes'"
TARGET = "no category of components: there are grid_connection_point"


@pytest.mark.parametrize(
    ("arguments", "option", "why"),
    [
        (("list", "--microgrid", "x"), "--microgrid", "'x' is no id of a microgrid: say a number"),
        (("list", "--timezone", "Mars"), "--timezone", "say local, UTC or a name such as"),
        (("list", "--timeout", "0"), "--timeout", "'0' is no number of seconds above 0"),
        (("list", "--timeout", "soon"), "--timeout", "'soon' is no number of seconds"),
        (("list", "--color", "red"), "--color", "'red' is not one of 'auto', 'always', 'never'"),
        (
            ("list", "--sort", "size"),
            "--sort",
            "'size' is not one of 'start', 'created', 'updated'",
        ),
        (("list", "--id", "x"), "--id", "'x' in 'x' is no id: say 1,2,5-9"),
        (("list", "--target", "boiler"), "--target", TARGET),
        (("list", "--start-from", "soon"), "--start-from", MOMENT),
        (("list", "--start-to", "soon"), "--start-to", MOMENT),
        (("list", "--end-from", "soon"), "--end-from", MOMENT),
        (("list", "--end-to", "soon"), "--end-to", MOMENT),
        (("list", "--updated-from", "soon"), "--updated-from", MOMENT),
        (("list", "--updated-to", "soon"), "--updated-to", MOMENT),
        (("get", "x"), "ID", "'x' in 'x' is no id"),
        (("delete", "5-3", "--yes"), "ID", "'5-3' ends before it begins: say 3-5"),
        (("get", "18446744073709551616"), "ID", "is beyond the largest id, 2**64 - 1"),
        (("update", "x"), "ID", "'x' in 'x' is no id"),
        (("update", "1-3", "--inactive"), "ID", "update one dispatch at a time"),
        ((*CREATE, "--target", "battery:pv"), "--target", "there are li_ion, na_ion"),
        ((*CREATE, "--start", "2026-13-01"), "--start", "month must be in 1..12"),
        ((*CREATE, "--start", "2026-03-29 02:30"), "--start", "there is no 2026-03-29 02:30 in"),
        ((*CREATE, "--duration", "90"), "--duration", "say 90s, 90m or 90h"),
        ((*CREATE, "--payload", "{power: 5}"), "--payload", "'{power: 5}' is no JSON"),
        ((*CREATE, "--payload", "[1]"), "--payload", "a payload is an object"),
        ((*CREATE, "--payload", '{"power_kw": NaN}'), "--payload", "NaN is no number in JSON"),
        ((*CREATE, "--payload", "@none.json"), "--payload", "none.json cannot be read: No such"),
        ((*CREATE, "--frequency", "often"), "--frequency", "'often' is none of minutely, hourly"),
        ((*CREATE, "--interval", "0"), "--interval", "'0' is no number from 1 to 10000"),
        ((*CREATE, "--by-weekday", "mo,xx"), "--by-weekday", "'xx' is not from 1 to 7, or mon,"),
        ((*CREATE, "--by-hour", "24"), "--by-hour", "'24' is not from 0 to 23"),
        ((*CREATE, "--by-minute", "60"), "--by-minute", "'60' is not from 0 to 59"),
        ((*CREATE, "--by-month-day", "32"), "--by-month-day", "from 1 to 31 or -31 to -1"),
        ((*CREATE, "--by-month", "13"), "--by-month", "'13' is not from 1 to 12, or jan, feb"),
        ((*CREATE, "--count", "5000"), "--count", "'5000' is no number from 1 to 4096"),
        ((*CREATE, "--until", "soon"), "--until", MOMENT),
        ((*CREATE, "--rrule", "FREQ=DAILY;BYSETPOS=1"), "--rrule", "does not support BYSETPOS"),
        (("export", "--format", "xml"), "--format", "'xml' is not one of 'jsonl', 'csv'"),
        (("import", "none.csv"), "FILE", "none.csv cannot be read: No such file"),
        (("completion", "tcsh"), "{bash|zsh|fish}", "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_a_wrong_value(cli: Cli, arguments: tuple[str, ...], option: str, why: str) -> None:
    said = cli.fails(2, *arguments)
    assert option in said
    assert why in said
    assert "--help" in said


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("list", "--url", "http://x"), "the scheme is 'http', expected 'grpc'"),
        (("list", "--colour", "red"), "No such option"),
        (("--url", "grpc://x", "list"), "no such option here: --url; options follow the command"),
        (("list", "--key", "schl\u00fcssel"), "not printable ASCII"),
        (("lst",), "No such command 'lst'"),
        (("create", "A"), "Missing option '--target' / '-t'"),
        (("get",), "Missing argument 'ID...'"),
        (("update", "1"), "nothing to change was given"),
        (("update", "1", "--clear-recurrence", "--count", "3"), "--count contradict each other"),
        (("delete", "1"), "there is no terminal to ask on: give --yes"),
        ((*CREATE, "--by-hour", "8"), "--by-hour needs a --frequency, say --frequency daily"),
        ((*CREATE, "--frequency", "daily", "--rrule", "FREQ=DAILY"), "leave out --frequency"),
        ((*CREATE[:-1], "forever", "--frequency", "daily"), "leaves no room for a recurrence"),
        (
            (*CREATE, "--frequency", "daily", "--count", "3", "--until", "tomorrow"),
            "--count and --until were both given",
        ),
        (("watch", "--screen"), "--screen needs a terminal"),
        (("watch", "--screen", "--json"), "--screen and --json contradict each other"),
    ],
)
def test_what_does_not_go_together(cli: Cli, arguments: tuple[str, ...], why: str) -> None:
    assert why in cli.fails(2, *arguments)


def test_a_file_to_import_that_makes_no_sense(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_text('{"type": "A"}\nnonsense\n')
    said = cli.fails(2, "import", str(path), "--apply")
    assert "line 1: start_time, duration, target missing; line 2: it is no JSON" in said
    path.write_bytes(b"\xff\xfe")
    assert "can't decode byte" in cli.fails(2, "import", str(path), "--apply")


def test_an_export_to_where_no_file_can_be(cli: Cli, tmp_path: Path) -> None:
    place = tmp_path / "none" / "plan.jsonl"
    said = cli.fails(1, "export", str(place))
    assert f"{place} cannot be written: No such file or directory" in said
