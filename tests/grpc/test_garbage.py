"""Connections and calls are freed when they end, without the garbage collector.

In a process that runs for a year, the collector looks at old objects very seldom.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio
import trio.testing
from trio.testing import MemoryReceiveStream, MemorySendStream

from tests.helpers.garbage import counting_garbage
from tests.helpers.greeter import GreeterStub, HelloRequest
from tests.helpers.greeting import Greeter
from trio_dispatch.grpc import GRPCError, Server, Status, open_channel

Stapled: TypeAlias = "trio.StapledStream[MemorySendStream, MemoryReceiveStream]"
PACKAGES = "trio_dispatch", "h2", "hpack", "grpclib"


class Network:
    """Connects to a server in memory.

    Attributes:
      ours, theirs: The two ends of the last connection.
    """

    ours: Stapled
    theirs: Stapled

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self._server = server
        self._nursery = nursery

    async def connect(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.ours, self.theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._server.serve_stream, self.theirs)
        return self.ours


async def lose(network: Network) -> None:
    await trio.aclose_forcefully(network.ours)


async def end(network: Network) -> None:
    await network.theirs.send_stream.aclose()


async def send_garbage_to_client(network: Network) -> None:
    await network.theirs.send_all(b"\0\0\0\4\0\0\0\0\1")


async def send_garbage_to_server(network: Network) -> None:
    # A header block that cannot be decompressed.
    await network.ours.send_all(b"\0\0\1\1\4\0\0\0\7\xff")


@pytest.mark.parametrize("way", [lose, end, send_garbage_to_client, send_garbage_to_server])
async def test_connections_are_freed_when_they_end(
    way: Callable[[Network], Awaitable[None]],
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = Network(Server([Greeter()]), nursery)
    async with open_channel(network.connect) as channel:
        stub = GreeterStub(channel)

        async def wait() -> None:
            with pytest.raises(GRPCError):
                [reply async for reply in stub.say_hellos(HelloRequest(name="wait"))]

        await stub.say_hello(HelloRequest(name="x"))
        with counting_garbage(*PACKAGES) as garbage:
            for _ in range(3):
                await stub.say_hello(HelloRequest(name="x"))
                await way(network)  # While there is no call.
                await trio.sleep(5)
                await stub.say_hello(HelloRequest(name="x"))
                async with trio.open_nursery() as calls:
                    calls.start_soon(wait)
                    await trio.sleep(1)
                    await way(network)
                await trio.sleep(5)
    assert not garbage


@pytest.mark.parametrize("name", ["fail:NOT_FOUND", "raise", "sleep:9"])
async def test_failed_calls_are_freed(
    name: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    network = Network(Server([Greeter()]), nursery)
    async with open_channel(network.connect) as channel:
        stub = GreeterStub(channel)
        await stub.say_hello(HelloRequest(name="x"))
        with counting_garbage(*PACKAGES) as garbage:
            for _ in range(3):
                with pytest.raises(GRPCError) as caught:
                    await stub.say_hello(HelloRequest(name=name), timeout=5)
                assert caught.value.status is not Status.OK
                del caught
            await trio.sleep(10)
    assert not garbage
