"""A greeter, and ways to connect to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from tests.helpers.greeter import GreeterBase, HelloReply, HelloRequest
from trio_dispatch.grpc import (
    Channel,
    Connector,
    GRPCError,
    Server,
    Status,
    current_call,
    open_channel,
)


class Greeter(GreeterBase):
    """Greets; a name may ask for a pause, an error or a number of replies."""

    def __init__(self) -> None:
        self.running = 0
        self.cancelled = 0

    async def say_hello(self, message: HelloRequest) -> HelloReply:
        match message.name.split(":"):
            case ["fail", status]:
                raise GRPCError(Status[status], f"you asked for {status}")
            case ["raise"]:
                raise RuntimeError("a secret")
            case ["sleep", seconds]:
                await self._sleep(float(seconds))
        return HelloReply(message=f"Hello {message.name}")

    async def say_hellos(self, message: HelloRequest) -> AsyncIterator[HelloReply]:
        match message.name.split(":"):
            case ["count", count]:
                for number in range(int(count)):
                    yield HelloReply(message=str(number))
            case ["forever"]:
                while True:
                    yield HelloReply(message="x" * 1000)
            case ["wait"]:
                await current_call().send_initial_metadata(metadata={"state": "waiting"})
                await self._sleep(float("inf"))
            case ["fail-late", count]:
                for number in range(int(count)):
                    yield HelloReply(message=str(number))
                raise GRPCError(Status.ABORTED, "no more")

    async def greet_all(self, messages: AsyncIterator[HelloRequest]) -> HelloReply:
        names = [message.name async for message in messages]
        return HelloReply(message=f"Hello {', '.join(names)}")

    async def chat(self, messages: AsyncIterator[HelloRequest]) -> AsyncIterator[HelloReply]:
        async for message in messages:
            yield HelloReply(message=f"Hello {message.name}")

    async def _sleep(self, seconds: float) -> None:
        self.running += 1
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


def memory_connector(server: Server, nursery: trio.Nursery) -> Connector:
    """Return a connector that makes connections to the server in memory."""

    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        return ours

    return connect


@asynccontextmanager
async def serve(server: Server, **options: Any) -> AsyncIterator[Channel]:
    """Open a channel to the server over memory streams; the server is stopped at the end."""
    async with trio.open_nursery() as nursery:
        async with open_channel(memory_connector(server, nursery), **options) as channel:
            yield channel
        server.stop(grace=0)
