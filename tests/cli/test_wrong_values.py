"""An invalid value for each option: the message names the option, the value, and what is right.

What is right in detail is tested with the parsers.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.commanding import Cli

CREATE = ("create", "A", "-t", "1", "-s", "now", "-d", "1h")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("list", "--microgrid", "x"), "--microgrid"),
        (("list", "--timezone", "Mars"), "--timezone"),
        (("list", "--timeout", "soon"), "--timeout"),
        (("list", "--timeout", "0"), "--timeout"),
        (("list", "--color", "red"), "--color"),
        (("list", "--sort", "size"), "--sort"),
        (("list", "--id", "x"), "--id"),
        (("list", "--target", "boiler"), "--target"),
        (("list", "--start-from", "soon"), "--start-from"),
        (("list", "--start-to", "soon"), "--start-to"),
        (("list", "--end-from", "soon"), "--end-from"),
        (("list", "--end-to", "soon"), "--end-to"),
        (("list", "--updated-from", "soon"), "--updated-from"),
        (("list", "--updated-to", "soon"), "--updated-to"),
        (("get", "x"), "ID"),
        (("delete", "--yes", "5-3"), "ID"),
        (("update", "x"), "ID"),
        ((*CREATE, "--target", "boiler"), "--target"),
        ((*CREATE, "--start", "2026-13-01"), "--start"),
        ((*CREATE, "--start", "2026-03-29 02:30"), "--start"),
        ((*CREATE, "--duration", "90"), "--duration"),
        ((*CREATE, "--payload", "{power: 5}"), "--payload"),
        ((*CREATE, "--payload", "[1]"), "--payload"),
        ((*CREATE, "--payload", '{"power_kw": NaN}'), "--payload"),
        ((*CREATE, "--frequency", "often"), "--frequency"),
        ((*CREATE, "--interval", "0"), "--interval"),
        ((*CREATE, "--by-weekday", "xx"), "--by-weekday"),
        ((*CREATE, "--by-hour", "24"), "--by-hour"),
        ((*CREATE, "--by-minute", "60"), "--by-minute"),
        ((*CREATE, "--by-month-day", "32"), "--by-month-day"),
        ((*CREATE, "--by-month", "13"), "--by-month"),
        ((*CREATE, "--count", "5000"), "--count"),
        ((*CREATE, "--until", "soon"), "--until"),
        ((*CREATE, "--rrule", "FREQ=DAILY;BYSETPOS=1"), "--rrule"),
        (("export", "--format", "xml"), "--format"),
        (("completion", "tcsh"), "{bash|zsh|fish}"),
    ],
)
def test_an_invalid_value_is_named(cli: Cli, arguments: tuple[str, ...], option: str) -> None:
    message = cli.fails(2, *arguments)
    assert f"Invalid value for '{option}" in message
    assert arguments[-1] in message.replace("BYSETPOS is", "FREQ=DAILY;BYSETPOS=1")
    assert message.endswith("--help")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@none.json", "none.json cannot be read: No such file or directory"),
        ("{power: 5}", "invalid JSON: Expecting property name enclosed in double quotes"),
        ("[1]", "is not an object: use '{\"power_kw\": 5}' or @FILE"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1e400}', "1e400 is too large for a number"),
        ('{"a": "\\ud800"}', "'\\ud800' is half of a surrogate pair"),
    ],
)
def test_an_invalid_payload(cli: Cli, text: str, message: str) -> None:
    assert message in cli.fails(2, *CREATE, "--payload", text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "--url", "http://x"), "the scheme is 'http', expected 'grpc'"),
        (("list", "--colour", "red"), "No such option"),
        (
            ("--sort", "start", "list"),
            "no such option here: --sort; the options of a command follow",
        ),
        (("list", "--key", "schl\u00fcssel"), "not printable ASCII"),
        (("lst",), "no such command: 'lst': did you mean list?"),
        (("create", "A"), "Missing option '--target' / '-t'"),
        (("get",), "Missing argument 'ID...'"),
        (("update", "1-3", "--inactive"), "update one dispatch at a time"),
        (("update", "1"), "nothing to change"),
        (("update", "1", "--clear-recurrence", "--count", "3"), "--count exclude each other"),
        (("delete", "1"), "--yes is required to delete without a terminal"),
        ((*CREATE, "--by-hour", "8"), "--by-hour requires --frequency"),
        ((*CREATE, "--frequency", "daily", "--rrule", "FREQ=DAILY"), "leave out --frequency"),
        ((*CREATE[:-1], "forever", "--frequency", "daily"), "a recurrence exclude each other"),
        (
            (*CREATE, "--frequency", "daily", "--count", "3", "--until", "tomorrow"),
            "--count and --until exclude each other",
        ),
        (("watch", "--screen"), "--screen requires a terminal"),
        (("watch", "--screen", "--json"), "--screen and --json exclude each other"),
    ],
)
def test_options_that_exclude_or_require_each_other(
    cli: Cli, arguments: tuple[str, ...], message: str
) -> None:
    assert message in cli.fails(2, *arguments)


def test_an_export_to_a_folder_that_does_not_exist(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "none" / "plan.jsonl"
    message = cli.fails(1, "export", str(path))
    assert message == f"{path} cannot be written: No such file or directory"
