"""Benchmarks of many dispatchers, and of the small calls that each makes all the time."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import trio

from tests.benchmarks.child_sync import KEY, MICROGRID, url_of
from tests.benchmarks.harness import (
    MICROSECONDS,
    OURS,
    PEERS,
    PER_SECOND,
    SECONDS,
    Contender,
    Measured,
    Unit,
    dispatch_server,
    measure,
)
from tests.benchmarks.report import Section, compare
from trio_dispatch import TargetIds, clock, open_client

KIBIBYTES = Unit("KiB", digits=0)
THEIRS = "frequenz-dispatch"


def many(quick: bool) -> Section:
    """Many microgrids in one process."""
    microgrids, each = (50, 20) if quick else (200, 50)
    with dispatch_server("one-shot", each) as server:
        arguments = {"port": server["port"], "microgrids": microgrids, "each": each}
        found = measure(
            [
                Contender("ours", "child_many", "ours_many", arguments),
                Contender(
                    THEIRS, "child_many", "frequenz_many", arguments, PEERS, limit=60, rounds=1
                ),
            ],
            rounds=1 if quick else 3,
            # The memory of the first round counts.
            warm_up=0,
        )
    memory = {
        name: Measured(
            name, [details["kib"] for details in measured.details[:1]], beyond=measured.beyond
        )
        for name, measured in found.items()
    }
    work = f"{microgrids} microgrids of {each} dispatches in a process"
    return Section(
        "Many microgrids",
        "A dispatcher for each microgrid, all in one process, with a C-core server in another one: "
        "the time until the dispatches of all are known, and the memory that the process needed "
        "for the first time, for each.  Ours share a channel.",
        [
            compare(work, found["ours"], found[THEIRS], SECONDS),
            compare(f"{work}, memory for each", memory["ours"], memory[THEIRS], KIBIBYTES),
        ],
    )


def calls(quick: bool) -> Section:
    """Probes and reports."""
    rounds, warm_up = (1, 0) if quick else (3, 1)
    with _service() as port:
        arguments = {"port": port}
        official, sqlite = "a list of one dispatch with the official client", "bare SQLite"
        probes = measure(
            [
                Contender("ours", "child_small", "ours_probe", arguments),
                Contender(official, "child_small", "official_list", arguments, PEERS),
            ],
            rounds,
            warm_up,
        )
        reports = measure(
            [
                Contender("ours", "child_small", "ours_reports", arguments),
                Contender(sqlite, "child_small", "sqlite_reports", arguments),
            ],
            rounds,
            warm_up,
        )
    return Section(
        "Probes and reports",
        "Both are calls to `trio-dispatch serve` with SQLite.  A probe asks for the dispatch with "
        "the newest update and compares it with what is known; measured is the CPU time of the "
        "client.  Reports of runs are stored by the hundred, by one client, which waits for each "
        "call.  The limit is SQLite itself, which stores as many rows in each commit.",
        [
            compare("probe, CPU time", probes["ours"], probes[official], MICROSECONDS),
            compare(
                "reports of runs, 100 in a call",
                reports["ours"],
                None,
                PER_SECOND,
                limit=reports[sqlite],
            ),
        ],
    )


@contextmanager
def _service() -> Iterator[int]:
    """Run our service with some dispatches; yields its port."""
    with tempfile.TemporaryDirectory(prefix="trio-dispatch-bench-") as folder:
        command = [
            *(str(OURS.with_name("trio-dispatch")), "serve", "--listen", "127.0.0.1:0"),
            *("--key", KEY, "--db", str(Path(folder) / "bench.db")),
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert process.stdout is not None
            # "serving on grpc://127.0.0.1:PORT?ssl=false"
            port = int(process.stdout.readline().split()[2].rpartition(":")[2].partition("?")[0])
            trio.run(_fill, port)
            yield port
        finally:
            process.kill()
            process.communicate()


async def _fill(port: int) -> None:
    async with open_client(url_of(port), key=KEY) as client:
        for _ in range(100):
            await client.create(
                MICROGRID,
                type="CHARGE",
                start_time=clock.now() + timedelta(days=1),
                duration=timedelta(minutes=15),
                target=TargetIds(1, 2, 3),
            )
