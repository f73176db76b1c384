"""A C-core gRPC server whose messages are bytes.

It runs in the environment of the peers and takes commands from the tests, see `Control`.  The
metadata of a call says what else it has to do, see `Calls`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

from tests.helpers.interop.programs.commands import obey

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
STATUSES = {code.value[0]: code for code in grpc.StatusCode}


class Calls:
    """The four kinds of call.

    Each first sends back the metadata whose names begin with ``echo-``, as initial and as trailing
    metadata.  With ``sleep`` it sleeps, and with ``status`` it ends with that status, after its
    messages if it has any.
    """

    def __init__(self) -> None:
        self.time_remaining: float | None = None
        self.sleeping = asyncio.Event()
        self.running = 0
        self.idle = asyncio.Event()

    async def echo(self, request: bytes, context: Context) -> bytes:
        await self._begin(context)
        await self._end(context)
        return request

    async def repeat(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """Send the request back as often as ``count`` says."""
        await self._begin(context)
        for _ in range(int(asked_for(context, "count", "1"))):
            yield request
        await self._end(context)

    async def join(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        await self._begin(context)
        joined = b"".join([request async for request in requests])
        await self._end(context)
        return joined

    async def chat(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Send back each request at once."""
        await self._begin(context)
        async for request in requests:
            yield request
        await self._end(context)

    async def _begin(self, context: Context) -> None:
        self.time_remaining = context.time_remaining()
        self.running += 1
        self.idle.clear()
        context.add_done_callback(self._over)  # type: ignore[arg-type]  # the stubs lack `Protocol`
        metadata = context.invocation_metadata() or ()
        echoed = tuple(item for item in metadata if item[0].startswith("echo-"))
        context.set_trailing_metadata(echoed)
        await context.send_initial_metadata(echoed)

    async def _end(self, context: Context) -> None:
        if seconds := float(asked_for(context, "sleep", "0")):
            self.sleeping.set()
            await asyncio.sleep(seconds)
        if status := int(asked_for(context, "status", "0")):
            await context.abort(STATUSES[status], f"100 % wröng: {status}")

    def _over(self, _: Context) -> None:
        self.running -= 1
        if not self.running:
            self.idle.set()

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            "interop.Bytes",
            {
                "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
                "Repeat": grpc.unary_stream_rpc_method_handler(self.repeat),
                "Join": grpc.stream_unary_rpc_method_handler(self.join),
                "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            },
        )


def asked_for(context: Context, name: str, otherwise: str) -> str:
    return str(dict(context.invocation_metadata() or ()).get(name, otherwise))


class Control:
    """The commands."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.server: Any = None

    async def serve(self, options: dict[str, int], gzip: bool = False) -> int:
        self.server = grpc.aio.server(
            options=list(options.items()),
            compression=grpc.Compression.Gzip if gzip else None,
        )
        self.server.add_generic_rpc_handlers([self.calls.handlers()])
        port: int = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        return port

    async def time_remaining(self) -> float | None:
        """Return the time that the last call had left."""
        return self.calls.time_remaining

    async def until_sleeping(self) -> None:
        await self.calls.sleeping.wait()

    async def until_idle(self) -> None:
        """Wait until no call is running."""
        await self.calls.idle.wait()

    async def stop(self, grace: float) -> None:
        """Start to stop: running calls have `grace` seconds."""
        self.stopping = asyncio.ensure_future(self.server.stop(grace))


if __name__ == "__main__":
    asyncio.run(obey(Control))
