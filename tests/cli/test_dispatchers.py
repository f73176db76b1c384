"""``dispatchers``, against the real service."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import trio

from tests.helpers.commanding import KEY, Cli, ServiceThread
from trio_dispatch import ConnectionState, DispatcherStatus, open_client

LIVE = DispatcherStatus(
    connection=ConnectionState.LIVE,
    interval=timedelta(seconds=30),
    lateness=timedelta(milliseconds=12),
    waiting=1234,
)
WAITING = DispatcherStatus(connection=ConnectionState.WAITING, interval=timedelta(seconds=30))
CLOSED = DispatcherStatus(
    connection=ConnectionState.CLOSED,
    interval=timedelta(seconds=30),
    lateness=timedelta(seconds=2),
)


def tell(service: ServiceThread, name: str, status: DispatcherStatus | None) -> None:
    async def report() -> None:
        async with open_client(service.url, key=KEY) as client:
            await client.report_runs(
                1, [], dispatcher=name, reporter="a", version="1.2", status=status, lost=len(name)
            )

    trio.run(report)


def test_dispatchers_are_shown_with_their_state(cli: Cli, service_thread: ServiceThread) -> None:
    assert cli("dispatchers").stdout == ""
    assert "0 dispatchers in microgrid 1" in cli("dispatchers").stderr
    for name, status in (("a", LIVE), ("bb", WAITING), ("ccc", CLOSED), ("\x1bd", None)):
        tell(service_thread, name, status)
    heading, *rows = cli("dispatchers").stdout.splitlines()
    assert heading.split() == [
        "STATE", "DISPATCHER", "LAST", "REPORT", "LATENESS", "WAITING", "LOST", "VERSION",
    ]  # fmt: skip
    cells = [re.split("  +", row.strip()) for row in rows]
    assert [[*row[:2], *row[3:]] for row in cells] == [
        ["unknown", "\\x1bd", "2", "1.2"],
        ["live", "a", "12 ms", "1,234", "1", "1.2"],
        ["waiting", "bb", "0 ms", "0", "2", "1.2"],
        ["closed", "ccc", "2.0 s", "0", "3", "1.2"],
    ]


def test_dispatchers_as_json(cli: Cli, service_thread: ServiceThread) -> None:
    tell(service_thread, "a", LIVE)
    tell(service_thread, "ccc", CLOSED)
    records = [json.loads(line) for line in cli.ok("dispatchers", "--json").splitlines()]
    live = next(each for each in records if each["name"] == "a")
    closed = next(each for each in records if each["name"] == "ccc")
    assert (live["state"], live["offline_since"], live["waiting"]) == ("live", None, 1234)
    assert (live["lateness"], live["lost"]) == (0.012, 1)
    assert closed["state"] == "closed"
    assert closed["offline_since"] == closed["last_report_time"]
