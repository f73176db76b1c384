"""Our server and client of gRPC's interoperability tests, and all cases in both directions."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import WeakKeyDictionary

import trio
import trustme
from grpclib.encoding.base import CodecBase

from tests.helpers.interop.peers import Peer, start_script
from tests.helpers.interop.suite.cases import CASES, Call, Outcome, result_of
from tests.helpers.interop.suite.messages import METHODS, path
from tests.helpers.interop.suite.servicer import Servicer
from trio_dispatch.grpc import (
    Cardinality,
    Channel,
    GRPCError,
    Server,
    ServicerContext,
    open_channel,
)
from trio_dispatch.grpc._framing import Message
from trio_dispatch.grpc._stream import HTTP2Stream

_FLAGS: WeakKeyDictionary[HTTP2Stream, list[bool]] = WeakKeyDictionary()
"""Whether each message was compressed, of the streams of our server and client."""


@contextmanager
def noting_flags() -> Iterator[None]:
    """Note for each message that is taken from a stream whether it was compressed."""
    take = HTTP2Stream.take_message

    def take_and_note(self: HTTP2Stream) -> Message:
        message = take(self)
        _FLAGS.setdefault(self, []).append(message.encoding is not None)
        return message

    HTTP2Stream.take_message = take_and_note  # type: ignore[method-assign]
    try:
        yield
    finally:
        HTTP2Stream.take_message = take  # type: ignore[method-assign]


class ProtobufCodec(CodecBase):
    """Encodes the messages of google.protobuf, whatever their type."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        data: bytes = message.SerializeToString()
        return data

    def decode(self, data: bytes, message_type: Any) -> Any:
        return message_type.FromString(data)


class OurCall:
    """A `Call` of ours."""

    outcome: Outcome

    def __init__(self, call: Any, *, streams_requests: bool) -> None:
        self.call = call
        self.failure: GRPCError | None = None
        self._streams_requests = streams_requests
        self.compressed: list[bool] | None = None

    async def send(self, message: Any, *, compress: bool = False) -> None:
        self.call.compression = "gzip" if compress else "identity"
        await self._try(self.call.send_message(message, end=not self._streams_requests))

    async def end(self) -> None:
        if self._streams_requests:
            await self._try(self.call.end())

    async def receive(self) -> Any:
        reply = await self._try(self.call.recv_message())
        if reply is not None:
            self.compressed = _FLAGS[self.call._stream_now]
        return reply

    async def cancel(self) -> None:
        await self.call.cancel()

    async def _try(self, work: Awaitable[Any]) -> Any:
        """Do something that fails when the call does; the outcome tells then."""
        try:
            return await work
        except GRPCError as exc:
            self.failure = exc
            return None


class OurClient:
    """A `Client` of ours."""

    def __init__(self, channel: Channel, sees_compression_of_requests: bool) -> None:
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
        stream = self._channel.request(
            path(method),
            Cardinality[kind.upper()],
            request_type,
            reply_type,
            codec=ProtobufCodec(),
            metadata=metadata,
            timeout=timeout,
            compression="gzip" if compressed else None,
        )
        call = OurCall(stream, streams_requests=requests)
        try:
            async with stream:
                if requests:
                    await stream.send_request()
                yield call
                if call.failure is not None:
                    raise call.failure
        except GRPCError as exc:
            call.failure = exc
        failure = call.failure
        call.outcome = Outcome(
            0 if failure is None else failure.status.value,
            "" if failure is None else failure.message or "",
            [*(stream.initial_metadata or {}).items()],
            [*(stream.trailing_metadata or {}).items()],
        )

    async def gather(self, function: Callable[[], Awaitable[None]], count: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(function)


def was_compressed(context: ServicerContext) -> bool:
    """Whether the last message that our server has received on a call was compressed."""
    return _FLAGS[context.call._http2][-1]


def compress(context: ServicerContext, compressed: bool) -> None:
    """Set whether the next reply is compressed."""
    context.call.compression = "gzip" if compressed else "identity"


class Certificates:
    """A certificate authority, and a certificate of the servers."""

    def __init__(self) -> None:
        authority = trustme.CA()
        server = authority.issue_cert("localhost", "127.0.0.1")
        self.roots = authority.cert_pem.bytes().decode()
        self.key = server.private_key_pem.bytes().decode()
        self.certificate = b"".join(blob.bytes() for blob in server.cert_chain_pems).decode()
        self.server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.configure_cert(self.server_context)


@asynccontextmanager
async def channel_to(port: int, certificates: Certificates | None) -> AsyncIterator[Channel]:
    """Open a channel of ours, with TLS if there are certificates."""
    if certificates is None:
        async with open_channel(f"grpc://127.0.0.1:{port}?ssl=false") as channel:
            yield channel
        return
    with TemporaryDirectory() as folder:
        roots = Path(folder) / "roots.pem"
        roots.write_text(certificates.roots)
        url = f"grpc://localhost:{port}?ssl_root_certificates_path={roots}"
        async with open_channel(url) as channel:
            yield channel


async def run_suite(*, with_ours: bool = False) -> dict[str, dict[str, str]]:
    """Carry out all cases between ours and C-core, plain and with TLS.

    Args:
      with_ours: Also between our client and our server.

    Returns:
      By client and server, and by case: ``passed``, ``not applicable``, or the failure.
    """
    results: dict[str, dict[str, str]] = {}
    names = list(CASES)
    with noting_flags():
        async with trio.open_nursery() as nursery, start_script("interop_suite") as ccore:
            for certificates in (None, Certificates()):
                where = "plain" if certificates is None else "TLS"
                ours = await _serve(nursery, certificates)
                theirs = await _serve_ccore(ccore, certificates)
                roots = None if certificates is None else certificates.roots
                found = await ccore.ask(
                    "run", names=names, port=ours, roots=roots, sees_compression=True
                )
                results[f"C-core > ours, {where}"] = dict(zip(names, found, strict=True))
                ports = [(f"ours > C-core, {where}", theirs, False)]
                if with_ours:
                    ports.append((f"ours > ours, {where}", ours, True))
                for title, port, sees_compression in ports:
                    async with channel_to(port, certificates) as channel:
                        client = OurClient(channel, sees_compression)
                        results[title] = {name: await result_of(name, client) for name in names}
            nursery.cancel_scope.cancel()
    return results


async def _serve(nursery: trio.Nursery, certificates: Certificates | None) -> int:
    server = Server()
    server.add_generic_rpc_handlers([Servicer(was_compressed, compress).handler()])
    context = None if certificates is None else certificates.server_context
    serve = partial(server.serve_tcp, 0, host="127.0.0.1", ssl_context=context)
    [address] = await nursery.start(serve)
    port: int = address[1]
    return port


async def _serve_ccore(ccore: Peer, certificates: Certificates | None) -> int:
    port: int = await ccore.ask(
        "serve",
        key=certificates and certificates.key,
        certificate=certificates and certificates.certificate,
    )
    return port
