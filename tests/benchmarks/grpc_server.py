"""The C-core gRPC server that all contenders of `rows_grpc.py` call: bytes in, bytes out.

It runs in the environment of the benchmarks, and prints the port that it listens on.
"""

from __future__ import annotations

import asyncio
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


async def main() -> None:
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Bench", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
