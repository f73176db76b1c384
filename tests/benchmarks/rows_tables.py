"""Benchmarks without a peer, with tables of their own."""

from __future__ import annotations

from tests.benchmarks.harness import output_of
from tests.benchmarks.report import Section


def agenda(quick: bool) -> Section:
    """The agenda with many dispatches."""
    return Section(
        "The agenda",
        "The agenda alone, without I/O: the time to build it, to update a dispatch, and to advance "
        "it through a day; the longest step, and the number of notices in it.",
        table=output_of("bench_agenda", *(["1000"] if quick else [])),
    )


def actors(quick: bool) -> Section:
    """Actors for many components."""
    return Section(
        "Actors",
        "200 components with one actor each (`MergeByComponent`), and 10,000 dispatches that run "
        "for two components each, so that about a hundred share an actor.  Measured is the CPU "
        "time from a status message until each actor that it concerns has been shown the update.",
        table=output_of("bench_actors", *(["200", "1000"] if quick else [])),
    )


def lateness(quick: bool) -> Section:
    """Starts on the system clock."""
    return Section(
        "Lateness",
        "A thousand dispatches start in the same second of the system clock.  Measured is the time "
        "from each start until a receiver has its message.",
        table=output_of("bench_lateness"),
    )
