"""Benchmarks of decoding."""

from __future__ import annotations

from tests.benchmarks.children import control
from tests.benchmarks.harness import (
    MICROSECONDS,
    PEERS,
    Contender,
    dispatch_server,
    measure,
)
from tests.benchmarks.report import Aim, Section, compare

SCRIPT = "child_decode"


def decode(quick: bool) -> Section:
    """From the bytes of a dispatch to a `Dispatch`."""
    with dispatch_server("mixed", 200) as server:
        rows = {"rows": control(server["control"], "rows", count=200)}
    better, official = "betterproto2's parser", "C++ runtime and official client"
    found = measure(
        [
            Contender("ours", SCRIPT, "ours", rows),
            Contender("ours, payload read", SCRIPT, "ours_with_payload", rows),
            Contender(better, SCRIPT, "betterproto2", rows),
            Contender(official, SCRIPT, "official", rows, PEERS),
            Contender("upb alone", SCRIPT, "upb", rows, PEERS),
        ],
        rounds=3 if quick else 9,
    )
    return Section(
        "Decoding",
        "The bytes of 200 different `Dispatch` messages in turn: half of them are one-shot and "
        "half recur daily, with three components as the target and a payload of two entries.  "
        "Ours and the official client produce their own dispatch objects, betterproto2's parser "
        "only its message.  Ours is also measured with a read of the payload.  The limit is upb, a "
        "parser in C; it produces a message whose fields nobody has read yet.",
        [
            compare(
                "decode one dispatch to the domain", found["ours"], found[better], MICROSECONDS
            ),
            compare(
                "decode one dispatch to the domain",
                found["ours"],
                found[official],
                MICROSECONDS,
                Aim(ratio=1),
                limit=found["upb alone"],
            ),
            compare(
                "decode it, and read its payload",
                found["ours, payload read"],
                found[official],
                MICROSECONDS,
            ),
        ],
    )
