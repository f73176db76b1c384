"""Every command of the page about the command line is run against a service."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from trio_dispatch.cli.app.config import parse_config
from trio_dispatch.cli.app.group import cli
from trio_dispatch.cli.app.options import shared_options_of
from trio_dispatch.cli.app.run import EXIT_STATUSES
from trio_dispatch.cli.commands.read import get
from trio_dispatch.service import Keys, open_service
from trio_dispatch.text.records import COMPUTED, FIELDS

PAGE = (Path(__file__).parents[2] / "docs/howto/command-line.md").read_text()
BINARIES = Path(sys.executable).parent
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ") and "trio-dispatch " in line and "pip install" not in line
]
PLAN = re.search(r"```text\n(type,.*?)```", PAGE, re.DOTALL)


def test_the_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(COMMANDS) > 30
    assert PLAN is not None
    (tmp_path / "new.csv").write_text(PLAN[1])
    monkeypatch.chdir(tmp_path)
    with_service(partial(run_all, monkeypatch))
    assert {"plan.jsonl", "plan.csv", "plan.toml", "new.csv.state", "copy.db"} <= {
        path.name for path in tmp_path.iterdir()
    }


def run_all(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    environment = {
        "DISPATCH_API_URL": url,
        "DISPATCH_API_KEY": "k",
        "DISPATCH_MICROGRID_ID": "1",
        "DISPATCH_TIMEZONE": "Europe/Berlin",
        "XDG_CONFIG_HOME": str(Path.cwd()),
        "PATH": f"{BINARIES}:{os.environ['PATH']}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for command in COMMANDS:
        if command.startswith("trio-dispatch watch"):
            run_watch(command)
        elif re.search(r"[|$]", command):
            subprocess.run(["bash", "-c", command], check=True, capture_output=True, timeout=60)
        else:
            arguments = shlex.split(command)[1:]
            result = CliRunner().invoke(cli, arguments, prog_name="trio-dispatch")
            differs = command == "trio-dispatch diff new.csv" and not Path("new.csv.state").exists()
            assert result.exit_code == differs, f"{command}\n{result.output}"


def run_watch(command: str) -> None:
    """Start a command that runs until Ctrl-C, and interrupt it."""
    process = subprocess.Popen(
        shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


def with_service(function: Any) -> None:
    """Call a function with the URL of a new service, which runs in a thread."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        async with open_service(keys=Keys.of("k")) as service, trio.open_nursery() as nursery:
            ((_, port, *_), *_) = await nursery.start(
                partial(service.server.serve_tcp, 0, host="127.0.0.1")
            )
            ended = trio.Event()
            found.update(
                url=f"grpc://127.0.0.1:{port}?ssl=false",
                token=trio.lowlevel.current_trio_token(),
                end=ended.set,
            )
            ready.set()
            await ended.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        function(found["url"])
    finally:
        trio.from_thread.run_sync(found["end"], trio_token=found["token"])
        thread.join(30)


def test_the_config_file_of_the_page() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert set(parse_config(text).values) == {"url", "key", "microgrid", "timezone"}


def test_the_contexts_of_the_page() -> None:
    (text,) = [each for each in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) if "[" in each]
    config = parse_config(text)
    assert config.context in config.contexts
    assert [*config.contexts] == ["site-7", "test"]


def test_the_table_of_options_is_complete() -> None:
    for parameter in shared_options_of(get):
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{parameter.opts[0]}`")]
        for name in (
            [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []
        ):
            assert f"`{name}`" in row


def test_the_keys_of_json() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert tuple(json.loads(text)) == (*FIELDS, *COMPUTED)


def test_the_exit_statuses_are_those_of_the_help() -> None:
    of_page = dict(re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE))
    assert of_page == {str(status): text for status, text in EXIT_STATUSES.items()}
