"""Commands as processes: signals, pipes, terminals, imports and completion."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.commanding import PROGRAM, Cli, ServiceThread
from trio_dispatch.testing import make_dispatch


def test_ctrl_c_ends_watch(cli: Cli, service_thread: ServiceThread) -> None:
    process = cli.start("watch")
    assert process.stdout is not None
    assert "following microgrid 1" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == ""


def test_watch_ends_when_its_reader_closes_the_pipe(cli: Cli) -> None:
    process = cli.start("watch")
    assert process.stdout is not None
    assert process.stderr is not None
    assert "following" in process.stdout.readline()
    assert "live since" in process.stdout.readline()
    # Nothing more is to be written.
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize("command", ["list", "export"])
def test_a_reader_that_closes_the_pipe_early(
    cli: Cli, service_thread: ServiceThread, command: str
) -> None:
    text = "x" * 3000
    service_thread.put(*(make_dispatch(n, payload={"text": text}) for n in range(1, 200)))
    process = cli.start(command, *(["--json"] if command == "list" else []))
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["type"] == "CHARGE"
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_watch_shows_what_happens(cli: Cli, service_thread: ServiceThread) -> None:
    process = cli.start("watch", "--json")
    assert process.stdout is not None
    lines = iter(process.stdout)
    while json.loads(next(lines)).get("phase") != "live":
        pass
    cli.ok("create", "A", "-t", "1", "-s", "now", "-d", "1h")
    events = [json.loads(next(lines))["event"] for _ in range(2)]
    assert events == ["created", "runs"]
    process.terminate()
    process.communicate(timeout=30)


def test_the_screen_in_a_terminal(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1, type="ENDLESS", duration=None))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, "watch", "--screen"],
        env={**os.environ, **cli.environment, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(theirs)
    seen = _read_until(ours, b"forever")
    assert b"\x1b[?1049h" in seen, "the other screen"
    process.send_signal(signal.SIGINT)
    seen = _read_until(ours, b"\x1b[?1049l")
    assert process.wait(30) == 130
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    os.close(ours)


def test_delete_and_import_ask_in_a_terminal(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1), make_dispatch(2))
    for answer, status, left in (("n", 2, [1, 2]), ("y", 0, [2])):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [PROGRAM, "delete", "1"],
            env={**os.environ, **cli.environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        assert b"#1 CHARGE on 1" in _read_until(ours, b"[y/N]")
        os.write(ours, f"{answer}\n".encode())
        assert process.wait(30) == status
        os.close(ours)
        assert sorted(service_thread.dispatches()) == left


def _read_until(descriptor: int, wanted: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + 30
    while wanted not in seen:
        ready, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
        assert ready, seen
        seen += os.read(descriptor, 65_536)
    return seen


HEAVY = ("sqlalchemy", "trio_dispatch.service", "rich.table", "hypothesis", "grpc")


@pytest.mark.parametrize("arguments", [["--help"], ["list", "--help"], ["create", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['trio-dispatch', *{arguments}]\n"
        "from trio_dispatch.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('IMPORTED', *sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    modules = done.stdout.rpartition("IMPORTED")[2].split()
    assert "trio_dispatch" in modules
    assert [name for name in HEAVY if name in modules] == []
    assert arguments != ["--help"] or "trio" not in modules


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(cli: Cli, shell: str) -> None:
    script = cli.ok("completion", shell)
    assert "_TRIO_DISPATCH_COMPLETE" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=30)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("trio-dispatch cr", ["create"]),
        ("trio-dispatch list --sor", ["--sort"]),
        ("trio-dispatch list --sort u", ["updated"]),
        ("trio-dispatch list --timezone Europe/Berl", ["Europe/Berlin"]),
        ("trio-dispatch create A --target inverter:p", ["inverter:pv"]),
        ("trio-dispatch create A --frequency week", ["weekly"]),
    ],
)
def test_the_shell_completes(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: str, wanted: list[str]
) -> None:
    monkeypatch.setenv("_TRIO_DISPATCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert [line.partition(",")[2] for line in cli().stdout.splitlines()] == wanted
