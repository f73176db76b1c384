"""The client's side: a channel to a server."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import grpclib.metadata
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase

from ..concurrency.nursery import open_service_nursery
from ..protobuf.codec import MessageCodec
from ._client_stream import ClientStream
from ._counts import CallCounts
from ._deadline import earliest_deadline
from ._dialer import Connector, Dialer
from ._framing import Compression, check_compression
from ._grpclib import Channel as GrpclibChannel
from ._interceptors import ClientInterceptor, InterceptedStream
from ._metadata import MetadataLike
from ._pool import ConnectionPool
from ._retry import Attempts, Retries, RetryPolicy
from ._stub_methods import FunctionCodec, StreamStream, StreamUnary, UnaryStream, UnaryUnary
from ._url import parse_url

S = TypeVar("S")
R = TypeVar("R")

Serializer: TypeAlias = Callable[[Any], bytes]
Deserializer: TypeAlias = Callable[[bytes], Any]

MAX_MESSAGE_SIZE: Final = 4 * 2**20
CONNECT_TIMEOUT: Final = 20.0
KEEPALIVE_INTERVAL: Final = 60.0
KEEPALIVE_TIMEOUT: Final = 20.0


@dataclass(frozen=True)
class ChannelStatistics:
    """Numbers of a channel, see `Channel.statistics`."""

    connected: bool
    """Whether there is a connection that takes new calls."""
    connections: int
    """Open connections, including those that only finish their last calls."""
    connections_made: int
    connections_failed: int
    """Attempts to connect that failed before the server spoke HTTP/2, at all addresses."""
    last_error: str | None
    """Why the last attempt failed, None after a success."""
    calls_started: int
    calls_succeeded: int
    calls_failed: int
    """Calls that ended with an exception, including cancelled ones."""
    calls_repeated: int
    """Further attempts of calls that a `RetryPolicy` has repeated."""
    streams_open: int
    """HTTP/2 streams that have not ended on both sides."""
    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int


@asynccontextmanager
async def open_channel(
    target: str | Connector,
    *,
    ssl_context: ssl.SSLContext | None = None,
    codec: CodecBase | None = None,
    status_details_codec: StatusDetailsCodecBase | None = None,
    interceptors: Sequence[ClientInterceptor] = (),
    compression: Compression = "identity",
    retry: RetryPolicy | None = None,
    authority: str | None = None,
    max_message_size: int = MAX_MESSAGE_SIZE,
    connect_timeout: float = CONNECT_TIMEOUT,
    keepalive_interval: float | None = None,
    keepalive_timeout: float | None = None,
) -> AsyncIterator[Channel]:
    """Open a channel to a server, for the stubs of betterproto2, grpclib and grpcio-tools::

        async with open_channel("grpc://localhost:50051?ssl=false") as channel:
            reply = await GreeterStub(channel).say_hello(HelloRequest(name="Trio"))

    The first call connects, and so does the next call after the connection was lost.  Each time
    the name in the URL is resolved, and its addresses are tried in turn.  When all fail, the calls
    that waited for a connection fail with UNAVAILABLE.  The next attempt comes after a random time
    of up to a quarter of a second, twice as long after each further failure, up to 15 seconds;
    calls made until then wait for it.

    When the server limits the number of calls on a connection and they are all in use, further
    connections are opened, which is logged, and closed again after 30 seconds without a call.

    When the block is cancelled, the channel stays usable until the block has been left, so that
    its ``finally`` clauses can still make calls.  Leaving the block ends the remaining calls and
    closes the connections.

    Args:
      target: A URL ``grpc://host[:port][?param=value&...]``, or an async function that returns a
        new stream to the server; with a function TLS is used if `ssl_context` is given.
        Without a port a URL means 443.  TLS is used unless the parameter ``ssl`` is false.  The
        other parameters are ``ssl_root_certificates_path``, ``ssl_private_key_path``,
        ``ssl_certificate_chain_path``, ``keep_alive``, ``keep_alive_interval_s`` and
        ``keep_alive_timeout_s``.
      ssl_context: Used for TLS instead of the URL's options.  It is changed to offer HTTP/2 by
        ALPN and nothing below TLS 1.2.
      codec: Turns messages into bytes and back, unless a call brings its own codec; by default a
        `MessageCodec`, for betterproto2's and google.protobuf's messages.
      status_details_codec: Makes `GRPCError.details` from bytes; without one they stay bytes.
      interceptors: Async functions ``interceptor(call, proceed)``, called for each call when its
        block is entered, before anything is sent; the first one is outermost.  ``await proceed()``
        returns when the block has been left and the call has ended, and raises what has ended it
        otherwise.  An interceptor runs in the task of the caller.  It may change `call.metadata`
        and `call.deadline` first, and raise another exception than it gets; one that it does not
        raise is raised nevertheless.
      compression: How messages are sent, unless a call says otherwise: with ``"gzip"`` those of
        1 KiB or more are compressed, which the server must support.  Compressed replies are
        always taken.
      retry: Which calls are repeated when they fail; by default none.
      authority: The name of the server, in requests and in its certificate.
      max_message_size: A longer message fails its call with RESOURCE_EXHAUSTED.
      connect_timeout: The time to connect, TLS and HTTP/2 included.
      keepalive_interval: During calls, a connection on which nothing was received for so many
        seconds is tested with a ping; `math.inf` for never.  By default as in the URL, or 60.
      keepalive_timeout: Seconds until an unanswered ping fails the calls with UNAVAILABLE.  By
        default as in the URL, or 20.

    Raises:
      ValueError: the URL is invalid, or contradicts the other arguments.
    """
    connector: Connector | None = None
    interval, timeout = KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT
    name, host, port = "localhost", "localhost", 0
    if isinstance(target, str):
        url = parse_url(target)
        if ssl_context is not None and not url.ssl:
            raise ValueError(f"an ssl_context was given, but {target!r} says ssl=false")
        if url.ssl and ssl_context is None:
            ssl_context = url.ssl_context()
        interval = url.keep_alive_interval if url.keep_alive else math.inf
        timeout = url.keep_alive_timeout
        name, host, port = url.authority, url.host, url.port
    else:
        connector = target
    hostname = host
    if authority is not None:
        name, hostname = authority, authority.rpartition(":")[0] or authority
    async with open_service_nursery() as nursery:
        pool = ConnectionPool(
            nursery,
            Dialer(connector, host, port, ssl_context, name, hostname.strip("[]")),
            max_message_size=max_message_size,
            connect_timeout=connect_timeout,
            keepalive_interval=interval if keepalive_interval is None else keepalive_interval,
            keepalive_timeout=timeout if keepalive_timeout is None else keepalive_timeout,
        )
        try:
            yield Channel(
                pool,
                codec=codec or MessageCodec(),
                status_details_codec=status_details_codec,
                interceptors=interceptors,
                compression=check_compression(compression),
                retry=retry,
            )
        finally:
            pool.close()
            nursery.cancel_scope.cancel()


class Channel(GrpclibChannel):
    """Makes calls to one server; see `open_channel`."""

    def __init__(
        self,
        pool: ConnectionPool,
        *,
        codec: CodecBase,
        status_details_codec: StatusDetailsCodecBase | None,
        interceptors: Sequence[ClientInterceptor] = (),
        compression: Compression = "identity",
        retry: RetryPolicy | None = None,
    ) -> None:
        self._pool = pool
        self._retries = None if retry is None else Retries(retry)
        self._compression = compression
        self._new_call: Callable[..., ClientStream[Any, Any]] = ClientStream
        if interceptors:
            self._new_call = partial(InterceptedStream, tuple(interceptors))
        self._trio_codec = codec
        self._trio_status_details_codec = status_details_codec
        self._counts = CallCounts()

    def __repr__(self) -> str:
        return f"<Channel to {self._pool.dialer.authority}>"

    def __del__(self) -> None:
        """Do nothing: the connections belong to the block of `open_channel`."""

    def request(
        self,
        name: str,
        cardinality: Cardinality,
        request_type: type[S],
        reply_type: type[R],
        *,
        codec: CodecBase | None = None,
        timeout: float | None = None,
        deadline: grpclib.metadata.Deadline | None = None,
        metadata: MetadataLike | None = None,
        compression: Compression | None = None,
    ) -> ClientStream[S, R]:
        """Begin a call: the async context manager on which the stubs are built.

        Args:
          name: The method, as in ``/package.Service/Method``.
          codec: Turns this call's messages into bytes and back; by default the channel's codec.
          timeout: The seconds that the call may take from now.
          deadline: When the call has to end; the earlier of both counts.
          metadata: To be sent with the request.  Proxies and servers are asked never to keep it in
            their compression tables: it may contain keys.
          compression: How its messages are sent; by default as on the channel.

        Raises:
          ValueError: the compression is unknown.
        """
        attempts: Attempts | None = None
        if self._retries is not None and cardinality is Cardinality.UNARY_UNARY:
            attempts = self._retries.attempts(name)
        return self._new_call(
            self._pool,
            self._counts,
            name,
            cardinality,
            request_type,
            reply_type,
            codec=codec or self._trio_codec,
            status_details_codec=self._trio_status_details_codec,
            deadline=earliest_deadline(timeout, deadline),
            metadata=metadata,
            compression=check_compression(compression) if compression else self._compression,
            attempts=attempts,
        )

    # What the stubs of grpcio-tools are made of.

    def unary_unary(
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool = False,
    ) -> UnaryUnary[Any, Any]:
        """A method with a request and a reply: ``reply = await method(request)``."""
        codec = FunctionCodec(request_serializer, response_deserializer)
        return UnaryUnary(self.request, method, codec)

    def unary_stream(
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool = False,
    ) -> UnaryStream[Any, Any]:
        """A method with a stream of replies: ``async for reply in method(request)``."""
        codec = FunctionCodec(request_serializer, response_deserializer)
        return UnaryStream(self.request, method, codec)

    def stream_unary(
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool = False,
    ) -> StreamUnary[Any, Any]:
        """A method with a stream of requests: ``reply = await method(requests)``."""
        codec = FunctionCodec(request_serializer, response_deserializer)
        return StreamUnary(self.request, method, codec)

    def stream_stream(
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool = False,
    ) -> StreamStream[Any, Any]:
        """A method with streams in both directions, for `open_call`."""
        codec = FunctionCodec(request_serializer, response_deserializer)
        return StreamStream(self.request, method, codec)

    def statistics(self) -> ChannelStatistics:
        """Numbers of connections, calls, messages and bytes, now and since the beginning."""
        pool, counts = self._pool, self._counts
        return ChannelStatistics(
            connected=pool.usable,
            connections=len(pool.connections),
            connections_made=pool.connections_made,
            connections_failed=pool.attempts_failed,
            last_error=pool.last_error,
            calls_started=counts.started,
            calls_succeeded=counts.succeeded,
            calls_failed=counts.failed,
            calls_repeated=counts.repeated,
            streams_open=sum(len(connection.streams) for connection in pool.connections),
            messages_sent=counts.messages_sent,
            messages_received=counts.messages_received,
            bytes_sent=pool.bytes_sent,
            bytes_received=pool.bytes_received,
        )

    def close(self) -> None:
        """End all calls with CANCELLED, and take no more; leaving the block does it."""
        self._pool.close()
