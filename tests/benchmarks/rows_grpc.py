"""Benchmark of gRPC: ours, grpclib on asyncio and through trio-asyncio, and grpc.aio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, NamedTuple, TypeAlias

from tests.benchmarks.harness import PEERS, PER_SECOND, Child, Measured, better_by
from tests.benchmarks.report import Aim, Section, compare, table

OURS, *OTHERS = CONTENDERS = [
    "trio-dispatch",
    "grpclib on asyncio",
    "grpclib through trio-asyncio",
    "grpc.aio",
]
LIMIT = "bare send and recv"
WORKS: dict[str, dict[str, Any]] = {
    "unary calls, one at a time": {"work": "call", "tasks": 1},
    "unary calls, 100 at a time": {"work": "call", "tasks": 100},
    "messages of a stream": {"work": "stream", "tasks": 1},
}
KINDS = {"bytes": "bytes", "betterproto2": "decoded"}
ROWS = {
    f"{title}, {shown}": {**work, "kind": kind}
    for kind, shown in KINDS.items()
    for title, work in WORKS.items()
}
AIMS = {
    ("unary calls, one at a time, decoded", "grpclib on asyncio"): Aim(ratio=1.2),
    ("unary calls, 100 at a time, decoded", "grpclib on asyncio"): Aim(ratio=1.8),
    ("messages of a stream, decoded", "grpclib on asyncio"): Aim(ratio=1.2),
    **{(row, "grpclib through trio-asyncio"): Aim(ratio=1.5) for row in ROWS},
}
WARM_UP = 0.5  # seconds
WITHIN = 60.0


class Result(NamedTuple):
    """The result of one measurement."""

    rate: float
    cpu: float


Results: TypeAlias = dict[str, dict[str, list[Result]]]
"""The results of each round, by row and contender."""


def grpc(quick: bool) -> Section:
    """Calls and messages per second."""
    results = run(*((3, 0.3) if quick else (9, 0.5)))
    lines = []
    for row in ROWS:
        if not row.endswith("decoded"):
            continue
        ours = _measured(OURS, results[row], lambda result: result.rate)
        limit = None
        if LIMIT in results[row]:
            limit = _measured(LIMIT, results[row], lambda result: result.rate)
        for peer in OTHERS:
            theirs = _measured(peer, results[row], lambda result: result.rate)
            lines.append(compare(row, ours, theirs, PER_SECOND, AIMS.get((row, peer)), limit=limit))
    rates = _table("per second", results, lambda result: result.rate, costs=False)
    costs = _table("µs of CPU each", results, lambda result: result.cpu * 1e6, costs=True)
    return Section(
        "gRPC",
        "All clients call the same C-core server, and all run in the environment of the peers, "
        "with the same Python, the same h2, and the same codec, ours.  The tables also contain "
        "messages that stay bytes.  The first one has calls or messages per second, which "
        "includes the time of client, server and kernel; the second one has the CPU time of the "
        "client alone.  The limit is a loop on bare sockets: it sends the messages of all tasks, "
        "and waits until as many bytes are back.",
        lines,
        f"{rates}\n\n{costs}",
    )


@contextmanager
def contenders() -> Iterator[dict[str, Child]]:
    """Start all contenders, connected to the server."""
    with ExitStack() as stack:

        def start(script: str, *arguments: object) -> Child:
            child = Child(PEERS, script, *arguments)
            stack.callback(child.close)
            return child

        port, bare_port = start("grpc_server").line(WITHIN).split()
        children = {name: start("grpc_client", name, port) for name in CONTENDERS}
        yield children | {LIMIT: start("grpc_client", LIMIT, bare_port)}


def run(rounds: int, seconds: float) -> Results:
    """Measure all rows with all contenders, round by round."""
    results: Results = {row: {name: [] for name in _contenders_of(row)} for row in ROWS}
    with contenders() as children:
        for row, what in ROWS.items():
            for name in _contenders_of(row):
                children[name].ask(WITHIN, seconds=WARM_UP, **what)
        for number in range(rounds):
            for row, what in ROWS.items():
                # Each contender is at each place in the order equally often.
                names = _contenders_of(row)
                for place in range(len(names)):
                    name = names[(number + place) % len(names)]
                    answer = children[name].ask(WITHIN, seconds=seconds, **what)
                    results[row][name].append(Result(*answer))
    return results


def _contenders_of(row: str) -> list[str]:
    # How fast sockets carry many messages in one direction says nothing about gRPC.
    return CONTENDERS if ROWS[row]["work"] == "stream" else [*CONTENDERS, LIMIT]


def _measured(
    name: str, results: dict[str, list[Result]], value: Callable[[Result], float]
) -> Measured:
    return Measured(name, [value(result) for result in results[name]])


def _table(title: str, results: Results, value: Callable[[Result], float], *, costs: bool) -> str:
    """Return a table of one value: the median of each contender, and the ratios of ours."""
    unit = PER_SECOND._replace(more_is_better=not costs)
    rows = []
    for row, by_name in results.items():
        found = {name: _measured(name, by_name, value) for name in CONTENDERS}
        medians = [f"{median(found[name].values):,.0f}" for name in CONTENDERS]
        ratios = [f"{better_by(found[OURS], found[peer], unit):.2f}x" for peer in OTHERS]
        rows.append([row, *medians, *ratios])
    return table([title, *CONTENDERS, *(f"to {peer}" for peer in OTHERS)], rows)
