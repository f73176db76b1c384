"""Files of every kind, read and written: regular, linked, pipes, devices; with byte order marks."""

# ruff: noqa: ASYNC240 - nothing else wants to run meanwhile

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.helpers.commanding import PROGRAM, Cli, ServiceThread
from trio_dispatch.cli.app.files import decode_text, is_regular, open_output
from trio_dispatch.testing import make_dispatch

LINE = '{"type": "Ä", "start_time": "2090-01-01T00:00Z", "duration": 60, "target": [1]}\n'
PLAN = "type,start_time,duration,target\nÄ,2090-01-01T00:00Z,60,1\n"


async def put(path: Path | str, content: bytes) -> None:
    async with open_output(str(path)) as write:
        for byte in content:
            await write(bytes([byte]))


async def fail(path: Path) -> None:
    async with open_output(str(path)) as write:
        await write(b"some")
        raise KeyError


# Writing.


async def test_a_new_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new"
    async with open_output(str(path)) as write:
        await write(b"some")
        assert not path.exists()
    assert path.read_bytes() == b"some"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


async def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old content")
    path.chmod(0o640)
    await put(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path, other = tmp_path / "old", tmp_path / "other"
    path.write_bytes(b"old")
    os.link(path, other)
    for name in (path, tmp_path / "new"):
        with pytest.raises(KeyError):
            await fail(name)
    assert path.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [path, other], "and nothing else"


async def test_a_cancellation_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    with trio.CancelScope() as scope:
        async with open_output(str(path)) as write:
            await write(b"some")
            scope.cancel()
            await write(b"more")
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


async def test_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    real, link, chain, dangling = (
        tmp_path / name for name in ("folder/real", "link", "chain", "dangling")
    )
    real.write_bytes(b"old")
    link.symlink_to("folder/real")
    chain.symlink_to(link)
    dangling.symlink_to("folder/new")
    await put(chain, b"new")
    await put(dangling, b"newer")
    assert chain.is_symlink()
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert (real.read_bytes(), (tmp_path / "folder/new").read_bytes()) == (b"new", b"newer")


async def test_all_names_of_a_file_have_the_new_content(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"a long old content")
    os.link(first, second)
    await put(second, b"new")
    assert first.read_bytes() == second.read_bytes() == b"new"
    assert first.samefile(second)


async def test_a_pipe_is_written_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []

    async def reader() -> None:
        read.append(await trio.to_thread.run_sync(pipe.read_bytes, abandon_on_cancel=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await put(pipe, b"some")
    assert read == [b"some"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


async def test_waiting_for_the_reader_of_a_pipe_can_be_cancelled(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with trio.move_on_after(0.05) as scope:
        await put(pipe, b"some")
    assert scope.cancelled_caught
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))  # lets the thread end


async def test_a_pipe_without_a_reader(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        await put(f"/dev/fd/{writer}", b"some")
    os.close(writer)


async def test_a_descriptor_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before ")
    with path.open("ab") as file:
        await put(f"/dev/fd/{file.fileno()}", b"after")
    assert path.read_bytes() == b"before after"


async def test_devices_stay_devices() -> None:
    await put("/dev/null", b"some")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none/file", "No such file or directory"),
        ("folder", "Is a directory"),
        ("loop", "Too many levels of symbolic links"),
        ("x" * 300, "File name too long"),
    ],
)
async def test_what_cannot_be_written_is_named(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=f"{name} cannot be written: {why}"):
        await put(tmp_path / name, b"some")


def test_a_long_name_is_no_problem(cli: Cli) -> None:
    name = "x" * 250
    cli.ok("export", str(cli.directory / name))
    assert (cli.directory / name).exists()


def test_a_picture_through_a_link(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1, duration=None))
    real, link = cli.directory / "real.svg", cli.directory / "link.svg"
    link.symlink_to(real)
    cli.ok("timeline", "--output", str(link))
    assert link.is_symlink()
    assert real.read_text().startswith("<svg")


# Reading.


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_a_byte_order_mark_tells_the_encoding(encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("e") else ""
    assert decode_text((mark + "Äx").encode(encoding), "file") == "Äx"


def test_text_in_another_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="file is not text in UTF-8: byte 3 is invalid"):
        decode_text("abÄ".encode("latin-1"), "file")


def test_a_file_that_is_not_there_may_be_regular(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert is_regular(str(tmp_path / "none"))
    assert not is_regular(str(tmp_path / "pipe"))
    assert not is_regular("/dev/null")
    assert not is_regular("-")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("name", "text"), [("plan.jsonl", LINE), ("plan.csv", PLAN)])
def test_files_with_a_byte_order_mark(
    cli: Cli, service_thread: ServiceThread, name: str, text: str, encoding: str
) -> None:
    path = cli.directory / name
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    cli.ok("apply", str(path), "--yes")
    (dispatch,) = service_thread.dispatches().values()
    assert dispatch.type == "Ä"
    payload = cli.directory / "payload.json"
    payload.write_bytes('{"a": "Ä"}'.encode(encoding))
    cli.ok("update", str(dispatch.id), "--payload", f"@{payload}")
    config = cli.directory / "config.toml"
    config.write_bytes('output = "json"\n'.encode(encoding))
    assert json.loads(cli.ok("get", str(dispatch.id), "--config", str(config)))


def through_a_pipe(arguments: list[str], text: str, cli: Cli) -> subprocess.CompletedProcess[str]:
    """Run a command with a file from process substitution."""
    quoted = " ".join(arguments)
    return subprocess.run(
        ["bash", "-c", f"exec {PROGRAM} {quoted} <(cat)"],
        input=text,
        env={**os.environ, **cli.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_plan_from_a_pipe(cli: Cli, service_thread: ServiceThread) -> None:
    for _ in range(2):
        done = through_a_pipe(["apply", "--yes"], LINE, cli)
        assert done.returncode == 0, done.stderr
    assert len(service_thread.dispatches()) == 1
    state = cli.directory / "state"
    done = through_a_pipe(["apply", "--yes", "--state", str(state)], LINE, cli)
    assert (done.returncode, state.exists()) == (0, True)
    done = through_a_pipe(["timeline", "--from", "2090-01-01", "--input"], LINE, cli)
    assert done.returncode == 0, done.stderr
    assert "Ä" in done.stdout


def test_a_plan_without_a_dispatch(cli: Cli, service_thread: ServiceThread) -> None:
    assert "has no dispatch and names no type" in cli.fails(2, "apply", "/dev/null", "--yes")
    cli.ok("apply", "/dev/null", "--type", "Ä", "--yes")
    assert not Path("/dev/null.state").exists()
    assert service_thread.dispatches() == {}


def test_a_plan_through_a_link_is_the_same_plan(cli: Cli, service_thread: ServiceThread) -> None:
    real, link = cli.directory / "real.jsonl", cli.directory / "link.jsonl"
    real.write_text(LINE)
    link.symlink_to(real)
    for path in (real, link):
        cli.ok("apply", str(path), "--yes")
    assert len(service_thread.dispatches()) == 1
    assert not link.with_name("link.jsonl.state").exists()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"type": "A\\ud800"}', "half of a surrogate pair"),
        ('{"payload": {"a": NaN}}', "NaN is not a number in JSON"),
        ('{"payload": {"a": 1e999}}', "1e999 is too large"),
        ('{"id": ' + "9" * 5000 + "}", "integer"),
        ("[" * 50_000, "nested too deeply"),
        ('"text"', "is not an object"),
        ("{\x00}", "invalid JSON"),
    ],
)
def test_one_invalid_line_is_named(cli: Cli, line: str, why: str) -> None:
    path = cli.directory / "plan.jsonl"
    path.write_text(LINE + line + "\n")
    message = cli.fails(2, "apply", str(path), "--yes")
    assert message.startswith(f"{path}:2:")
    assert why in message
    assert not path.with_name("plan.jsonl.state").exists()
