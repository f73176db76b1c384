"""Benchmarks of a dispatcher with many dispatches: first sync, growth, bursts, memory."""

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
    """The first sync of ten thousand dispatches."""
    count = 2_000 if quick else 10_000
    lines = []
    for kind, what in (
        ("one-shot", "one-shot dispatches"),
        ("daily", "dispatches that have recurred daily for 30 days"),
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
        aim = None if quick else Aim(ratio=30)  # It is for ten thousand.
        lines.append(compare(work, found["ours"], found[THEIRS], SECONDS, aim))
    return Section(
        "First sync",
        "The time from opening the dispatcher until all dispatches are known, with a C-core "
        "server in another process.  Each dispatch has a duration, three components as the target "
        "and a payload of two entries, and starts within about a day.  The server sends bytes "
        "that were encoded beforehand.  The peer is measured twice, and stopped after a minute.",
        lines,
    )


def growth(quick: bool) -> Section:
    """The cost of each dispatch, with few and with many of them."""
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
        "The time of the first sync, divided by the number of dispatches, for increasing numbers. "
        "The highest cost must be less than 1.5 times the lowest.",
        lines,
    )


def burst(quick: bool) -> Section:
    """A burst of updates."""
    count, updates = (2_000, 500) if quick else (10_000, 2_000)
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
    aim = None if quick else Aim(ratio=50)  # The peer's cost grows with the dispatches.
    line = compare(work, found["ours"], found[THEIRS], PER_SECOND, aim)
    lost = {
        name: [details["lost"] / updates for details in measured.details]
        for name, measured in found.items()
    }
    most = max(lost["ours"])
    theirs = f"{statistics.median(lost[THEIRS]):.0%}" if lost[THEIRS] else "?"
    return Section(
        "A burst of updates",
        "The server sends all updates at once, each of a different dispatch, with a serial number "
        "in the payload.  A receiver reads lifecycle events all the time.  Counted is what it "
        "receives, from the order to send until the last event.  What never arrives is lost.",
        [
            line,
            Line("lost of them", f"{most:.0%}", THEIRS, theirs, aim="none lost", met=most == 0),
        ],
    )


def memory(quick: bool) -> Section:
    """The memory that a hundred thousand dispatches need."""
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
        f"The resident memory of the process after the first sync.  It was "
        f"{MEBIBYTES.show(details['before'])} before, and {MEBIBYTES.show(details['peak'])} at "
        f"its peak: {details['each']:,.0f} bytes for each dispatch.",
        [compare(work, measured, None, MEBIBYTES, Aim(at_most=300))],
    )
