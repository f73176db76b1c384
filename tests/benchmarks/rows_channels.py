"""Benchmark of delivering each message to many receivers."""

from __future__ import annotations

from tests.benchmarks.harness import PEERS, PER_SECOND, Contender, measure
from tests.benchmarks.report import Aim, Line, Section, compare

SCRIPT = "child_channels"


def fan_out(quick: bool) -> Section:
    """A hundred receivers, with single messages and with bursts."""
    lines: list[Line] = []
    for burst, what in ((1, "one message at a time"), (30, "30 messages at a time")):
        arguments = {"burst": burst}
        found = measure(
            [
                Contender("receive", SCRIPT, "ours_receive", arguments),
                Contender("receive_batch", SCRIPT, "ours_receive_batch", arguments),
                Contender("raw Trio channels", SCRIPT, "trio_channels", arguments),
                Contender("frequenz-channels", SCRIPT, "frequenz_channels", arguments, PEERS),
            ],
            rounds=2 if quick else 9,
        )
        raw, frequenz = found["raw Trio channels"], found["frequenz-channels"]
        work = f"fan-out to 100 receivers, {what}"
        for name, peer, ratio in (
            ("receive", raw, 0.8),
            ("receive_batch", raw, None),
            ("receive", frequenz, None),
            # With one message at a time there are no batches.
            ("receive_batch", frequenz, 1.0 if burst > 1 else None),
        ):
            lines.append(
                compare(
                    f"{work}, `{name}`",
                    found[name],
                    peer,
                    PER_SECOND,
                    Aim(ratio=ratio),
                    # Batches need fewer task switches than the raw channels.
                    limit=raw if name == "receive" else None,
                )
            )
    return Section(
        "Fan-out",
        "A message, or 30 at once, for a hundred receivers, each in its own task.  The next "
        "message or burst follows when all of them have received it.  Ours are lifecycle events, "
        "each about a different dispatch; the peers carry plain messages.  Counted are received "
        "messages.  With one message at a time, each costs a task switch; the raw channels show "
        "how many of those Trio makes per second.",
        lines,
    )
