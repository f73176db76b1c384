"""Services on PostgreSQL and SQLite, and a peer on grpc.aio and asyncpg, under load.

    python -m tests.benchmarks.bench_replicas [SECONDS]

200 tasks create dispatches in 200 microgrids, while watchers watch them: 500 at each service.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import OURS, PEERS, PER_SECOND, Child, ChildError, Measured
from tests.benchmarks.report import Section, compare, table
from tests.benchmarks.rows_service import KEY, WITHIN, WRITERS, Target
from tests.helpers.postgres import PostgresServer

WATCHERS = 500
SQLITE, ONE, TWO, PEER = "SQLite", "PostgreSQL", "PostgreSQL, two services", "PostgreSQL, the peer"
COUNTS = {SQLITE: 1, ONE: 1, TWO: 2, PEER: 1}
"""How many services there are on each database."""


@contextmanager
def service(database: str | Path, log: Path) -> Iterator[Target]:
    """Run a service on a database."""
    command: list[str | Path] = [
        *(OURS.with_name("trio-dispatch"), "serve", "--listen", "127.0.0.1:0"),
        *("--key", KEY, "--db", database),
    ]
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        assert process.stdout is not None
        # "serving on grpc://127.0.0.1:PORT?ssl=false"
        port = int(process.stdout.readline().split()[2].rpartition(":")[2].partition("?")[0])
        yield Target(port, process.pid)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def peer(database: str) -> Iterator[Target]:
    """Run the peer on a database."""
    child = Child(PEERS, "peer_postgres", database, KEY)
    try:
        yield Target(int(child.line(WITHIN)), child.pid)
    finally:
        child.close()


def load(targets: list[Target], seconds: float) -> list[dict[str, Any]]:
    """Load all services at once, each from a process of its own; return what each measured."""
    children = [Child(PEERS, "load_client") for _ in targets]

    def ask(child: Child, target: Target) -> dict[str, Any]:
        answer: dict[str, Any] = child.ask(
            WITHIN + seconds,
            do="load",
            port=target.port,
            pid=target.pid,
            key=KEY,
            seconds=seconds,
            writers=WRITERS // len(targets),
            watchers=WATCHERS,
            spread=True,
        )
        return answer

    try:
        with ThreadPoolExecutor(len(targets)) as pool:
            found = [*pool.map(ask, children, targets)]
    finally:
        for child in children:
            child.close()
    for each in found:
        if "error" in each:
            raise ChildError(each["error"])
    return found


def measure(seconds: float) -> dict[str, list[dict[str, Any]]]:
    """Return what was measured at each service, by kind of database."""
    found: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trio-dispatch-")))
        server = PostgresServer(synced=True)
        for name, count in COUNTS.items():
            with ExitStack() as running:
                database: str | Path = folder / "dispatches.db"
                if name != SQLITE:
                    database = running.enter_context(server.database())
                if name == PEER:
                    targets = [running.enter_context(peer(str(database)))]
                else:
                    targets = [
                        running.enter_context(service(database, folder / f"log{number}"))
                        for number in range(count)
                    ]
                found[name] = load(targets, seconds)
    return found


def table_of(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the results as a table."""
    rows = [
        [
            name,
            f"{sum(each['value'] for each in measured):,.0f}",
            *(
                f"{max(each[key] for each in measured):,.0f}"
                for key in ("call_50", "call_99", "event_50", "event_99")
            ),
            f"{sum(each['lost'] + each['cut'] for each in measured):,.0f}",
        ]
        for name, measured in found.items()
    ]
    return table(
        [
            *("database", "creates/s", "create, 50%, ms", "99%"),
            *("event, 50%, ms", "99% ", "lost or cut off"),
        ],
        rows,
    )


def replicas(quick: bool) -> Section:
    """Services on PostgreSQL."""
    rounds = [measure(1.0 if quick else 3.0) for _ in range(1 if quick else 2)]

    def sums(database: str, what: str, name: str) -> Measured:
        return Measured(name, [sum(each[what] for each in found[database]) for found in rounds])

    lines = [
        compare(
            f"service on PostgreSQL: {work}",
            sums(ONE, what, "ours"),
            sums(PEER, what, "grpc.aio and asyncpg"),
            PER_SECOND,
        )
        for work, what in (
            (f"creates, {WRITERS} at a time", "value"),
            (f"events to {WATCHERS} watchers", "events"),
        )
    ]
    return Section(
        "Services on PostgreSQL",
        f"{WRITERS} tasks create dispatches in 200 microgrids, while {WATCHERS} watchers at each "
        "service watch them.  Each service is loaded by a process of its own.  The peer makes the "
        "same transactions with asyncpg.  Commits are synced.",
        lines,
        table_of(rounds[-1]),
    )


if __name__ == "__main__":
    print(table_of(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)))
