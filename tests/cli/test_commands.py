"""The command line: what it says when something is wrong, and its pictures."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trio_dispatch.cli._commands import cli
from trio_dispatch.cli._serve import is_loopback, parse_listen
from trio_dispatch.cli.timeline import draw_timeline
from trio_dispatch.recurrence import Frequency, RecurrenceRule
from trio_dispatch.testing import make_dispatch

HOUR = timedelta(hours=1)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def refused(*arguments: str) -> str:
    """What a command says that ends with an error, in one line."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return line


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert refused("serve", "--listen", address) == (
            f"Error: cannot listen on {address}: the port is in use; choose another one"
        )


def test_a_file_that_is_not_a_database_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Buy milk. " * 100)
    assert "is not an SQLite database" in refused(
        "serve", "--listen", "127.0.0.1:0", "--db", str(path)
    )
    assert path.read_text() == "Buy milk. " * 100


def test_without_a_key_the_world_is_not_served() -> None:
    for host in ("0.0.0.0", "[::]", "192.0.2.1", "example.com"):
        assert "without a --key only this machine is served" in refused(
            "serve", "--listen", f"{host}:0"
        )


@pytest.mark.parametrize("listen", ["50051", "localhost:", ":1", "a:b", "1.2.3.4:99999", "h:-1"])
def test_what_is_no_address_is_named(listen: str) -> None:
    assert repr(listen) in refused("serve", "--listen", listen)


def test_addresses() -> None:
    assert parse_listen("[::1]:5") == ("::1", 5)
    assert [is_loopback(h) for h in ("localhost", "127.9.9.9", "::1", "10.0.0.1", "x")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_help_and_version() -> None:
    assert "serve" in run("--help").output
    assert run("--version").output.startswith("trio-dispatch, version ")


def test_a_timeline_shows_what_runs_when() -> None:
    begin = datetime(2026, 1, 1, 12, tzinfo=UTC)
    dispatches = [
        make_dispatch(1, start_time=begin + 2 * HOUR, duration=2 * HOUR),
        make_dispatch(2, start_time=begin + 3 * HOUR, duration=2 * HOUR),
        make_dispatch(3, type="PULSE", start_time=begin + 4 * HOUR, duration=timedelta()),
        make_dispatch(
            4,
            type="SHORT",
            start_time=begin,
            duration=HOUR / 10,
            recurrence=RecurrenceRule(Frequency.HOURLY, interval=4),
        ),
        make_dispatch(5, type="ENDLESS", start_time=begin + 20 * HOUR, duration=None),
        make_dispatch(6, type="OFF", start_time=begin, active=False),
    ]
    lines = draw_timeline(dispatches, begin, begin + 24 * HOUR, now=begin + HOUR, width=32)
    assert lines[0].plain.split() == ["00:00"]
    assert [line.plain for line in lines[1:]] == [
        "CHARGE  ·│█▓█···················",
        "ENDLESS ·│··················████",
        "OFF     ·│······················",
        "PULSE   ·│··◆···················",
        "SHORT   ░│··░···░···░···░···░···",
    ]
