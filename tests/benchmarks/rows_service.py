"""Benchmark of the dispatch service: ours and a peer on grpc.aio and aiosqlite, under load.

    python -m tests.benchmarks.rows_service [SECONDS [ROUNDS]]

Run as a program, it measures for a minute each and takes half an hour.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.harness import (
    MICROSECONDS,
    OURS,
    PEERS,
    PER_SECOND,
    Child,
    ChildError,
    Measured,
)
from tests.benchmarks.report import Aim, Line, Section, compare, main_table, table

KEY = "bench"
MICROGRIDS = 200  # As in `load_client`.
NAMES = OUR_NAME, PEER_NAME = "trio-dispatch", "grpc.aio and aiosqlite"
CALLS: dict[str, dict[str, Any]] = {
    "creates, 200 at a time": {"call": "create", "tasks": 200},
    "updates, 200 at a time": {"call": "update", "tasks": 200},
    "creates and deletes, 200 at a time": {"call": "create and delete", "tasks": 200},
    "gets, 32 at a time": {"call": "get", "tasks": 32},
    "lists of 1,000, 2 at a time": {"call": "list", "tasks": 2, "size": 1000},
}
WRITERS = 200
WATCHERS = (0, 200, 1000, 5000)
LEAST_COST = 1.0  # µs of CPU time; the difference of two measurements shows nothing smaller.
WITHIN = 300.0  # seconds, in addition to those of the measurement
COLUMNS = {
    "creates/s": "value",
    "create, 50%": "call_50",
    "99%": "call_99",
    "events/s": "events",
    "event, 50%": "event_50",
    "99% ": "event_99",
    "CPU per create, µs": "cpu",
    "per event": "event_cpu",
    "lost": "lost",
    "cut off": "cut",
}


class Target(NamedTuple):
    """A running service."""

    port: int
    pid: int


@contextmanager
def services() -> Iterator[dict[str, Target]]:
    """Run both services, each with a new database."""
    with tempfile.TemporaryDirectory(prefix="trio-dispatch-bench-") as name:
        directory = Path(name)
        command: list[str | Path] = [
            *(OURS.with_name("trio-dispatch"), "serve", "--listen", "127.0.0.1:0"),
            *("--key", KEY, "--db", directory / "ours.db"),
        ]
        peer = Child(PEERS, "peer_service", directory / "peer.db", KEY)
        with (directory / "log").open("w") as log:
            ours = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert ours.stdout is not None
            # "serving on grpc://127.0.0.1:PORT?ssl=false"
            port = int(ours.stdout.readline().split()[2].rpartition(":")[2].partition("?")[0])
            yield {
                OUR_NAME: Target(port, ours.pid),
                PEER_NAME: Target(int(peer.line(WITHIN)), peer.pid),
            }
        finally:
            ours.kill()
            ours.communicate()
            peer.close()


def syncs(folder: Path, seconds: float = 0.5) -> float:
    """Return how often a second a page of a file can be written to the disk."""
    done = 0
    with tempfile.TemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        while time.perf_counter() < began + seconds:
            os.pwrite(file.fileno(), bytes(4096), 4096 * (done % 100))
            os.fsync(file.fileno())
            done += 1
        return done / (time.perf_counter() - began)


class Generator:
    """The load generator, and the services that it loads in turn."""

    def __init__(self, child: Child, targets: Mapping[str, Target], rounds: int) -> None:
        self._child = child
        self._targets = targets
        self._rounds = rounds

    def measure(self, do: str, seconds: float, **order: Any) -> dict[str, Measured]:
        """Measure both services, round by round."""
        found = {name: Measured(name) for name in NAMES}
        for number in range(self._rounds):
            for name in NAMES if number % 2 else NAMES[::-1]:
                target = self._targets[name]
                answer = self._child.ask(
                    WITHIN + seconds,
                    do=do,
                    port=target.port,
                    pid=target.pid,
                    key=KEY,
                    seconds=seconds,
                    **order,
                )
                if "error" in answer:
                    raise ChildError(f"{name}: {answer['error']}")
                found[name].values.append(answer.pop("value"))
                found[name].details.append(answer)
        return found


@contextmanager
def generator(rounds: int) -> Iterator[Generator]:
    with services() as targets:
        child = Child(PEERS, "load_client")
        try:
            yield Generator(child, targets, rounds)
        finally:
            child.close()


def service(quick: bool) -> Section:
    """The service under load."""
    return measure(
        0.5 if quick else 2.0, 1 if quick else 2, WATCHERS[:2] if quick else WATCHERS[:3]
    )


def measure(seconds: float, rounds: int, watchers: Sequence[int]) -> Section:
    """Measure everything, each for this many seconds in each round."""
    with generator(rounds) as load:
        lines, costs = measure_calls(load, seconds)
        more, events = measure_events(load, seconds, watchers)
    return Section(
        "The service under load",
        "`trio-dispatch serve` with SQLite, and the same calls and transactions on grpc.aio and "
        "aiosqlite: the official stubs, the same tables, WAL, `synchronous=FULL`, and one "
        "transaction for all writes that wait.  One process calls both in turn, with the official "
        "client on four connections.  The first table has the CPU time of the service for each "
        f"call.  In the second one {WRITERS} tasks create dispatches as fast as they are "
        "acknowledged, while others watch them: spread over 200 microgrids, or all the same.  "
        "Times are in milliseconds; that of an event is from the request until it arrives at a "
        "watcher.  Nothing may be lost, and no watcher cut off.\n\n"
        "With watchers on one microgrid, each create makes as many events as there are watchers, "
        "so the events per second show how fast they are passed on.  With watchers that are "
        "spread, each create makes one event or five: creates take most of the time, so those "
        "lines compare creates.  What such an event costs is the CPU time of a create with these "
        "watchers less that of one without any, divided by the number of events; less than "
        f"{LEAST_COST:.0f} µs counts as {LEAST_COST:.0f} µs.",
        [*lines, *more],
        f"{costs}\n\n{events}",
    )


def measure_calls(load: Generator, seconds: float) -> tuple[list[Line], str]:
    """Measure each call; returns the lines of the main table, and a table of the costs."""
    lines, rows = [], []
    for work, order in CALLS.items():
        limit = None
        if order["tasks"] == WRITERS:
            # With as many writers as commits can share, each waits for one of them.
            each = WRITERS / (2 if "and" in order["call"] else 1)
            limit = Measured(
                f"{each:.0f} for each fsync", [syncs(Path(tempfile.gettempdir())) * each]
            )
        found = load.measure("calls", seconds, **order)
        ours, peer = (found[name] for name in NAMES)
        lines.append(
            compare(f"service: {work}", ours, peer, PER_SECOND, Aim(ratio=1.0), limit=limit)
        )
        cells = [
            f"{middle([each[key] for each in found[name].details]):,.{digits}f}"
            for key, digits in (("cpu", 0), ("call_50", 1), ("call_99", 1))
            for name in NAMES
        ]
        rows.append([work, *cells])
    head = ["calls", "CPU, µs", "the peer's", "50%, ms", "the peer's", "99%, ms", "the peer's"]
    return lines, table(head, rows)


def measure_events(
    load: Generator, seconds: float, watchers: Sequence[int]
) -> tuple[list[Line], str]:
    """Measure creates with watchers; returns lines of the main table, and a table of all."""
    lines, rows = [], []
    unwatched: dict[str, float] = {}
    for count in watchers:
        for spread in (True, False):
            found = load.measure("load", seconds, writers=WRITERS, watchers=count, spread=spread)
            where = "spread" if spread else "on one microgrid"
            work = f"{count:,} watchers, {where}"
            if count and spread:
                lines += spread_lines(found, count // MICROGRIDS, unwatched)
            elif count:
                ours, peer = (
                    Measured(name, [each["events"] for each in found[name].details])
                    for name in NAMES
                )
                lines.append(
                    compare(f"service: events to {work}", ours, peer, PER_SECOND, Aim(ratio=3.0))
                )
            elif spread:
                unwatched = {
                    name: middle([each["cpu"] for each in found[name].details]) for name in NAMES
                }
            for name in NAMES:
                measured = found[name]
                columns = [
                    measured.values if key == "value" else [each[key] for each in measured.details]
                    for key in COLUMNS.values()
                ]
                rows.append([work, name, *(f"{middle(column):,.0f}" for column in columns)])
    return lines, table(["watchers", "service", *COLUMNS], rows, left=(0, 1))


def spread_lines(
    found: Mapping[str, Measured], watchers: int, unwatched: Mapping[str, float]
) -> list[Line]:
    """Return the lines about creates in microgrids that have a few watchers each.

    Args:
      watchers: The watchers of each microgrid.
      unwatched: The CPU time of a create without watchers.
    """
    ours, peer = (found[name] for name in NAMES)
    times = "once" if watchers == 1 else f"{watchers} times"
    work = f"creates, each of {MICROGRIDS} microgrids watched {times}"
    lines = [compare(f"service: {work}", ours, peer, PER_SECOND, Aim(ratio=1.0))]
    if watchers > 1:  # One event costs less than creates differ.
        costs = []
        for name in NAMES:
            with_create = middle([each["event_cpu"] for each in found[name].details])
            cost = max(LEAST_COST, with_create - unwatched[name] / watchers)
            costs.append(Measured(name, [cost]))
        work = f"service: CPU time of each event, {MICROGRIDS} microgrids watched {times} each"
        lines.append(compare(work, costs[0], costs[1], MICROSECONDS, Aim(ratio=3.0)))
    return lines


def middle(values: Sequence[float]) -> float:
    return Measured("", [*values]).median


if __name__ == "__main__":
    section = measure(
        float(sys.argv[1]) if len(sys.argv) > 1 else 60.0,
        int(sys.argv[2]) if len(sys.argv) > 2 else 1,
        WATCHERS,
    )
    print(f"{main_table([section])}\n\n{section.table}")
