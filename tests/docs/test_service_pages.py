"""The pages about the service: their programs, files, commands and numbers are correct."""

# ruff: noqa: ASYNC221 - nothing else wants to run meanwhile

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from trio_dispatch import ServiceError, TargetIds, open_client
from trio_dispatch.cli.app.group import cli, find_command
from trio_dispatch.cli.serving.keys import TlsFiles, load_context
from trio_dispatch.cli.serving.logs import JsonFormatter
from trio_dispatch.cli.serving.service import GRACE
from trio_dispatch.service import Key, Keys, Right, listing, open_service, rules
from trio_dispatch.service.auth import WINDOW
from trio_dispatch.service.calls import DISCONNECT_GRACE
from trio_dispatch.service.service import MAX_REQUEST_BYTES
from trio_dispatch.service.store.queries import MAX_PAGE_BYTES, MAX_PAGE_SIZE
from trio_dispatch.service.store.sqlite import LIST_TIMEOUT
from trio_dispatch.service.store.watchers import READ_TIMEOUT

PAGES = Path(__file__).parents[2] / "docs" / "howto"
SERVICE, SECURITY = ((PAGES / f"{name}.md").read_text() for name in ("service", "security"))


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found
    return found


def run_python(source: str, directory: Path) -> str:
    """Run a program on a port of its own; return what it prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source.replace("50051", str(port))],
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_programs_run(tmp_path: Path) -> None:
    embedded, observed = blocks(SERVICE, "python")
    assert run_python(embedded, tmp_path) == "created 1\n"
    assert run_python(embedded, tmp_path) == "created 2\n"
    assert run_python(observed, tmp_path).startswith("# HELP dispatch_calls_total")


async def test_the_signing_client_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [source] = blocks(SECURITY, "python")
    program, _, rest = source.partition("trio.run(main)")
    assert not rest.strip()
    names: dict[str, object] = {}
    for secret, status in (("a-secret", "NOT_FOUND"), ("another", "UNAUTHENTICATED")):
        async with (
            open_service(keys=Keys([Key("a-key", secret)])) as service,
            trio.open_nursery() as nursery,
        ):
            [address] = await nursery.start(partial(service.server.serve_tcp, 0, host="127.0.0.1"))
            local = program.replace("localhost:50051", f"127.0.0.1:{address[1]}")
            exec(local, names)
            await names["main"]()  # type: ignore[operator]
            assert capsys.readouterr().out == f"{status}\n"
            nursery.cancel_scope.cancel()


def test_the_keys_file_loads(tmp_path: Path) -> None:
    [text] = blocks(SECURITY, "toml")
    path = tmp_path / "keys.toml"
    path.write_text(text)
    keys = Keys.load(path)
    tables = tomllib.loads(text)["keys"]
    site, desk, operator = (keys.find(table["key"]) for table in tables)
    assert site is not None
    assert desk is not None
    assert operator is not None
    assert [key.name for key in (site, desk, operator)] == [table["name"] for table in tables]
    assert site.permits(Right.READ, 1)
    assert not site.permits(Right.WRITE, 1)
    assert not site.permits(Right.READ, 2)
    assert desk.permits(Right.WRITE, 2)
    assert not desk.permits(Right.READ, 3)
    assert operator.permits(Right.WRITE, 4711)
    assert (bool(site.secret), bool(desk.secret), operator.secret) == (True, True, None)


async def test_the_certificates_work(tmp_path: Path) -> None:
    for script in blocks(SECURITY, "bash"):
        subprocess.run(["bash", "-ec", script], cwd=tmp_path, check=True, capture_output=True)
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    context = load_context(TlsFiles(cert, key, ca))
    plain, mutual = (url.strip() for url in blocks(SECURITY, "text"))
    with trio.fail_after(30):
        async with open_service() as service, trio.open_nursery() as nursery:
            [address] = await nursery.start(
                partial(service.server.serve_tcp, 0, host="127.0.0.1", ssl_context=context)
            )
            here = f"localhost:{address[1]}"
            url = re.sub(r"path=(\w)", rf"path={tmp_path}/\1", mutual)
            async with open_client(url.replace("localhost:50051", here), key="any") as client:
                made = await client.create(
                    1, type="X", start_time="NOW", duration=None, target=TargetIds(1)
                )
                assert made.id == 1
            # A client without a certificate is refused.
            url = plain.replace("localhost:50051", here).replace("/etc/dispatch", str(tmp_path))
            async with open_client(url, key="any", call_timeout=timedelta(seconds=5)) as client:
                with pytest.raises(ServiceError):
                    await client.get(1, 1)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("page", [SERVICE, SECURITY])
def test_the_options_exist(page: str) -> None:
    commands = {name: find_command(name) for name in ("serve", "backup")}
    lines = [line[2:] for line in re.findall(r"^\$ .*$", page, re.MULTILINE)]
    lines += re.findall(r"trio-dispatch serve [^`\n]*(?=`)", page)
    checked = 0
    for line in lines:
        words = shlex.split(line)
        name = next((word for word in words if word in commands), None)
        if name is None or Path(words[0]).name != "trio-dispatch":
            continue
        known = {option for p in commands[name].params for option in p.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known
        checked += 1
    assert checked >= 1


def test_the_log_line_is_real() -> None:
    import logging

    [line] = blocks(SERVICE, "json")
    shown = json.loads(line)
    fields = {name: shown[name] for name in shown.keys() - {"time", "level", "logger", "message"}}
    record = logging.makeLogRecord(
        {"name": shown["logger"], "levelname": "INFO", "msg": shown["message"], **fields}
    )
    assert {**json.loads(JsonFormatter().format(record)), "time": shown["time"]} == shown


def test_the_numbers_are_current() -> None:
    assert f"have {GRACE:.0f} seconds" in SERVICE
    assert f"reset after {DISCONNECT_GRACE:.0f} seconds" in SERVICE
    assert f"valid for {WINDOW // 60} minutes" in SECURITY


def test_the_limits_are_current() -> None:
    for line in (
        f"| a dispatch in all | {rules.MAX_DISPATCH_BYTES // 1024} KiB |",
        f"| its type | {rules.MAX_TYPE_BYTES} bytes |",
        f"| its target | {rules.MAX_TARGET_SIZE:,} ids or categories |",
        f"| {rules.MAX_PAYLOAD_BYTES // 1024} KiB, {rules.MAX_PAYLOAD_LEVELS} levels |",
        f"| a request | {MAX_REQUEST_BYTES // 1024} KiB |",
        f"| a filter | {listing.MAX_FILTER_BYTES // 1024} KiB, with at most {listing.MAX_IDS:,} ",
        f"{listing.MAX_TARGETS:,} targets and {listing.MAX_QUERIES} queries",
        f"queries of {rules.MAX_TYPE_BYTES} bytes |",
        f"| a page of a list | {MAX_PAGE_SIZE:,} dispatches or {MAX_PAGE_BYTES // 2**20} MiB |",
        f"| the time of a list | {LIST_TIMEOUT:.0f} seconds |",
        f"read nothing for {READ_TIMEOUT:.0f} seconds",
    ):
        assert line in SERVICE


def test_the_backup_command_works(tmp_path: Path) -> None:
    source = blocks(SERVICE, "python")[0]
    run_python(source, tmp_path)
    [command] = re.findall(r"^\$ (trio-dispatch backup .*)$", SERVICE, re.MULTILINE)
    (tmp_path / "backup").mkdir()
    words = shlex.split(command.replace("/backup/", "backup/"))[1:]
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        done = CliRunner().invoke(cli, words)
    finally:
        os.chdir(before)
    assert done.exit_code == 0
    assert done.output.replace(" backup/", " /backup/") in SERVICE
    assert (tmp_path / "backup" / "dispatches-monday.db").exists()


def test_the_links_have_targets() -> None:
    assert "(security.md#signed-requests)" in SERVICE
    assert "\n## Signed requests\n" in SECURITY
