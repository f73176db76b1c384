"""Standard streams of every kind: closed, full, slow, without a reader, in other encodings."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commanding import PROGRAM, Cli, ServiceThread
from trio_dispatch.testing import make_dispatch

CREATE = ("create", "A", "-t", "1", "-s", "now", "-d", "1h")
EVIL = "CHARGE\x1b[2K\r\x1b]0;title\x07\x9b31m\u202e\nDISCHARGE"
PRINTING = [
    ("list",), ("list", "--json"), ("get", "1"), ("get", "1", "--json"), ("timeline",),
    ("timeline", "--json"), ("export",), ("completion", "bash"),
]  # fmt: skip


def finish(cli: Cli, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **cli.environment, **options.pop("env", {})}
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    return subprocess.run(
        [PROGRAM, *arguments],
        env=environment,
        cwd=cli.directory,
        timeout=60,
        check=False,
        **options,
    )


def closing(*descriptors: int) -> Callable[[], None]:
    def close() -> None:
        for each in descriptors:
            os.close(each)

    return close


# Closed.


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_a_closed_stream_fails_no_command(
    cli: Cli, service_thread: ServiceThread, closed: tuple[int, ...]
) -> None:
    service_thread.put(make_dispatch(1, duration=None))
    (cli.directory / "plan.jsonl").write_text(
        '{"type": "B", "start_time": "2090-01-01T00:00Z", "duration": 60, "target": [1]}\n'
    )
    for arguments in (
        ("list",),
        ("get", "1", "--json"),
        CREATE,
        ("import", "plan.jsonl", "--apply"),
        ("export", "copy.jsonl"),
        ("delete", "1", "--yes"),
    ):
        done = finish(cli, *arguments, preexec_fn=closing(*closed))
        assert done.returncode == 0, (arguments, done.stderr)
        assert 1 in closed or done.stdout or arguments[0] in {"import", "export"}
    assert sorted(each.type for each in service_thread.dispatches().values()) == ["A", "B"]
    lines = (cli.directory / "copy.jsonl").read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["CHARGE", "A", "B"]


# Without a reader.


def without_reader(cli: Cli, *arguments: str, stream: str = "stdout") -> int:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return finish(cli, *arguments, **{stream: writer}).returncode
    finally:
        os.close(writer)


def test_a_reader_that_is_gone_sets_the_exit_status(
    cli: Cli, service_thread: ServiceThread
) -> None:
    service_thread.put(make_dispatch(1, duration=None))
    for arguments in (*PRINTING, ("--help",), ("--version",), ("list", "--help"), CREATE):
        assert without_reader(cli, *arguments) == 141, arguments


def test_work_is_finished_without_a_reader(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(*(make_dispatch(id_) for id_ in range(1, 5)))
    assert without_reader(cli, "delete", "1-3", "--yes") == 141
    assert [*service_thread.dispatches()] == [4]
    line = '{"type": "B", "start_time": "2090-01-01T00:00Z", "duration": 60, "target": [1]}\n'
    (cli.directory / "plan.jsonl").write_text(line * 3)
    assert without_reader(cli, "import", "plan.jsonl", "--apply", "--json") == 141
    assert len(service_thread.dispatches()) == 4
    assert finish(cli, "import", "plan.jsonl", "--apply").returncode == 0
    assert len(service_thread.dispatches()) == 4, "nothing was left to do"


def test_messages_without_a_reader_are_lost(cli: Cli, service_thread: ServiceThread) -> None:
    for arguments in (CREATE, ("list",), ("export", "copy.jsonl")):
        assert without_reader(cli, *arguments, stream="stderr") == 0, arguments
    assert without_reader(cli, "get", "99", stream="stderr") == 3


@pytest.mark.parametrize("stdout", ["closed", "full", "without a reader"])
def test_a_service_runs_whatever_its_stdout_is(cli: Cli, stdout: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("wb") as full:
        process = cli.start(
            *("serve", "--listen", "unix:service"),
            stdout=full if stdout == "full" else writer,
            preexec_fn=closing(1) if stdout == "closed" else None,
        )
    os.close(writer)
    assert process.stderr is not None
    while not (cli.directory / "service").is_socket():
        assert process.stderr.readline()
    time.sleep(0.5)
    process.terminate()
    assert "the service has stopped" in process.communicate(timeout=30)[1]
    assert process.returncode == 0


# Full.


def test_a_full_disk(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1, duration=None), make_dispatch(2))
    with Path("/dev/full").open("wb") as full:
        for arguments in (("list",), ("list", "--json"), ("export",)):
            done = finish(cli, *arguments, stdout=full)
            assert done.returncode == 1
            assert b"Error: stdout cannot be written: No space left on device" in done.stderr
        done = finish(cli, *CREATE, stdout=full)
        assert done.returncode == 0, "it was created"
        assert b"Warning: stdout cannot be written: No space left on device" in done.stderr
        assert b"created #" in done.stderr, "the result is not lost"
        done = finish(cli, "delete", "1,2", "--yes", stdout=full)
        assert (done.returncode, done.stderr.count(b"deleted #")) == (0, 2)
    assert len(service_thread.dispatches()) == 1
    done = finish(cli, "export", "/dev/full")
    assert done.returncode == 1
    assert b"Error: /dev/full cannot be written: No space left on device" in done.stderr


# Slow.


def test_ctrl_c_ends_a_command_whose_reader_pauses(cli: Cli, service_thread: ServiceThread) -> None:
    text = "x" * 3000
    service_thread.put(*(make_dispatch(n, payload={"text": text}) for n in range(1, 200)))
    for arguments in (("list", "--json"), ("export",)):
        process = cli.start(*arguments)
        assert process.stdout is not None
        assert process.stdout.readline()
        time.sleep(0.5)  # until the pipe is full
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stdout.close()
        process.stderr.close()


def wait_until_read(pipe: int) -> None:
    """Wait until another process has read what is in a pipe."""
    deadline = time.monotonic() + 30
    waiting = bytearray(4)
    while time.monotonic() < deadline:
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)
        if not any(waiting):
            return
        time.sleep(0.02)
    pytest.fail("nobody read the pipe")


def test_ctrl_c_ends_an_import_that_waits_for_stdin(cli: Cli) -> None:
    process = subprocess.Popen(
        [PROGRAM, "import", "-", "--apply"],
        env={**os.environ, **cli.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b'{"type": ')
    process.stdin.flush()
    wait_until_read(process.stdin.fileno())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_pipe_that_does_not_block(cli: Cli, service_thread: ServiceThread) -> None:
    text = "x" * 3000
    service_thread.put(*(make_dispatch(n, payload={"text": text}) for n in range(1, 200)))
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK | fcntl.fcntl(writer, fcntl.F_GETFL))
    process = cli.start("list", "--json", stdout=writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as lines:
        assert json.loads(lines.readline())["type"] == "CHARGE"
        time.sleep(0.5)
        assert sum(1 for _ in lines) == 198
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")


# Encodings.


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-16"])
def test_an_encoding_that_lacks_characters(
    cli: Cli, service_thread: ServiceThread, encoding: str
) -> None:
    type_ = "Ω\N{GRINNING FACE}é█"
    payload = {"ü": "█\N{GRINNING FACE}"}
    service_thread.put(make_dispatch(1, type=type_, payload=payload, duration=None))
    env = {"PYTHONIOENCODING": encoding}
    for arguments in PRINTING if encoding == "latin-1" else PRINTING[:2]:
        done = finish(cli, *arguments, env=env)
        assert (done.returncode, done.stderr.startswith(b"Error")) == (0, False)
        if "--json" in arguments:
            (line,) = done.stdout.decode(encoding).splitlines()
            record = json.loads(line)
            assert (record["type"], record["payload"]) == (type_, payload)
    done = finish(cli, "create", type_, *CREATE[2:], env=env)
    assert done.returncode == 0
    assert len(service_thread.dispatches()) == 2
    text = finish(cli, "timeline", env=env).stdout.decode(encoding)
    assert "#" in text or encoding.startswith("utf")
    for format in ("jsonl", "csv"):
        done = finish(cli, "export", "--format", format, env=env)
        assert type_ in done.stdout.decode("utf-8"), "whatever the encoding of the terminal"


def test_an_argument_that_is_not_unicode(cli: Cli, service_thread: ServiceThread) -> None:
    done = finish(cli, os.fsdecode(b"create"), b"A\xff", *CREATE[2:])  # type: ignore[arg-type]
    assert done.returncode == 2
    assert b"'A\\udcff' is not valid text in UTF-8" in done.stderr
    done = finish(cli, "list", "--type", b"A\xff")  # type: ignore[arg-type]
    assert done.returncode == 2
    assert service_thread.dispatches() == {}


# Control characters.


def on_a_terminal(cli: Cli, *arguments: str, answer: bytes = b"") -> bytes:
    """What a command prints on a terminal, with stderr."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, *arguments],
        env={**os.environ, **cli.environment, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            some = os.read(ours, 65_536)
        except OSError:
            break
        seen += some
        if answer and b"[y/N]" in seen:
            os.write(ours, answer)
            answer = b""
    process.wait(30)
    os.close(ours)
    return seen


def test_control_characters_never_reach_a_terminal(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1, type=EVIL, payload={"text": EVIL, EVIL: 1}, duration=None))
    shown = {
        " ".join(arguments): on_a_terminal(cli, *arguments, "--color", "never")
        for arguments in (
            ("list",), ("list", "--json"), ("get", "1"), ("timeline",), ("get", EVIL),
            ("export", "--format", "csv"), ("update", "1", "--active"),
        )
    }  # fmt: skip
    shown["delete"] = on_a_terminal(cli, "delete", "1", "--color", "never", answer=b"n\n")
    for command, seen in shown.items():
        text = seen.decode().replace("\r\n", "\n").replace("\r\x1b[K", "")
        found = sorted({char for char in text if char != "\n" and not char.isprintable()})
        assert found == [], (command, text)
        assert "CHARGE" in text, command


def test_an_export_to_a_pipe_is_exact(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1, type=EVIL))
    assert EVIL in finish(cli, "export", "--format", "csv").stdout.decode()
    (line,) = finish(cli, "export").stdout.decode().splitlines()
    assert json.loads(line)["type"] == EVIL
    assert line.isprintable()
