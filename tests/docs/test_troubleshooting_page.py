"""The page about troubleshooting shows messages as they are printed."""

from __future__ import annotations

import ast
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from click.testing import CliRunner

from trio_dispatch.cli.app.group import cli
from trio_dispatch.service import Key, Keys, Right, open_service, open_store

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text()
OF_COMMANDS, OF_PROGRAMS = (
    re.findall(r"```none\n(.*?)\n```", part, re.DOTALL)
    for part in PAGE.split("## A program with a dispatcher")
)


@contextmanager
def services(database: Path) -> Iterator[tuple[int, int, trustme.CA]]:
    """Serve with and without TLS, in a thread, and yield both ports."""
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.set_alpn_protocols(["h2"])
    authority.issue_cert("localhost").configure_cert(tls)
    keys = Keys(
        [Key("full"), Key("reader", microgrids=frozenset({1}), rights=frozenset({Right.READ}))]
    )
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        async with (
            open_store(database) as store,
            open_service(store, keys=keys) as service,
            trio.open_nursery() as nursery,
        ):
            for name, context in (("plain", None), ("tls", tls)):
                start = partial(service.server.serve_tcp, 0, host="127.0.0.1", ssl_context=context)
                ((_, found[name], *_), *_) = await nursery.start(start)
            found["end"] = trio.Event()
            found["token"] = trio.lowlevel.current_trio_token()
            ready.set()
            await found["end"].wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield found["plain"], found["tls"], authority
    finally:
        trio.from_thread.run_sync(found["end"].set, trio_token=found["token"])
        thread.join(30)


def test_commands_print_the_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    database = tmp_path / "dispatches.db"
    with services(database) as (plain, tls, authority):
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        without = f"grpc://localhost:{plain}?ssl=false"
        nobody = unused_port()
        printed = ""
        for arguments in (
            ["list", "--url", f"grpc://localhost:{nobody}?ssl=false", "--key", "full"],
            ["list", "--url", f"grpc://localhost:{plain}", "--key", "full"],
            ["list", "--url", f"grpc://localhost:{tls}?ssl=false", "--key", "full"],
            ["list", "--url", f"grpc://localhost:{tls}", "--key", "full"],
            [
                *("list", "--key", "full", "--url"),
                f"grpc://127.0.0.1:{tls}?ssl_root_certificates_path={tmp_path / 'ca.pem'}",
            ],
            ["list", "--url", without, "--key", "wrong"],
            ["list", "--url", without, "--key", "reader", "--microgrid", "2"],
            ["get", "99", "--url", without, "--key", "full"],
            ["serve", "--db", str(database), "--listen", "127.0.0.1:0", "--key", "k"],
            ["serve", "--listen", f"127.0.0.1:{plain}", "--key", "k"],
        ):
            timeout = [] if arguments[0] == "serve" else ["--timeout", "2"]
            env = {"DISPATCH_MICROGRID_ID": "1"}
            result = CliRunner().invoke(cli, [*arguments, *timeout], env=env)
            assert result.exit_code, arguments
            printed += result.output
    for port in (plain, tls, nobody):
        printed = re.sub(rf"\b{port}\b", "50051", printed)
    printed = printed.replace(str(tmp_path), "/var/lib/trio-dispatch")
    of_the_resolver, of_the_log = "Name or service not known", "dispatches are in memory only"
    assert [
        message
        for message in OF_COMMANDS
        if message not in printed and of_the_resolver not in message and of_the_log not in message
    ] == []


def unused_port() -> int:
    """Return a port at which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


# What is the same in each message of a program.
CONSTANT = {
    "no server_url: give it, or set DISPATCH_API_URL in the environment",
    "the next attempt is in ",
    "the stream is open and did not report changes",
    "it is a dry run",
    "its payload is invalid",
    "the run of ",
    " never runs: ",
    " after it was cancelled",
    " cannot be written",
    " cannot be used and is now ",
}


def test_programs_log_the_messages() -> None:
    texts = {
        node.value
        for path in (ROOT / "trio_dispatch").rglob("*.py")
        if "_generated" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert [part for part in CONSTANT if not any(part in text for text in texts)] == []
    assert [
        message for message in OF_PROGRAMS if not any(part.strip() in message for part in CONSTANT)
    ] == []
