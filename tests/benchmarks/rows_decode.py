"""Benchmarks of decoding and of the import."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.benchmarks.children import control
from tests.benchmarks.harness import (
    MICROSECONDS,
    MILLISECONDS,
    OURS,
    PEERS,
    ROOT,
    Contender,
    Measured,
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
        ],
        rounds=3 if quick else 9,
    )
    aim = Aim(at_most=20)
    return Section(
        "Decoding",
        "The bytes of 200 different `Dispatch` messages in turn: half of them are one-shot and "
        "half recur daily, with three components as the target and a payload of two entries.  "
        "Ours and the official client produce their own dispatch objects, betterproto2's parser "
        "only its message.  Ours is also measured with a read of the payload.",
        [
            compare(
                "decode one dispatch to the domain", found["ours"], found[better], MICROSECONDS, aim
            ),
            compare(
                "decode one dispatch to the domain",
                found["ours"],
                found[official],
                MICROSECONDS,
                aim,
            ),
            compare(
                "decode it, and read its payload",
                found["ours, payload read"],
                found[official],
                MICROSECONDS,
            ),
        ],
    )


def imports(quick: bool) -> Section:
    """The import in a fresh process."""
    rows = [
        # The package alone, and with everything that a dispatcher needs.
        ("import trio_dispatch", "import trio_dispatch", "import frequenz.dispatch"),
        (
            "import its dispatcher",
            "from trio_dispatch import open_dispatcher",
            "from frequenz.dispatch import Dispatcher",
        ),
    ]
    lines = []
    for work, ours, theirs in rows:
        ours_took, theirs_took = Measured("ours"), Measured(theirs)
        _import(OURS, ours)
        _import(PEERS, theirs)
        for _ in range(5 if quick else 15):
            ours_took.values.append(_import(OURS, ours))
            theirs_took.values.append(_import(PEERS, theirs))
        lines.append(compare(work, ours_took, theirs_took, MILLISECONDS, Aim(ratio=2)))
    return Section(
        "Import",
        "In a fresh process each time, from compiled files, without the start of Python itself.  "
        "`import trio_dispatch` imports each name when it is first used, so the second line is "
        "the relevant one.",
        lines,
    )


def _import(python: Path, statement: str) -> float:
    """Return the milliseconds of an import."""
    program = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    done = subprocess.run(
        [python, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    return float(done.stdout.splitlines()[-1]) * 1e3
