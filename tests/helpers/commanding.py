"""Runs commands, and a service for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
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

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in its own process."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [PROGRAM, *arguments],
            env={**os.environ, **self.environment},
            cwd=self.directory,
            text=True,
            **{**pipes, **options},
        )


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="trio-dispatch", input=input)


def on_virtual_time(function: Callable[[], Any]) -> None:
    trio.run(function, clock=trio.testing.MockClock(autojump_threshold=0))


def settings_for(service: LocalService) -> Settings:
    return Settings(microgrid=1, key=service.key, channel=service.channel)


__all__ = ["KEY", "PROGRAM", "Cli", "ServiceThread", "on_virtual_time", "run", "settings_for"]
