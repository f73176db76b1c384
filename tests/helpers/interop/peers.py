"""Other people's programs, run beside the tests and told what to do."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, CompletedProcess
from typing import Any

import trio

PROGRAMS = "tests.helpers.interop.programs"
ROOT = Path(__file__).parents[3]
ANSWER_WITHIN = 30.0  # seconds; for a machine that has a lot to do


class PeerError(Exception):
    """A peer could not do what it was asked to, or is gone."""


def within(seconds: float) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Any]]:
    """A test that has to be over by then; what talks to real peers could wait for ever."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., Any]:
        @functools.wraps(test)
        async def bounded(*args: Any, **kwargs: Any) -> None:
            with trio.fail_after(seconds):
                await test(*args, **kwargs)

        return bounded

    return decorate


def interop_python() -> Path:
    """The Python of the environment that the peers live in."""
    given = os.environ.get("TRIO_DISPATCH_INTEROP_PYTHON")
    python = Path(given) if given else ROOT / ".venv-interop" / "bin" / "python"
    if not python.exists():
        raise PeerError(f"there is no {python}: run `make test`, which makes .venv-interop")
    return python


class Peer:
    """A program that runs beside the test, see `start`."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._command = str(process.args)
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._received = bytearray()

    async def line(self) -> str:
        """The next line that it prints."""
        with trio.fail_after(ANSWER_WITHIN):
            while b"\n" not in self._received:
                some = await self._stdout.receive_some()
                if not some:
                    raise PeerError(f"{self._command} ended: {self._received.decode()!r}")
                self._received += some
        line, _, rest = self._received.partition(b"\n")
        self._received = rest
        return line.decode()

    async def ask(self, do: str, **arguments: Any) -> Any:
        """Have it do something, and wait for the result: a line of JSON each."""
        await self._stdin.send_all(json.dumps({"do": do, **arguments}).encode() + b"\n")
        answer = json.loads(await self.line())
        if "error" in answer:
            raise PeerError(f"{do}: {answer['error']}")
        return answer["ok"]

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def start(*command: str | Path) -> AsyncIterator[Peer]:
    """Run a program for as long as the block lasts; what it complains of goes to our stderr."""
    process = await trio.lowlevel.open_process(
        list(map(str, command)), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    try:
        yield Peer(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()


@asynccontextmanager
async def start_script(name: str, *arguments: str) -> AsyncIterator[Peer]:
    """Run one of the programs in the environment of the peers."""
    async with start(interop_python(), "-m", f"{PROGRAMS}.{name}", *arguments) as peer:
        yield peer


async def run(*command: str | Path) -> CompletedProcess[str]:
    """Run a program to its end, and return what it printed and its exit status."""
    with trio.fail_after(ANSWER_WITHIN):
        done = await trio.run_process(
            list(map(str, command)), capture_stdout=True, capture_stderr=True, check=False
        )
    return CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
