"""The C-core gRPC server that all contenders of `rows_grpc.py` call: bytes in, bytes out.

It runs in the environment of the benchmarks, and prints the port that it listens on, and that of a
bare socket that sends back what it receives.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def echo(request: bytes, context: Context) -> bytes:
    return request


async def repeat(request: bytes, context: Context) -> AsyncIterator[bytes]:
    """Send the request back as often as the metadata `count` says."""
    for _ in range(int(dict(context.invocation_metadata() or ())["count"])):
        yield request


def accept(listener: socket.socket) -> None:
    """Send back what arrives on each connection."""
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=send_back, args=[connection], daemon=True).start()


def send_back(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=[listener], daemon=True).start()
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Bench", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, listener.getsockname()[1], flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
