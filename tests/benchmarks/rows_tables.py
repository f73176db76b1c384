"""What has no peer, and tables of its own."""

from __future__ import annotations

from tests.benchmarks.harness import output_of
from tests.benchmarks.report import Section


def agenda(quick: bool) -> Section:
    """The agenda with many dispatches."""
    return Section(
        "The agenda",
        "What is due when, without I/O: to build it, to change a dispatch in it, to go through a "
        "day of it; the longest step, and how many notices it gave.",
        table=output_of("bench_agenda", *(["1000"] if quick else [])),
    )


def lateness(quick: bool) -> Section:
    """Starts by the system's clock."""
    return Section(
        "Lateness",
        "A thousand dispatches that start in the same second, by the system's clock: the time "
        "from each start until a receiver has its message.",
        table=output_of("bench_lateness"),
    )


def service(quick: bool) -> Section:
    """The service under load."""
    return Section(
        "The service under load",
        "`trio-dispatch serve` in a process of its own, over TCP, with its dispatches in SQLite, "
        "where each write is on the disk before it is acknowledged, and in memory.  The client is "
        "ours, and its work is part of what is measured; watchers only take the bytes.",
        table=output_of("bench_service", *(["0.5"] if quick else [])),
    )
