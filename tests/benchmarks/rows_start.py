"""Benchmarks of processes that start: imports, the first sync, and a command."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Mapping, Sequence

from tests.benchmarks.child_sync import KEY, MICROGRID, url_of
from tests.benchmarks.harness import (
    MILLISECONDS,
    OURS,
    PEERS,
    ROOT,
    Measured,
    dispatch_server,
)
from tests.benchmarks.report import Aim, Line, Section, compare
from tests.helpers.interop.peers import interop_python

Command = Sequence[object]

_SYNC = "from tests.benchmarks.child_sync import {0}; {0}({1})"


def start(quick: bool) -> Section:
    """What a fresh process costs until it is of use."""
    rounds = 3 if quick else 11
    lines = [
        # The package alone, and with what opens a dispatcher.
        _imports("trio_dispatch", "import trio_dispatch", "import frequenz.dispatch", rounds),
        _imports(
            "`open_dispatcher`",
            "from trio_dispatch import open_dispatcher",
            "from frequenz.dispatch import Dispatcher",
            rounds,
        ),
    ]
    with dispatch_server("one-shot", 10) as server:
        port = server["port"]
        url = url_of(port)
        lines.append(
            _processes(
                "process that syncs 10 dispatches",
                [OURS, "-c", _SYNC.format("ours_sync", f"{port}, 10")],
                [PEERS, "-c", _SYNC.format("frequenz_sync", port)],
                "frequenz-dispatch",
                rounds,
            )
        )
        command = OURS.with_name("trio-dispatch")
        official = interop_python().with_name("dispatch-cli")
        lines.append(
            _processes(
                "`trio-dispatch list`, 10 dispatches",
                [command, "list", "-m", MICROGRID, "--url", url, "--key", KEY],
                [official, "--url", url, "--auth-key", KEY, "--raw", "list", MICROGRID],
                "dispatch-cli",
                rounds,
                Aim(ratio=1),
            )
        )
    return Section(
        "Start",
        "In a fresh process each time, from compiled files.  Imports are timed without the start "
        "of Python itself, processes by the CPU time of the whole process.  `open_dispatcher` "
        "imports gRPC when it is called; `import trio_dispatch` imports each name when it is first "
        "used.",
        lines,
    )


def _imports(what: str, ours: str, theirs: str, rounds: int) -> Line:
    found = {name: Measured(name) for name in ("ours", theirs)}
    for number in range(rounds + 1):
        for name, python, statement in (("ours", OURS, ours), (theirs, PEERS, theirs)):
            program = (
                f"import time; t = time.process_time(); {statement}; print(time.process_time() - t)"
            )
            value = float(_run([python, "-c", program]).splitlines()[-1])
            if number:  # The first run compiles the files.
                found[name].values.append(value * 1e3)
    return compare(f"import {what}", found["ours"], found[theirs], MILLISECONDS, Aim(ratio=1.3))


def _processes(
    what: str, ours: Command, theirs: Command, peer: str, rounds: int, aim: Aim | None = None
) -> Line:
    found = {name: Measured(name) for name in ("ours", peer)}
    for number in range(rounds + 1):
        for name, command in (("ours", ours), (peer, theirs)):
            before = _used_by_children()
            _run(command)
            if number:
                found[name].values.append((_used_by_children() - before) * 1e3)
    return compare(what, found["ours"], found[peer], MILLISECONDS, aim)


def _used_by_children() -> float:
    """Return the seconds of CPU time of the processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _run(command: Command) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=60,
        env=_environment(),
    )
    return done.stdout


def _environment() -> Mapping[str, str]:
    """This environment, in which Python keeps what it compiles."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
