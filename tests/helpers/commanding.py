"""Runs commands, and a service for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import trio
import trio.testing
from click.testing import CliRunner, Result

from trio_dispatch.cli.app.group import cli
from trio_dispatch.cli.app.settings import Settings
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.service import Keys, Store, open_service, open_store
from trio_dispatch.service.store.memory import MemoryStore
from trio_dispatch.testing import LocalService

KEY = "cli-key"
PROGRAM = Path(sys.executable).with_name("trio-dispatch")
T = TypeVar("T")

# To import the program takes longer than most commands.
_RUN_EACH = """
import encodings.idna, gc, json, os, sys
import trio_dispatch.client.client
from trio_dispatch.cli import main
from trio_dispatch.cli.app.group import COMMANDS, find_command

for name in COMMANDS:
    find_command(name)
gc.freeze()  # so that the memory stays shared
statuses, end, commands = int(sys.argv[1]), sys.argv[2].encode(), json.loads(sys.argv[3])
for command in commands:
    child = os.fork()
    if not child:
        sys.argv[1:] = command
        main()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.write(statuses, b"%d " % status)
    for stream in (1, 2):
        try:
            os.write(stream, end)
        except OSError:
            pass
"""
_END = b"<\1end\1>"


PIPES: dict[str, Any] = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.PIPE,
}


class ServiceThread:
    """The real service on a local port, in a thread with its own Trio run."""

    def __init__(self) -> None:
        self.url = ""
        self.store: Store
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._serve,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        trio.from_thread.run_sync(self._ended.set, trio_token=self._token)
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._ended = trio.Event()
        async with (
            open_store(None) as self.store,
            open_service(self.store, keys=Keys.of(KEY)) as service,
            trio.open_nursery() as nursery,
        ):
            ((_, port, *_), *_) = await nursery.start(
                partial(service.server.serve_tcp, 0, host="127.0.0.1")
            )
            self.url = f"grpc://127.0.0.1:{port}?ssl=false"
            self._ready.set()
            await self._ended.wait()
            nursery.cancel_scope.cancel()

    def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run an async function in the service's Trio run."""
        return trio.from_thread.run(function, *args, trio_token=self._token)

    def put(self, *dispatches: Dispatch, microgrid: int = 1) -> None:
        """Store dispatches as they are."""
        for dispatch in dispatches:
            self.call(self.store.put, microgrid, dispatch)

    def dispatches(self, microgrid: int = 1) -> dict[int, Dispatch]:
        """Return all dispatches by id."""
        return self.call(LocalService.dispatches, _Holder(self.store), microgrid)

    @property
    def last_id(self) -> int:
        """The last id that was assigned."""
        assert isinstance(self.store, MemoryStore)
        return self.store.counters.last_id

    def clear(self) -> None:
        for id_ in self.dispatches():
            self.call(self.store.delete, 1, id_)


class _Holder:
    """What `LocalService.dispatches` requires."""

    def __init__(self, store: Store) -> None:
        self.store = store


class Cli:
    """Runs commands.

    Attributes:
      environment: The environment variables of the commands.
      directory: Their working directory.
    """

    def __init__(self, url: str, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            "DISPATCH_API_URL": url,
            "DISPATCH_API_KEY": KEY,
            "DISPATCH_MICROGRID_ID": "1",
            "DISPATCH_TIMEZONE": "Europe/Berlin",
            "XDG_CONFIG_HOME": str(directory / "config"),
        }

    def __call__(self, *arguments: str, input: str | None = None) -> Result:
        """Run a command in this process."""
        return run(*arguments, input=input)

    def ok(self, *arguments: str, input: str | None = None) -> str:
        """Run a command that must succeed, and return its output."""
        result = run(*arguments, input=input)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command with ``--json``, and return its output."""
        return [json.loads(line) for line in self.ok(*arguments, "--json").splitlines()]

    def fails(self, status: int, *arguments: str, input: str | None = None) -> str:
        """Run a command that must fail with a status, and return its error message."""
        result = run(*arguments, input=input)
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        return line.removeprefix("Error: ")

    def start_each(self, *commands: Sequence[str], **options: Any) -> Sequenced:
        """Start commands one after the other, each in its own process with the same streams.

        The process that forks them is the first with these streams, so what they are made of is up
        to the interpreter, as usual.
        """
        return Sequenced(commands, {**os.environ, **self.environment}, self.directory, **options)

    def finish_each(self, *commands: Sequence[str], **options: Any) -> list[Finished]:
        """Run commands one after the other as `start_each` does."""
        return self.start_each(*commands, **PIPES | options).finish()

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in its own process."""
        return subprocess.Popen(
            [PROGRAM, *arguments],
            env={**os.environ, **self.environment},
            cwd=self.directory,
            text=True,
            **PIPES | options,
        )


@dataclass
class Finished:
    """What a command printed, and its exit status."""

    command: Sequence[str]
    status: int
    stdout: bytes
    stderr: bytes


class Sequenced:
    """Commands that run one after the other, each in its own process with the same streams.

    Attributes:
      process: The process that forks them.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        environment: dict[str, str],
        directory: Path,
        **options: Any,
    ) -> None:
        self._commands = commands
        self._statuses, writer = os.pipe()
        program = [sys.executable, "-c", _RUN_EACH, str(writer), _END.decode()]
        self.process = subprocess.Popen(
            [*program, json.dumps(commands)],
            cwd=directory,
            pass_fds=[writer],
            env=environment | options.pop("env", {}),
            **options,
        )
        os.close(writer)

    def finish(self) -> list[Finished]:
        """Wait for all of them."""
        out, err = (part or b"" for part in self.process.communicate(timeout=60))
        with os.fdopen(self._statuses) as statuses:
            found = [int(each) for each in statuses.read().split()]
        assert self.process.returncode == 0, err
        assert len(found) == len(self._commands)
        return [*map(Finished, self._commands, found, self.split(out), self.split(err))]

    def split(self, printed: bytes) -> list[bytes]:
        """Split what was printed by the ends of the commands' streams."""
        if not printed:
            return [b""] * len(self._commands)
        *parts, rest = printed.split(_END)
        assert rest == b""
        return parts


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="trio-dispatch", input=input)


def on_virtual_time(function: Callable[[], Any]) -> None:
    trio.run(function, clock=trio.testing.MockClock(autojump_threshold=0))


def settings_for(service: LocalService) -> Settings:
    return Settings(microgrid=1, key=service.key, channel=service.channel)


__all__ = [
    "KEY", "PROGRAM", "Cli", "Finished", "Sequenced", "ServiceThread", "on_virtual_time", "run",
    "settings_for",
]  # fmt: skip
