"""A channel to a name with several addresses, over real sockets."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import pytest
import trio

from tests.helpers.greeter import GreeterStub, HelloRequest
from tests.helpers.greeting import Greeter
from trio_dispatch.grpc import Channel, GRPCError, Server, Status, open_channel


async def say_hello(channel: Channel) -> str:
    return (await GreeterStub(channel).say_hello(HelloRequest(name="x"))).message


def retire_connections(channel: Channel) -> None:
    """Have the next call make a connection."""
    for connection in channel._pool.connections:
        connection.draining = True


class Resolver(trio.abc.HostnameResolver):
    """Resolves every name to these addresses of this machine, or fails."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "unknown name")
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
            for address in self.addresses
        ]

    async def getnameinfo(self, *_: Any) -> Any:
        raise NotImplementedError


async def unused_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listener.socket.getsockname()[1]
    await listener.aclose()
    return port


async def serve(nursery: trio.Nursery) -> tuple[Server, int]:
    server = Server([Greeter()])
    ((_, port),) = await nursery.start(partial(server.serve_tcp, 0, host="127.0.0.1"))
    return server, port


async def test_all_addresses_of_a_name_are_tried_and_resolved_at_each_connection(
    nursery: trio.Nursery,
) -> None:
    refuses = await unused_port()
    # Accepts connections, and closes them before HTTP/2 has begun.
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, trio.aclose_forcefully, [listener])
    closes = listener.socket.getsockname()[1]
    server, serves = await serve(nursery)
    resolver = Resolver(*[("127.0.0.1", port) for port in (refuses, closes, serves)])
    trio.socket.set_custom_hostname_resolver(resolver)
    async with open_channel("grpc://some.name:1?ssl=false") as channel:
        for number in range(1, 4):
            assert await say_hello(channel) == "Hello x"
            assert resolver.asked == number
            retire_connections(channel)
        resolver.addresses.pop()
        with pytest.raises(GRPCError, match=r"127\.0\.0\.1: .*; 127\.0\.0\.1: ") as caught:
            await say_hello(channel)
        assert caught.value.status is Status.UNAVAILABLE
        resolver.addresses.clear()
        with pytest.raises(GRPCError, match="unknown name"):
            await say_hello(channel)
        # Another machine has taken the name over.
        resolver.addresses.append(("127.0.0.1", serves))
        assert await say_hello(channel) == "Hello x"
    server.stop(grace=0)


async def test_addresses_that_failed_are_tried_last(nursery: trio.Nursery) -> None:
    refuses = await unused_port()
    server, serves = await serve(nursery)
    resolver = Resolver(("127.0.0.1", refuses), ("127.0.0.1", serves))
    trio.socket.set_custom_hostname_resolver(resolver)
    async with open_channel("grpc://some.name:1?ssl=false") as channel:
        dialer = channel._pool.dialer
        while not dialer._failed:
            await say_hello(channel)
            retire_connections(channel)
        for _ in range(20):
            assert [entry.address[1] for entry in await dialer.candidates()] == [serves, refuses]
    server.stop(grace=0)
