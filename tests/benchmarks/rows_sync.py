"""What a dispatcher does with many dispatches: first sync, growth, bursts, memory."""

from __future__ import annotations

import statistics
from contextlib import ExitStack

from tests.benchmarks.harness import (
    MEBIBYTES,
    MICROSECONDS,
    PEERS,
    PER_SECOND,
    SECONDS,
    Contender,
    dispatch_server,
    measure,
)
from tests.benchmarks.report import Aim, Line, Section, compare

SCRIPT = "child_sync"
THEIRS = "frequenz-dispatch"


def first_sync(quick: bool) -> Section:
    """Ten thousand dispatches, until all are known."""
    count = 10_000
    lines = []
    for kind, what, aim in (
        ("one-shot", "one-shot dispatches", 0.5),
        ("daily", "dispatches that are daily since 30 days", 0.8),
    ):
        with dispatch_server(kind, count) as server:
            port = {"port": server["port"]}
            found = measure(
                [
                    Contender("ours", SCRIPT, "ours_sync", {**port, "count": count}),
                    Contender(
                        THEIRS,
                        SCRIPT,
                        "frequenz_sync",
                        port,
                        PEERS,
                        limit=10 if quick else 60,
                        rounds=1 if quick else 2,
                    ),
                ],
                rounds=3 if quick else 7,
                warm_up=1,
            )
        work = f"first sync of {count:,} {what}"
        lines.append(compare(work, found["ours"], found[THEIRS], SECONDS, Aim(at_most=aim)))
    return Section(
        "First sync",
        "From opening the dispatcher until all that exists is known, listed from a C-core server "
        "in a process of its own.  A dispatch has a duration, three components as its target and "
        "a payload of two entries; all start in the next day or so.  The server answers with "
        "bytes that were encoded beforehand.  The peer is measured twice, and stopped after a "
        "minute.",
        lines,
    )


def growth(quick: bool) -> Section:
    """The cost of a dispatch, of few and of many."""
    counts = (1_000, 10_000) if quick else (1_000, 10_000, 100_000)
    with ExitStack() as stack:
        contenders = []
        for count in counts:
            server = stack.enter_context(dispatch_server("one-shot", count))
            arguments = {"port": server["port"], "count": count}
            contenders.append(Contender(f"{count:,}", SCRIPT, "ours_sync_each", arguments))
        found = measure(contenders, rounds=3 if quick else 5)
    medians = [measured.median for measured in found.values()]
    factor = max(medians) / min(medians)
    lines = [
        Line(f"first sync of {count}, each dispatch", measured.show(MICROSECONDS))
        for count, measured in found.items()
    ]
    work = " → ".join(found)
    lines.append(
        Line(f"growth, {work}", f"{factor:.2f}x", aim="constant within 1.5x", met=factor <= 1.5)
    )
    return Section(
        "Growth",
        "The first sync of more and more dispatches, divided by their number: the greatest of "
        "these costs over the least is to stay under 1.5.",
        lines,
    )


def burst(quick: bool) -> Section:
    """Many updates at once."""
    count, updates = (2_000, 1_000) if quick else (10_000, 2_000)
    with dispatch_server("one-shot", count) as server:
        arguments = {
            "port": server["port"],
            "control_port": server["control"],
            "updates": updates,
        }
        found = measure(
            [
                Contender("ours", SCRIPT, "ours_burst", {**arguments, "count": count}),
                Contender(THEIRS, SCRIPT, "frequenz_burst", arguments, PEERS, limit=180, rounds=1),
            ],
            rounds=3 if quick else 7,
        )
    work = f"{updates:,} updates in a burst over {count:,} dispatches, at the receiver"
    line = compare(work, found["ours"], found[THEIRS], PER_SECOND, Aim(at_least=5_000))
    lost = {
        name: [details["lost"] / updates for details in measured.details]
        for name, measured in found.items()
    }
    most = max(lost["ours"])
    theirs = f"{statistics.median(lost[THEIRS]):.0%}" if lost[THEIRS] else "?"
    return Section(
        "A burst of updates",
        "The server sends all updates at once, each of another dispatch, with a serial number in "
        "the payload.  Counted is what a receiver of lifecycle events gets that reads all the "
        "time, from the order to send until the last one; what it never gets is lost.",
        [
            line,
            Line("lost of them", f"{most:.0%}", THEIRS, theirs, aim="none lost", met=most == 0),
        ],
    )


def memory(quick: bool) -> Section:
    """What a hundred thousand dispatches take."""
    count = 20_000 if quick else 100_000
    with dispatch_server("one-shot", count) as server:
        contender = Contender(
            "ours", SCRIPT, "ours_memory", {"port": server["port"], "count": count}
        )
        measured = measure([contender], rounds=1, warm_up=0)["ours"]
    [details] = measured.details
    work = f"memory of a process that knows {count:,} dispatches"
    return Section(
        "Memory",
        f"All of the process, resident, after the first sync.  It was "
        f"{MEBIBYTES.show(details['before'])} before, and {MEBIBYTES.show(details['peak'])} at "
        f"its peak: {details['each']:,.0f} bytes for each dispatch.",
        [compare(work, measured, None, MEBIBYTES, Aim(at_most=300))],
    )
