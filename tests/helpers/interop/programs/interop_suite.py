"""Server and client of gRPC's interoperability tests on C-core, see `Control`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from tests.helpers.interop.programs.commands import obey
from tests.helpers.interop.suite.cases import Call, NotApplicableError, Outcome, result_of
from tests.helpers.interop.suite.messages import METHODS, path
from tests.helpers.interop.suite.servicer import Servicer


class CCoreCall:
    """A `Call` of grpc.aio."""

    outcome: Outcome
    # It does not tell.
    compressed: list[bool] | None = None

    def __init__(self, begin: Any, requests: bool, replies: bool, compressed: bool) -> None:
        self._begin = begin
        self._requests = requests
        self._replies = replies
        self._received = False
        self._compressed = compressed
        self.call: Any = begin() if requests else None

    async def send(self, message: Any, *, compress: bool = False) -> None:
        if compress != self._compressed:  # it is switched for calls here, not for messages
            raise NotApplicableError
        if self._requests:
            await self._try(self.call.write(message))
        else:
            self.call = self._begin(message)

    async def end(self) -> None:
        if self._requests:
            await self._try(self.call.done_writing())

    async def receive(self) -> Any:
        if self._replies:
            reply = await self._try(self.call.read())
            return None if reply is grpc.aio.EOF else reply
        if self._received:
            return None
        self._received = True
        return await self._try(self.call)

    async def cancel(self) -> None:
        self.call.cancel()

    async def _try(self, work: Awaitable[Any]) -> Any:
        """Do something that fails when the call does; the outcome tells then."""
        try:
            return await work
        except (grpc.aio.AioRpcError, asyncio.CancelledError, asyncio.InvalidStateError):
            if not self.call.done():
                raise
            return None


class CCoreClient:
    """A `Client` on C-core."""

    def __init__(self, channel: Any, sees_compression_of_requests: bool) -> None:
        self._channel = channel
        self.sees_compression_of_requests = sees_compression_of_requests

    @asynccontextmanager
    async def open(
        self,
        method: str,
        *,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        timeout: float | None = None,  # noqa: ASYNC109 - of the call
        compressed: bool = False,
    ) -> AsyncIterator[Call]:
        _, requests, replies, request_type, reply_type = METHODS[method]
        kind = f"{'stream' if requests else 'unary'}_{'stream' if replies else 'unary'}"
        multicallable = getattr(self._channel, kind)(
            path(method),
            request_serializer=request_type.SerializeToString,
            response_deserializer=reply_type.FromString,
        )

        def begin(*request: Any) -> Any:
            return multicallable(
                *request,
                metadata=tuple(metadata),
                timeout=timeout,
                compression=grpc.Compression.Gzip if compressed else None,
            )

        call = CCoreCall(begin, requests, replies, compressed)
        yield call
        under_way = call.call
        call.outcome = Outcome(
            (await under_way.code()).value[0],
            await under_way.details() or "",
            [*(await under_way.initial_metadata() or ())],
            [*(await under_way.trailing_metadata() or ())],
        )

    async def gather(self, function: Callable[[], Awaitable[None]], count: int) -> None:
        await asyncio.gather(*(function() for _ in range(count)))


def compress(context: Any, compressed: bool) -> None:
    """Set whether the next reply is compressed, as all replies of the server are."""
    if not compressed:
        context.disable_next_message_compression()


class Control:
    """The commands."""

    def __init__(self) -> None:
        self._servers: list[Any] = []

    async def serve(self, key: str | None, certificate: str | None) -> int:
        """Serve the tests, with TLS if a key and a certificate are given; the port."""
        server = grpc.aio.server(compression=grpc.Compression.Gzip)
        server.add_generic_rpc_handlers([Servicer(None, compress).handler()])
        if key is not None and certificate is not None:
            credentials = grpc.ssl_server_credentials([(key.encode(), certificate.encode())])
            port = server.add_secure_port("127.0.0.1:0", credentials)
        else:
            port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self._servers.append(server)
        return port

    async def run(
        self, names: Sequence[str], port: int, roots: str | None, sees_compression: bool
    ) -> list[str]:
        """Carry out cases, and return their results."""
        if roots is not None:
            credentials = grpc.ssl_channel_credentials(roots.encode())
            channel = grpc.aio.secure_channel(f"localhost:{port}", credentials)
        else:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        async with channel:
            client = CCoreClient(channel, sees_compression)
            return [await result_of(name, client) for name in names]


if __name__ == "__main__":
    asyncio.run(obey(Control))
