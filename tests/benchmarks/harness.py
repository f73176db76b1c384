"""Measures contenders side by side, each in its own process.

A contender is a function in one of the modules ``child_*`` of this folder.  Its process makes a
measurement when it gets a line of JSON, and answers with another one.  Contenders take turns, so
that other load on the machine affects all of them, and each is at each place in the order equally
often.  A measurement that takes too long ends its contender and nothing else.
"""

from __future__ import annotations

import json
import os
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
OURS = Path(sys.executable)
"""The Python of the project's environment, which also runs the benchmarks."""

PEERS = ROOT / ".venv-bench" / "bin" / "python"
"""The Python of the environment of the peers."""

START_WITHIN = 60.0  # seconds; for a server that encodes a hundred thousand dispatches


def output_of(script: str, *arguments: str, within: float = 300.0) -> str:
    """Run a script of this folder that measures only ours, and return what it prints."""
    done = subprocess.run(
        [OURS, "-m", f"tests.benchmarks.{script}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
    )
    if done.returncode:
        raise ChildError(f"{script} failed:\n{done.stderr[-3000:]}")
    return done.stdout.rstrip()


class ChildError(Exception):
    """A contender or a server has failed; the message contains its stderr."""


class Child:
    """A running module of this folder that prints lines."""

    def __init__(self, python: Path, script: str, *arguments: object) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-m", f"tests.benchmarks.{script}", *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )
        self._script = script
        self._received = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self, within: float) -> str:
        """Return the next line that it prints.

        Raises:
          TimeoutError: it printed no line within `within` seconds.
          ChildError: it has ended.
        """
        assert self._process.stdout is not None
        end = time.monotonic() + within
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise TimeoutError
                some = os.read(self._process.stdout.fileno(), 65536)
                if not some:
                    raise ChildError(f"{self._script} has ended:\n{self.complaints()}")
                self._received += some
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    def ask(self, within: float, **order: Any) -> Any:
        """Send it an order, and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self.line(within))

    def complaints(self) -> str:
        """Return the end of its stderr."""
        self._complaints.seek(0)
        return self._complaints.read()[-3000:].decode(errors="replace")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._complaints.close()


@contextmanager
def dispatch_server(kind: str, count: int) -> Iterator[dict[str, int]]:
    """Run the C-core dispatch service with `count` dispatches, and yield its ports."""
    child = Child(PEERS, "dispatch_server", kind, count)
    try:
        yield json.loads(child.line(START_WITHIN))
    finally:
        child.close()


class Unit(NamedTuple):
    """The unit of a value.

    Attributes:
      more_is_better: Whether it is a rate, and not a cost.
      digits: The number of decimals.
    """

    name: str
    more_is_better: bool = False
    digits: int = 1

    def show(self, value: float) -> str:
        return f"{value:,.{self.digits}f} {self.name}"


SECONDS, MILLISECONDS = Unit("s", digits=2), Unit("ms")
MICROSECONDS, MEBIBYTES = Unit("µs"), Unit("MiB")
PER_SECOND = Unit("/s", more_is_better=True, digits=0)


@dataclass(frozen=True)
class Contender:
    """What is measured, and how.

    Attributes:
      name: The name in the table.
      script, do: The module and the function that measures.
      arguments: The arguments of the function.
      python: The Python of the environment to use.
      limit: The maximum number of seconds for a measurement.
      rounds: The maximum number of rounds; with 1 there is no warm-up.
    """

    name: str
    script: str
    do: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    python: Path = OURS
    limit: float = 60.0
    rounds: int | None = None


@dataclass
class Measured:
    """The results of a contender.

    Attributes:
      values: The value of each round.
      details: Further results of each round.
      beyond: The number of seconds after which it was stopped, if it was.
    """

    name: str
    values: list[float] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)
    beyond: float | None = None

    @property
    def median(self) -> float:
        """The median of all rounds, or a bound if the contender was stopped in the first one."""
        if self.values:
            return statistics.median(self.values)
        assert self.beyond is not None
        return self.beyond

    def show(self, unit: Unit) -> str:
        if self.values:
            return unit.show(self.median)
        assert self.beyond is not None
        return f"not in {self.beyond:g} s"


def measure(contenders: Sequence[Contender], rounds: int, warm_up: int = 1) -> dict[str, Measured]:
    """Measure all contenders, round by round, and return the results by name.

    Args:
      warm_up: The number of rounds at the beginning that do not count.
    """
    found = {contender.name: Measured(contender.name) for contender in contenders}
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        for contender in contenders:
            children[contender.name] = Child(contender.python, contender.script)
            stack.callback(children[contender.name].close)
        for number in range(-warm_up, rounds):
            for place in range(len(contenders)):
                contender = contenders[(number + place) % len(contenders)]
                if _has_its_turn(contender, found[contender.name], number):
                    _measure_once(contender, children[contender.name], found, number >= 0)
    return found


def _has_its_turn(contender: Contender, measured: Measured, number: int) -> bool:
    if measured.beyond is not None or (number < 0 and contender.rounds == 1):
        return False
    return contender.rounds is None or len(measured.values) < contender.rounds


def _measure_once(
    contender: Contender, child: Child, found: dict[str, Measured], counts: bool
) -> None:
    measured = found[contender.name]
    try:
        answer = child.ask(contender.limit, do=contender.do, **contender.arguments)
    except TimeoutError:
        measured.beyond = contender.limit
        child.close()
        return
    if "error" in answer:
        raise ChildError(f"{contender.name}: {answer['error']}")
    if counts:
        measured.values.append(answer.pop("value"))
        measured.details.append(answer)


def better_by(ours: Measured, theirs: Measured, unit: Unit) -> float:
    """Return how many times better ours is: the median ratio of the rounds that both have."""
    pairs = list(zip(ours.values, theirs.values, strict=False))
    ratio = statistics.median(a / b for a, b in pairs) if pairs else ours.median / theirs.median
    return ratio if unit.more_is_better else 1 / ratio
