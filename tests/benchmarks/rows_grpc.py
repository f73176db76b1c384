"""Benchmark of gRPC: ours, grpclib on asyncio and through trio-asyncio, and grpc.aio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, TypeAlias

from tests.benchmarks.harness import PEERS, PER_SECOND, Child, Measured, better_by
from tests.benchmarks.report import Aim, Section, compare, table

OURS, *OTHERS = CONTENDERS = [
    "trio-dispatch",
    "grpclib on asyncio",
    "grpclib through trio-asyncio",
    "grpc.aio",
]
GRPCLIB = "grpclib on asyncio"
LIMIT = "prepared frames"
CCORE = "grpc.aio"
ALL = [*CONTENDERS, LIMIT]
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
OWN_SERVER = ", each library's own server"
OWN_ROWS = {
    f"{title}, decoded{OWN_SERVER}": {**work, "kind": "betterproto2"}
    for title, work in WORKS.items()
}
RATIOS = {
    "unary calls, one at a time": 1.2,
    "unary calls, 100 at a time": 1.8,
    "messages of a stream": 1.2,
}
AIMS = {
    **{
        (f"{title}, decoded{server}", GRPCLIB): Aim(ratio=ratio)
        for title, ratio in RATIOS.items()
        for server in ("", OWN_SERVER)
    },
    **{(row, "grpclib through trio-asyncio"): Aim(ratio=1.5) for row in ROWS},
}
WITHIN = 60.0


class Result(NamedTuple):
    """The result of one measurement."""

    rate: float
    cpu: float


Results: TypeAlias = dict[str, dict[str, list[Result]]]
"""The results of each round, by row and contender."""


def grpc(quick: bool) -> Section:
    """Calls and messages per second."""
    results = run(*((2, 0.2, 0.2) if quick else (9, 0.5, 0.5)))
    lines = []
    for row, by_name in results.items():
        if not row.endswith(("decoded", OWN_SERVER)):
            continue
        ours = _measured(OURS, by_name, lambda result: result.rate)
        limit = None
        if LIMIT in by_name:
            limit = _measured(LIMIT, by_name, lambda result: result.rate)
        for peer in OTHERS:
            if peer in by_name:
                theirs = _measured(peer, by_name, lambda result: result.rate)
                aim = AIMS.get((row, peer))
                lines.append(compare(row, ours, theirs, PER_SECOND, aim, limit=limit))
    rates = _table("per second", results, lambda result: result.rate, costs=False)
    costs = _table("µs of CPU each", results, lambda result: result.cpu * 1e6, costs=True)
    return Section(
        "gRPC",
        "All run in the environment of the peers, with the same Python, the same h2, and the same "
        "codec, ours.  All clients call the same server of grpc.aio, except in the rows that say "
        "otherwise.  The tables also contain messages that stay bytes.  The first one has calls "
        "or messages per second, which includes the time of client, server and kernel; the second "
        "one has the CPU time of the client alone.\n\n"
        "The limit is a client that does nothing but send prepared frames to the same server, and "
        "count those that come back: a client is hardly faster.  With 100 calls at a time and in "
        "streams, the server of grpc.aio takes more time than our client, which then waits for "
        "it and gets each message alone.  Waking up for a message costs several times as much as "
        "to parse and decode it.  So a faster client makes these rows hardly faster, and a "
        "slower one gets more messages at a time.  The rows with each library's own server are "
        "not limited like this; they measure client and server.",
        lines,
        f"{rates}\n\n{costs}",
    )


@contextmanager
def contenders() -> Iterator[tuple[dict[str, Child], dict[str, Child]]]:
    """Start all contenders: those that call the server of C-core, and those that call their own."""
    with ExitStack() as stack:

        def start(script: str, *arguments: object) -> Child:
            child = Child(PEERS, script, *arguments)
            stack.callback(child.close)
            return child

        libraries = [CCORE, OURS, GRPCLIB]
        ports = {name: start("grpc_server", name).line(WITHIN) for name in libraries}
        yield (
            {name: start("grpc_client", name, ports[CCORE]) for name in ALL},
            {name: start("grpc_client", name, ports[name]) for name in [OURS, GRPCLIB]},
        )


def run(rounds: int, seconds: float, warm_up: float) -> Results:
    """Measure all rows with all contenders, round by round."""
    with contenders() as (with_ccore, with_own_server):
        rows = {
            **{row: (what, with_ccore) for row, what in ROWS.items()},
            **{row: (what, with_own_server) for row, what in OWN_ROWS.items()},
        }
        results: Results = {row: {name: [] for name in of} for row, (_, of) in rows.items()}
        for what, children in rows.values():
            for child in children.values():
                child.ask(WITHIN, seconds=warm_up, **what)
        for number in range(rounds):
            for row, (what, children) in rows.items():
                # Each contender is at each place in the order equally often.
                names = list(children)
                for place in range(len(names)):
                    name = names[(number + place) % len(names)]
                    answer = children[name].ask(WITHIN, seconds=seconds, **what)
                    results[row][name].append(Result(*answer))
    return results


def _measured(
    name: str, results: dict[str, list[Result]], value: Callable[[Result], float]
) -> Measured:
    return Measured(name, [value(result) for result in results[name]])


def _table(title: str, results: Results, value: Callable[[Result], float], *, costs: bool) -> str:
    """Return a table of one value: the median of each contender, and the ratios of ours."""
    unit = PER_SECOND._replace(more_is_better=not costs)
    rows = []
    for row, by_name in results.items():
        found = {name: _measured(name, by_name, value) for name in by_name}
        shown = [f"{found[name].median:,.0f}" if name in found else "" for name in ALL]
        ratios = [
            f"{better_by(found[OURS], found[peer], unit):.2f}x" if peer in found else ""
            for peer in OTHERS
        ]
        rows.append([row, *shown, *ratios])
    return table([title, *ALL, *(f"to {peer}" for peer in OTHERS)], rows)
