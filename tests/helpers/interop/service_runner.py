"""Runs ``trio-dispatch serve`` as a process."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import trio

from tests.helpers.interop.peers import ANSWER_WITHIN, PeerError

COMMAND = Path(sys.executable).with_name("trio-dispatch")


class RunningService:
    """A running service, see `run_service`.

    Attributes:
      url: Of the first address that it listens on; empty if that is a unix socket.
      process: Its process.
    """

    def __init__(self, process: trio.Process, log: Path) -> None:
        self.process = process
        self.url = ""
        self._log = log
        self._said = ""

    async def read_until(self, pattern: str) -> re.Match[str]:
        """Read its stdout until a pattern matches."""
        assert self.process.stdout is not None
        with trio.fail_after(ANSWER_WITHIN):
            while (found := re.search(pattern, self._said)) is None:
                some = await self.process.stdout.receive_some()
                if not some:
                    raise PeerError(f"it ended: {self._said!r} {self.log()}")
                self._said += some.decode()
        return found

    def log(self) -> str:
        """Return what it has logged so far."""
        return self._log.read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the JSON lines that it has logged so far."""
        return [json.loads(line) for line in self.log().splitlines(True) if line.endswith("\n")]

    async def logged(self, message: str) -> dict[str, Any]:
        """Wait for a log line whose message contains this text, and return the line."""
        with trio.fail_after(ANSWER_WITHIN):
            while True:
                for line in self.log_lines():
                    if message in line["message"]:
                        return line
                await trio.sleep(0.02)

    async def ended(self) -> int:
        """Wait until it has ended, and return its exit status."""
        with trio.fail_after(ANSWER_WITHIN):
            return await self.process.wait()

    async def stop(self) -> None:
        """Stop it with SIGTERM, and check that it ends successfully."""
        self.process.send_signal(signal.SIGTERM)
        assert await self.ended() == 0, self.log()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def run_service(
    log: Path, *options: str | Path, listen: Sequence[str] = ("127.0.0.1:0",)
) -> AsyncIterator[RunningService]:
    """Run ``trio-dispatch serve`` while the block lasts, with a log file of JSON lines.

    Args:
      log: The file for what it logs; it is begun anew.
    """
    where = [word for address in listen for word in ("--listen", address)]
    command = [COMMAND, "serve", *where, "--log-format", "json", *options]
    with log.open("wb") as stderr:
        process = await trio.lowlevel.open_process(
            list(map(str, command)), stdin=None, stdout=PIPE, stderr=stderr
        )
    service = RunningService(process, log)
    try:
        for index in range(len(listen)):
            found = await service.read_until(rf"(?:serving on (\S+)\s+){{{index + 1}}}")
            service.url = service.url or (found[1] if found[1].startswith("grpc") else "")
        yield service
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()
