"""The page about plans: its commands run, and print what the page shows."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.commanding import Cli, ServiceThread, run
from trio_dispatch.cli.app.group import COMMANDS
from trio_dispatch.cli.plans.plan import KEYS

PAGE = (Path(__file__).parents[2] / "docs/howto/plans.md").read_text()
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def blocks() -> Iterator[tuple[str, str]]:
    """The language and the text of each block, in order."""
    yield from re.findall(r"^```(console|toml|sh)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_commands_print_what_the_page_shows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with ServiceThread() as service:
        for name, value in Cli(service.url, tmp_path).environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("DISPATCH_TIMEZONE", "UTC")
        monkeypatch.setenv("EDITOR", "true")
        count = 0
        for language, text in blocks():
            if language == "toml":
                Path(text.split()[1]).write_text(text)
            elif language == "console":
                for command, shown in COMMAND.findall(text):
                    printed = run_one(command.replace("ID", str(service.last_id)))
                    assert {*shown.splitlines()} <= {*printed.splitlines(), "..."}, (
                        f"{command}\n{printed}"
                    )
                    count += 1
    assert count > 15


def run_one(command: str) -> str:
    if not re.match(r"(EDITOR=\w+ )?trio-dispatch ", command):
        subprocess.run(["bash", "-c", command], check=True, timeout=60)
        return ""

    arguments = shlex.split(command)
    result = run(*arguments[arguments.index("trio-dispatch") + 1 :])
    assert result.exit_code in {0, 1, 2}
    assert "Traceback" not in result.output
    # What is long is shortened on the page.
    return re.sub(r"(use grid_connection_point, meter), .*", r"\1, ...", result.output)


def test_the_page_has_every_key() -> None:
    of_table = {
        *re.findall(r"`(\w+)`", PAGE[: PAGE.index("The other keys of")].split("| key |")[1])
    }
    assert of_table - {"comment", "note"} <= {*KEYS}
    assert {"name", "timezone", "except", "holidays"} <= of_table


def test_the_commands_of_the_page_exist() -> None:
    named = {*re.findall(r"trio-dispatch (\w+)", PAGE)}
    assert named >= {"diff", "apply", "edit", "skip", "export"}
    assert named <= {*COMMANDS}
