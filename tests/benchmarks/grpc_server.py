"""A server that the contenders of `rows_grpc.py` call: bytes in, the same bytes out.

    python -m tests.benchmarks.grpc_server LIBRARY

It runs in the environment of the benchmarks, and prints the port that it listens on.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, TypeAlias

import grpc
import grpclib.server
import trio
from grpclib.const import Handler

from tests.benchmarks.grpc_client import HOST, BytesCodec
from trio_dispatch.grpc import Server

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Bench:
    """The service, for our server and grpclib's, which take the same handlers."""

    async def echo(self, call: Any) -> None:
        await call.send_message(await call.recv_message())

    async def repeat(self, call: Any) -> None:
        """Send the request back as often as the metadata `count` says."""
        request = await call.recv_message()
        for _ in range(int(call.metadata["count"])):
            await call.send_message(request)

    def __mapping__(self) -> dict[str, Handler]:
        unary, stream = (
            grpclib.const.Cardinality.UNARY_UNARY,
            grpclib.const.Cardinality.UNARY_STREAM,
        )
        return {
            "/bench.Bench/Echo": grpclib.const.Handler(self.echo, unary, bytes, bytes),
            "/bench.Bench/Repeat": grpclib.const.Handler(self.repeat, stream, bytes, bytes),
        }


async def serve_on_trio() -> None:
    server = Server([Bench()], codec=BytesCodec())
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(partial(server.serve_tcp, 0, host=HOST))
        print(address[1], flush=True)


async def serve_on_asyncio() -> None:
    server = grpclib.server.Server([Bench()], codec=BytesCodec())
    # With the number of its protocol, without which asyncio would not set TCP_NODELAY.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind((HOST, 0))
        await server.start(sock=listener)
        print(listener.getsockname()[1], flush=True)
        await server.wait_closed()


async def echo(request: bytes, context: Context) -> bytes:
    return request


async def repeat(request: bytes, context: Context) -> AsyncIterator[bytes]:
    for _ in range(int(dict(context.invocation_metadata() or ())["count"])):
        yield request


async def serve_on_ccore() -> None:
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Bench", handlers)])
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


LIBRARIES: dict[str, Callable[[], Any]] = {
    "trio-dispatch": partial(trio.run, serve_on_trio),
    "grpclib on asyncio": lambda: asyncio.run(serve_on_asyncio()),
    "grpc.aio": lambda: asyncio.run(serve_on_ccore()),
}

if __name__ == "__main__":
    LIBRARIES[sys.argv[1]]()
