"""Standard streams of every kind: closed, full, slow, without a reader, in other encodings."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.helpers.commanding import KEY, PROGRAM, Cli, ServiceThread
from trio_dispatch import open_client
from trio_dispatch.grpc import open_channel
from trio_dispatch.testing import make_dispatch

CREATE = ("create", "A", "-t", "1", "-s", "now", "-d", "1h")
EVIL = "CHARGE\x1b[2K\r\x1b]0;title\x07\x9b31m\u202e\nDISCHARGE"
PRINTING = [
    ("list",), ("list", "--json"), ("get", "1"), ("get", "1", "--json"), ("timeline",),
    ("timeline", "--json"), ("export",), ("completion", "bash"),
]  # fmt: skip


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
    for done in cli.finish_each(
        ("list",),
        ("get", "1", "--json"),
        CREATE,
        ("apply", "plan.jsonl", "--yes"),
        ("export", "copy.jsonl"),
        ("delete", "1", "--yes"),
        preexec_fn=closing(*closed),
    ):
        assert done.status == 0, done
        assert 1 in closed or done.stdout or done.command[0] == "export"
    assert sorted(each.type for each in service_thread.dispatches().values()) == ["A", "B"]
    lines = (cli.directory / "copy.jsonl").read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["CHARGE", "A", "B"]


# Without a reader.


def without_reader(cli: Cli, *commands: Sequence[str], stream: str = "stdout") -> list[int]:
    """The exit statuses of commands of which a stream has no reader."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return [done.status for done in cli.finish_each(*commands, **{stream: writer})]
    finally:
        os.close(writer)


def test_a_reader_that_is_gone_sets_the_exit_status(
    cli: Cli, service_thread: ServiceThread
) -> None:
    service_thread.put(make_dispatch(1, duration=None))
    commands = [*PRINTING, ("--help",), ("--version",), ("list", "--help"), CREATE]
    assert without_reader(cli, *commands) == [141] * len(commands)


def test_work_is_finished_without_a_reader(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(*(make_dispatch(id_) for id_ in range(1, 5)))
    line = '{"type": "B", "start_time": "2090-01-01T00:00Z", "duration": 60, "target": [1]}\n'
    (cli.directory / "plan.jsonl").write_text(line * 3)
    apply = ("apply", "plan.jsonl", "--yes")
    assert without_reader(cli, ("delete", "1-3", "--yes"), (*apply, "--json")) == [141] * 2
    remaining, *created = sorted(service_thread.dispatches())
    assert (remaining, len(created)) == (4, 3)
    cli.ok("apply", str(cli.directory / "plan.jsonl"), "--yes")
    assert len(service_thread.dispatches()) == 4, "nothing was left to do"


def test_messages_without_a_reader_are_lost(cli: Cli, service_thread: ServiceThread) -> None:
    commands = (CREATE, ("list",), ("export", "copy.jsonl"), ("get", "99"))
    assert without_reader(cli, *commands, stream="stderr") == [0, 0, 0, 3]


async def count_dispatches(socket: Path) -> int:
    async with (
        open_channel(partial(trio.open_unix_socket, socket)) as channel,
        open_client(channel=channel, key=KEY) as client,
    ):
        return sum([len(page.dispatches) async for page in client.list(1)])


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
    assert trio.run(count_dispatches, cli.directory / "service") == 0
    process.terminate()
    assert "the service has stopped" in process.communicate(timeout=30)[1]
    assert process.returncode == 0


# Full.


def test_a_full_disk(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1, duration=None), make_dispatch(2))
    commands = (
        ("list",), ("list", "--json"), ("export",), CREATE, ("delete", "1,2", "--yes"),
        ("export", "/dev/full"),
    )  # fmt: skip
    with Path("/dev/full").open("wb") as full:
        *printing, created, deleted, exported = cli.finish_each(*commands, stdout=full)
    for done in printing:
        assert done.status == 1
        assert b"Error: stdout cannot be written: No space left on device" in done.stderr
    assert created.status == 0, "it was created"
    assert b"Warning: stdout cannot be written: No space left on device" in created.stderr
    assert b"created #" in created.stderr, "the result is not lost"
    assert (deleted.status, deleted.stderr.count(b"deleted #")) == (0, 2)
    assert len(service_thread.dispatches()) == 1
    assert exported.status == 1
    assert b"Error: /dev/full cannot be written: No space left on device" in exported.stderr


# Slow.


def wait_for_pipe(pipe: int, *, empty: bool) -> None:
    """Wait until another process has read all that is in a pipe, or written something."""
    deadline = time.monotonic() + 30
    waiting = bytearray(4)
    while time.monotonic() < deadline:
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)
        if empty is not any(waiting):
            return
        time.sleep(0.02)
    pytest.fail("nobody used the pipe")


def small_pipe() -> tuple[int, int]:
    """A pipe that is full with the first page of much."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1)
    return reader, writer


def put_much(service_thread: ServiceThread) -> None:
    text = "x" * 3000
    service_thread.put(*(make_dispatch(n, payload={"text": text}) for n in range(1, 200)))


@pytest.mark.parametrize("command", [("list", "--json"), ("export",)])
def test_ctrl_c_ends_a_command_whose_reader_pauses(
    cli: Cli, service_thread: ServiceThread, command: Sequence[str]
) -> None:
    put_much(service_thread)
    reader, writer = small_pipe()
    process = cli.start(*command, stdout=writer)
    os.close(writer)
    wait_for_pipe(reader, empty=False)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == 130
    os.close(reader)


def test_ctrl_c_ends_a_command_that_waits_for_stdin(cli: Cli) -> None:
    process = subprocess.Popen(
        [PROGRAM, "apply", "-", "--yes"],
        env={**os.environ, **cli.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b'{"type": ')
    process.stdin.flush()
    wait_for_pipe(process.stdin.fileno(), empty=True)
    process.send_signal(signal.SIGINT)
    # stdin stays open until it has ended.
    assert process.wait(30) == 130
    assert process.communicate() == (b"", b"")


def test_a_pipe_that_does_not_block(cli: Cli, service_thread: ServiceThread) -> None:
    put_much(service_thread)
    reader, writer = small_pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK | fcntl.fcntl(writer, fcntl.F_GETFL))
    process = cli.start("list", "--json", stdout=writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as lines:
        assert json.loads(lines.readline())["type"] == "CHARGE"
        assert sum(1 for _ in lines) == 198
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")


# Encodings.


@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
def test_an_encoding_that_lacks_characters(
    cli: Cli, service_thread: ServiceThread, encoding: str
) -> None:
    type_ = "Ω\N{GRINNING FACE}é█"
    payload = {"ü": "█\N{GRINNING FACE}"}
    service_thread.put(make_dispatch(1, type=type_, payload=payload, duration=None))
    exports = [("export", "--format", format) for format in ("jsonl", "csv")]
    commands = [*PRINTING, ("create", type_, *CREATE[2:]), ("timeline",), *exports]
    finished = cli.finish_each(*commands, env={"PYTHONIOENCODING": encoding})
    assert len(service_thread.dispatches()) == 2
    for done in finished:
        assert (done.status, done.stderr.startswith(b"Error")) == (0, False), done
        if "--json" in done.command:
            (line,) = done.stdout.decode(encoding).splitlines()
            record = json.loads(line)
            assert (record["type"], record["payload"]) == (type_, payload)
    *_, timeline, jsonl, csv = finished
    assert "#" in timeline.stdout.decode(encoding) or encoding.startswith("utf")
    for done in (jsonl, csv):
        assert type_ in done.stdout.decode("utf-8"), "whatever the encoding of the terminal"


def test_an_argument_that_is_not_unicode(cli: Cli, service_thread: ServiceThread) -> None:
    created = cli.start("create", os.fsdecode(b"A\xff"), *CREATE[2:])
    listed = cli.start("list", "--type", os.fsdecode(b"A\xff"))
    assert "'A\\udcff' is not valid text in UTF-8" in created.communicate(timeout=60)[1]
    listed.communicate(timeout=60)
    assert (created.returncode, listed.returncode) == (2, 2)
    assert service_thread.dispatches() == {}


# Control characters.


def on_a_terminal(cli: Cli, *commands: Sequence[str], answer: bytes = b"") -> list[bytes]:
    """What commands print on a terminal, with stderr."""
    ours, theirs = pty.openpty()
    sequenced = cli.start_each(
        *commands,
        env={"TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours, 65_536)
        except OSError:
            break
        if answer and b"[y/N]" in seen:
            os.write(ours, answer)
            answer = b""
    sequenced.finish()
    os.close(ours)
    # Both standard streams of a command end here.
    return sequenced.split(seen)[::2]


def test_control_characters_never_reach_a_terminal(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1, type=EVIL, payload={"text": EVIL, EVIL: 1}, duration=None))
    commands = [
        (*arguments, "--color", "never")
        for arguments in (
            ("list",), ("list", "--json"), ("get", "1"), ("timeline",), ("get", EVIL),
            ("export", "--format", "csv"), ("update", "1", "--active"), ("delete", "1"),
        )
    ]  # fmt: skip
    shown = on_a_terminal(cli, *commands, answer=b"n\n")
    for command, seen in zip(commands, shown, strict=True):
        text = seen.decode().replace("\r\n", "\n").replace("\r\x1b[K", "")
        found = sorted({char for char in text if char != "\n" and not char.isprintable()})
        assert found == [], (command, text)
        assert "CHARGE" in text, command


def test_an_export_to_a_pipe_is_exact(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1, type=EVIL))
    csv, jsonl = cli.finish_each(("export", "--format", "csv"), ("export",))
    assert EVIL in csv.stdout.decode()
    (line,) = jsonl.stdout.decode().splitlines()
    assert json.loads(line)["type"] == EVIL
    assert line.isprintable()
