"""Runs programs of other implementations, and sends them commands."""

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
ANSWER_WITHIN = 30.0  # seconds; enough for a busy machine


class PeerError(Exception):
    """A peer failed to carry out a command, or has ended."""


def within(seconds: float) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Any]]:
    """Give a test a timeout, because a test that talks to real peers could wait forever."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., Any]:
        @functools.wraps(test)
        async def bounded(*args: Any, **kwargs: Any) -> None:
            with trio.fail_after(seconds):
                await test(*args, **kwargs)

        return bounded

    return decorate


def interop_python() -> Path:
    """Return the Python of the environment of the peers."""
    given = os.environ.get("TRIO_DISPATCH_INTEROP_PYTHON")
    python = Path(given) if given else ROOT / ".venv-interop" / "bin" / "python"
    if not python.exists():
        raise PeerError(f"{python} does not exist: run `make test`, which creates .venv-interop")
    return python


class Peer:
    """A program that runs in parallel with the test, see `start`."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._command = str(process.args)
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._received = bytearray()

    async def line(self) -> str:
        """Return the next line that it prints."""
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
        """Send it a command, and return the result; each is a line of JSON."""
        await self._stdin.send_all(json.dumps({"do": do, **arguments}).encode() + b"\n")
        answer = json.loads(await self.line())
        if "error" in answer:
            raise PeerError(f"{do}: {answer['error']}")
        return answer["ok"]

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def start(*command: str | Path) -> AsyncIterator[Peer]:
    """Run a program while the block lasts; its stderr is that of the tests."""
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
