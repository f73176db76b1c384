"""A machine whose disk outlives its processes, each of which may be killed at any moment."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import trio

from trio_dispatch import Dispatcher, open_dispatcher
from trio_dispatch.grpc import open_channel

__all__ = ["Machine", "Network"]


class Reachable(Protocol):
    """A service over memory streams."""

    key: str

    async def connect(self) -> trio.abc.Stream:
        """Open a connection."""


class Network:
    """The connections of one process to a service, until they are cut."""

    def __init__(self, service: Reachable) -> None:
        self._service = service
        self._streams: list[trio.abc.Stream] = []
        self.is_cut = False

    async def connect(self) -> trio.abc.Stream:
        if self.is_cut:
            raise OSError("the network is cut")
        stream = await self._service.connect()
        self._streams.append(stream)
        return _Cable(stream, self)

    async def cut(self) -> None:
        """Close all connections for good: nothing more reaches the service, from this call on."""
        self.is_cut = True
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


class _Cable(trio.abc.Stream):
    """A connection through a network that may be cut."""

    def __init__(self, stream: trio.abc.Stream, network: Network) -> None:
        self._stream = stream
        self._network = network

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._network.is_cut:
            raise trio.BrokenResourceError("the network is cut")
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if self._network.is_cut:
            raise trio.BrokenResourceError("the network is cut")
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


class Machine:
    """Runs dispatchers of a microgrid, one after the other, with files in one folder.

    Attributes:
      cache: The file of the cache.
      network: The network of the last process.
    """

    def __init__(
        self,
        service: Reachable,
        folder: Path,
        *,
        microgrid_id: int = 1,
        keepalive_interval: float = math.inf,
    ) -> None:
        self._service = service
        self._microgrid_id = microgrid_id
        self._keepalive_interval = keepalive_interval
        self._folder = folder
        self.cache = folder / "cache"
        self._files: dict[Path, bytes] | None = None
        self.network = Network(service)

    @asynccontextmanager
    async def process(self, *, killed: bool = False, **options: Any) -> AsyncIterator[Dispatcher]:
        """Run a dispatcher for the time of the block.

        Args:
          killed: The process is killed at the end of the block, unless it was before.
        """
        self.network = Network(self._service)
        self._files = None
        async with (
            open_channel(
                self.network.connect, keepalive_interval=self._keepalive_interval
            ) as channel,
            open_dispatcher(
                self._microgrid_id,
                channel=channel,
                key=self._service.key,
                cache=self.cache,
                **options,
            ) as dispatcher,
        ):
            yield dispatcher
            if killed:
                await self.kill()
        await self._restore()

    async def kill(self) -> None:
        """Kill the process: what it does from now on neither reaches the service nor the disk."""
        if self._files is None:
            # The network first, since a thread may be writing: what is delivered is on the disk.
            self.network.is_cut = True
            # In this order: a journal is shortened after the file was written.
            self._files = {}
            for path in sorted(self._folder.iterdir(), reverse=True):
                with suppress(FileNotFoundError):
                    self._files[path] = path.read_bytes()
            with trio.CancelScope(shield=True):
                await self.network.cut()

    async def _restore(self) -> None:
        if self._files is None:
            return
        # What was abandoned must not write afterwards.
        limiter = trio.to_thread.current_default_thread_limiter()
        while limiter.borrowed_tokens:
            await trio.lowlevel.checkpoint()
        for path in self._folder.iterdir():
            path.unlink()
        for path, content in self._files.items():
            path.write_bytes(content)
