"""The page about the live page: its numbers, options and program are correct."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_dispatch.cli.app.group import find_command
from trio_dispatch.web import server, sessions
from trio_dispatch.web.guard import TOKEN_HEADER
from trio_dispatch.web.routes import events, params

PAGE = (Path(__file__).parents[2] / "docs/howto/live-page.md").read_text()
TEXT = " ".join(PAGE.split())


def test_the_numbers() -> None:
    assert f"{sessions.IDLE.total_seconds() / 3600:g} hours without use" in TEXT
    assert f"{sessions.LONGEST.days} days after the log-in" in TEXT
    assert f"A request has {params.MAX_BODY // 1024} KiB at most" in TEXT
    assert f"{server.CONNECTIONS} connections and {sessions._MOST:,} sessions" in TEXT
    assert f"does not read for {server.SEND_TIMEOUT:g} seconds" in TEXT
    assert f"receives something every {events.HEARTBEAT:g} seconds" in TEXT
    assert f"(`{TOKEN_HEADER}`)" in TEXT


def test_the_commands_have_their_options() -> None:
    commands = re.findall(r"^\$ trio-dispatch (\w+) (.*)$", PAGE, re.MULTILINE)
    assert len(commands) >= 5
    for name, options in commands:
        known = {each for param in find_command(name).params for each in param.opts}
        assert {word for word in options.split() if word.startswith("--")} <= known


async def test_the_program_runs(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0].partition("trio.run")[0]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names: dict[str, object] = {}
    exec(source.replace("8080", str(port)), names)
    with trio.move_on_after(1) as scope:
        await names["main"]()  # type: ignore[operator]
    assert scope.cancelled_caught
