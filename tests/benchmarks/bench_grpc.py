"""gRPC: ours, grpclib on asyncio and through trio-asyncio, and grpc.aio, side by side.

All call the same C-core server, each in a process of its own, taking turns: what else the machine
does hits all of them.  The first table has calls or messages per second, which is the time of
client, server and kernel together; the second what of it is the client's own, as microseconds of
CPU for each.  A number is the median of all rounds; a ratio, the median of the ratios in each
round, and more than 1 where ours is better.

    python tests/benchmarks/bench_grpc.py [ROUNDS [SECONDS]]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENT = ROOT / ".venv-bench"
PYTHON = ENVIRONMENT / "bin" / "python"
REQUIREMENTS = HERE / "requirements.txt"

OURS, *PEERS = CONTENDERS = [
    "trio-dispatch",
    "grpclib on asyncio",
    "grpclib through trio-asyncio",
    "grpc.aio",
]
ROWS: dict[str, dict[str, Any]] = {
    f"{title}, {kind}": {**work, "kind": kind}
    for kind in ("bytes", "betterproto2")
    for title, work in {
        "unary, one at a time": {"work": "call", "tasks": 1},
        "unary, 100 at a time": {"work": "call", "tasks": 100},
        "messages of a stream": {"work": "stream", "tasks": 1},
    }.items()
}
ROUNDS, SECONDS, WARM_UP = 9, 0.5, 0.5


def make_environment() -> None:
    """Make the environment that everything runs in, unless it is there and up to date."""
    ready = ENVIRONMENT / ".ready"
    if ready.exists() and ready.stat().st_mtime >= REQUIREMENTS.stat().st_mtime:
        return
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    install = [PYTHON, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS]
    subprocess.run(install, check=True)
    ready.touch()


class Result(NamedTuple):
    """What a contender has achieved in one measurement."""

    rate: float
    cpu: float


Results: TypeAlias = dict[str, dict[str, list[Result]]]
"""By row and contender, of each round."""


class Process:
    """A program of this folder that runs in that environment and prints lines."""

    def __init__(self, script: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [PYTHON, HERE / script, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} has ended")
        return line

    def measure(self, seconds: float, **what: Any) -> Result:
        """Have a contender do something for so long."""
        assert self._process.stdin is not None
        print(json.dumps({**what, "seconds": seconds}), file=self._process.stdin, flush=True)
        return Result(*json.loads(self.line()))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def contenders() -> Iterator[dict[str, Process]]:
    """All of them, connected to the server."""
    with ExitStack() as stack:

        def start(script: str, *arguments: str) -> Process:
            process = Process(script, *arguments)
            stack.callback(process.close)
            return process

        port = start("grpc_server.py").line().strip()
        yield {name: start("grpc_client.py", name, port) for name in CONTENDERS}


def measure(rounds: int, seconds: float) -> Results:
    """Have all of them do everything, round by round."""
    results: Results = {row: {name: [] for name in CONTENDERS} for row in ROWS}
    with contenders() as processes:
        for process in processes.values():
            for what in ROWS.values():
                process.measure(WARM_UP, **what)
        for number in range(rounds):
            for row, what in ROWS.items():
                # Each has each place in the order as often as the others.
                for place in range(len(CONTENDERS)):
                    name = CONTENDERS[(number + place) % len(CONTENDERS)]
                    results[row][name].append(processes[name].measure(seconds, **what))
    return results


def print_table(title: str, results: Results, value: Callable[[Result], float], power: int) -> None:
    """A table of one of the values.

    Args:
      power: 1 if more of it is better, -1 if less is.
    """
    heads = [title, *CONTENDERS, *(f"ours : {peer}" for peer in PEERS)]
    print("|", " | ".join(heads), "|")
    print("|", " | ".join(["---", *["---:"] * (len(heads) - 1)]), "|")
    for row, by_name in results.items():
        values = {name: [value(result) for result in found] for name, found in by_name.items()}
        medians = [f"{statistics.median(values[name]):,.0f}" for name in CONTENDERS]
        ratios = [f"{ratio(values[OURS], values[peer]) ** power:.2f}" for peer in PEERS]
        print("|", " | ".join([row, *medians, *ratios]), "|")
    print()


def ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def main() -> None:
    """Print the tables."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    make_environment()
    results = measure(rounds, seconds)
    print_table("per second", results, lambda result: result.rate, 1)
    print_table("µs of CPU each", results, lambda result: result.cpu * 1e6, -1)


if __name__ == "__main__":
    main()
