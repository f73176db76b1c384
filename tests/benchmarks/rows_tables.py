"""Benchmarks without a peer, with tables of their own."""

from __future__ import annotations

import trio

from tests.benchmarks import bench_page
from tests.benchmarks.harness import MILLISECONDS, Unit, output_of
from tests.benchmarks.report import Line, Section

PERCENT = Unit("%")


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


def page(quick: bool) -> Section:
    """The live page of the service."""
    pages, rate = (10, 20.0) if quick else (50, 20.0)
    found = trio.run(bench_page.measure, pages, rate, *((3.0, 2.0) if quick else (10.0, 5.0)))
    work = f"live page, {pages} open, {rate:.0f} changes a second"
    return Section(
        "The live page",
        f"A service with 1,000 dispatches, and {pages} pages that follow it over HTTP and draw the "
        "plan of a day at most once a second.  The CPU time of the service is in percent of a "
        "core; the delay of a change is from the call until a page has it.",
        [
            Line(f"{work}, CPU of the service", PERCENT.show(found["cpu_percent"])),
            Line(f"{work}, delay of a change", MILLISECONDS.show(found["event_median_s"] * 1e3)),
            Line(f"{work}, plan of a day", MILLISECONDS.show(found["plan_median_s"] * 1e3)),
        ],
    )
