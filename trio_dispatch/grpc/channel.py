"""The client's side: a channel to a server, over one connection at a time."""

from __future__ import annotations

import logging
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import grpclib.client
import grpclib.metadata
import trio
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase

from ..concurrency.nursery import open_service_nursery
from ..protobuf.codec import MessageCodec
from ._client_connection import ClientConnection
from ._client_stream import ClientStream
from ._deadline import earliest_deadline
from ._dialer import Connector, Dialer
from ._metadata import MetadataLike
from ._status import Failure
from ._url import parse_url

log = logging.getLogger(__name__)

S = TypeVar("S")
R = TypeVar("R")

MAX_MESSAGE_SIZE: Final = 4 * 2**20
CONNECT_TIMEOUT: Final = 20.0
KEEPALIVE_INTERVAL: Final = 60.0
KEEPALIVE_TIMEOUT: Final = 20.0

_FIRST_BACKOFF = 0.25
_MAX_BACKOFF = 15.0
_JITTER = 0.2


class _Unset:
    """Marks an argument that was not given."""


_UNSET: Final = _Unset()


@dataclass(frozen=True)
class ChannelStatistics:
    """What a channel is doing and has done; see `Channel.statistics`."""

    connected: bool
    """Whether there is a connection that new calls can use."""
    connections: int
    """The connections now, those included that only finish their last calls."""
    connections_made: int
    connections_failed: int
    """The attempts that did not get as far as HTTP/2."""
    last_error: str | None
    """Why the last attempt failed, None after a success."""
    calls_started: int
    calls_succeeded: int
    calls_failed: int
    """Calls left with an exception, cancelled ones included."""
    streams_open: int
    """HTTP/2 streams that neither side has done with."""
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
    authority: str | None = None,
    max_message_size: int = MAX_MESSAGE_SIZE,
    connect_timeout: float = CONNECT_TIMEOUT,
    keepalive_interval: float | _Unset | None = _UNSET,
    keepalive_timeout: float | _Unset = _UNSET,
) -> AsyncIterator[Channel]:
    """Open a channel to a server, for the stubs of betterproto2 and of grpclib::

        async with open_channel("grpc://localhost:50051?ssl=false") as channel:
            reply = await GreeterStub(channel).say_hello(HelloRequest(name="Trio"))

    It connects when the first call is made, and again with the next call after the connection was
    lost.  When connecting fails, the calls that waited for it fail with UNAVAILABLE; the next
    attempt comes a quarter of a second later at the earliest, twice as long after each further
    failure, up to 15 seconds, and calls made until then wait for it.

    When the block is cancelled, the channel stays usable until the block has been left, so that
    its ``finally`` clauses can still make calls.  Leaving it ends what is left of the calls and
    closes the connection.

    Args:
      target: A URL ``grpc://host[:port][?param=value&...]``, or an async function that returns a
        new stream to the server; with the latter TLS is used if there is an `ssl_context`.
        Without a port a URL means 443.  TLS is used unless the parameter ``ssl`` is false.  The
        other parameters are ``ssl_root_certificates_path``, ``ssl_private_key_path``,
        ``ssl_certificate_chain_path``, ``keep_alive``, ``keep_alive_interval_s`` and
        ``keep_alive_timeout_s``.
      ssl_context: The TLS to use instead of what the URL says.  It is changed to offer HTTP/2 by
        ALPN and nothing below TLS 1.2.
      codec: Turns messages into bytes and back, unless a call brings its own codec; by default a
        `MessageCodec`, for betterproto2's messages.
      status_details_codec: Makes `GRPCError.details` from bytes; without one they stay bytes.
      authority: The name of the server, in requests and in its certificate.
      max_message_size: A longer message fails its call with RESOURCE_EXHAUSTED.
      connect_timeout: The time to connect, TLS and HTTP/2 included.
      keepalive_interval: When calls are under way and nothing has come for so long, the server is
        asked for a sign of life; None to never do that.  As in the URL, or 60 seconds.
      keepalive_timeout: How long it may take to answer, before the calls fail with UNAVAILABLE.

    Raises:
      ValueError: the URL is invalid, or contradicts the other arguments.
    """
    connector: Connector
    interval: float | None = KEEPALIVE_INTERVAL
    timeout: float = KEEPALIVE_TIMEOUT
    if isinstance(target, str):
        url = parse_url(target)
        if ssl_context is not None and not url.ssl:
            raise ValueError(f"an ssl_context was given, but {target!r} says ssl=false")
        if url.ssl and ssl_context is None:
            ssl_context = url.ssl_context()
        interval = url.keep_alive_interval if url.keep_alive else None
        timeout = url.keep_alive_timeout
        name, host = url.authority, url.host

        async def connector() -> trio.abc.Stream:
            return await trio.open_tcp_stream(url.host, url.port)

    else:
        connector = target
        name = host = "localhost"
    if authority is not None:
        name, host = authority, authority.rpartition(":")[0] or authority
    async with open_service_nursery() as nursery:
        channel = Channel(
            nursery,
            Dialer(connector, ssl_context, name, host.strip("[]")),
            codec=codec or MessageCodec(),
            status_details_codec=status_details_codec,
            max_message_size=max_message_size,
            connect_timeout=connect_timeout,
            keepalive_interval=interval
            if isinstance(keepalive_interval, _Unset)
            else keepalive_interval,
            keepalive_timeout=timeout
            if isinstance(keepalive_timeout, _Unset)
            else keepalive_timeout,
        )
        try:
            yield channel
        finally:
            channel.close()
            nursery.cancel_scope.cancel()


class _Attempt:
    """One try to connect, and the calls that wait for its outcome."""

    def __init__(self) -> None:
        self.connection: ClientConnection | None = None
        self.failure: Failure | None = None
        self.over = trio.Event()

    def succeeded(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.over.set()

    def failed(self, failure: Failure) -> None:
        self.failure = failure
        self.over.set()


class Channel(grpclib.client.Channel):
    """Makes calls to one server; see `open_channel`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        dialer: Dialer,
        *,
        codec: CodecBase,
        status_details_codec: StatusDetailsCodecBase | None,
        max_message_size: int,
        connect_timeout: float,
        keepalive_interval: float | None,
        keepalive_timeout: float,
    ) -> None:
        self.codec = codec
        self.status_details_codec = status_details_codec
        self.authority = dialer.authority
        self.scheme = dialer.scheme
        self.messages_sent = 0
        self.messages_received = 0
        self._nursery = nursery
        self._dialer = dialer
        self._max_message_size = max_message_size
        self._connect_timeout = connect_timeout
        self._keepalive_interval = keepalive_interval
        self._keepalive_timeout = keepalive_timeout
        self._current: ClientConnection | None = None
        self._connections: set[ClientConnection] = set()
        self._attempt: _Attempt | None = None
        self._closed = False
        self._failures = 0
        self._not_before = float("-inf")
        self._last_error: str | None = None
        self._calls = {"started": 0, "succeeded": 0, "failed": 0}
        self._made = 0
        self._failed = 0
        self._bytes_sent = 0
        self._bytes_received = 0

    def __repr__(self) -> str:
        return f"<Channel to {self.authority}>"

    def __del__(self) -> None:
        """Nothing: the connections belong to the block of `open_channel`."""

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
    ) -> ClientStream[S, R]:
        """Begin a call: the async context manager that the stubs are made of.

        Args:
          name: The method, as in ``/package.Service/Method``.
          codec: Turns this call's messages into bytes and back; by default the channel's codec.
          timeout: The seconds that the call may take from now.
          deadline: When the call has to be over; the earlier of both counts.
          metadata: To be sent with the request.
        """
        return ClientStream(
            self,
            name,
            cardinality,
            request_type,
            reply_type,
            codec=codec or self.codec,
            deadline=earliest_deadline(timeout, deadline),
            metadata=metadata,
        )

    def statistics(self) -> ChannelStatistics:
        """What the channel is doing and has done."""
        connections = self._connections
        return ChannelStatistics(
            connected=self._current is not None and self._current.usable,
            connections=len(connections),
            connections_made=self._made,
            connections_failed=self._failed,
            last_error=self._last_error,
            calls_started=self._calls["started"],
            calls_succeeded=self._calls["succeeded"],
            calls_failed=self._calls["failed"],
            streams_open=sum(len(connection.streams) for connection in connections),
            messages_sent=self.messages_sent,
            messages_received=self.messages_received,
            bytes_sent=self._bytes_sent + sum(c.bytes_sent for c in connections),
            bytes_received=self._bytes_received + sum(c.bytes_received for c in connections),
        )

    def close(self) -> None:
        """End all calls with CANCELLED, and take no more; leaving the block does it."""
        self._closed = True
        for connection in self._connections:
            connection.close(_closed())
        if self._attempt is not None:
            self._attempt.failed(_closed())

    # For the calls.

    def call_started(self) -> None:
        self._calls["started"] += 1

    def call_ended(self, succeeded: bool) -> None:
        self._calls["succeeded" if succeeded else "failed"] += 1

    async def connection(self) -> ClientConnection:
        """The connection for a new call.  A checkpoint only if there is none yet.

        Raises:
          GRPCError: none could be made.
        """
        if self._current is not None and self._current.usable:
            return self._current
        if self._closed:
            raise _closed().error()
        if self._attempt is None:
            self._attempt = _Attempt()
            self._nursery.start_soon(self._connect, self._attempt)
        attempt = self._attempt
        await attempt.over.wait()
        if attempt.connection is None:
            assert attempt.failure is not None
            raise attempt.failure.error()
        return attempt.connection

    async def _connect(self, attempt: _Attempt) -> None:
        """Try to connect, then serve the connection until it ends."""
        await trio.sleep_until(self._not_before)
        deadline = trio.current_time() + self._connect_timeout
        stream: trio.abc.Stream | None = None
        try:
            with trio.CancelScope(deadline=deadline):
                stream = await self._dialer.dial()
            if stream is None:
                raise TimeoutError(f"no answer within {self._connect_timeout:g} s")
        except Exception as exc:  # noqa: BLE001 - whatever the connector raises, the calls get it
            self._attempt_failed(attempt, exc)
            return
        connection = self._prepare(stream, attempt, deadline)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._bytes_sent += connection.bytes_sent
            self._bytes_received += connection.bytes_received
            assert connection.failure is not None
            log.debug("%r: connection ended: %s", self, connection.failure.message)
            if attempt.connection is None:
                self._attempt_failed(attempt, ConnectionError(connection.failure.message))

    def _prepare(
        self, stream: trio.abc.Stream, attempt: _Attempt, deadline: float
    ) -> ClientConnection:
        def ready() -> None:
            self._made += 1
            self._failures = 0
            self._last_error = None
            self._attempt = None
            self._current = connection
            attempt.succeeded(connection)
            log.debug("%r: connected", self)

        connection = ClientConnection(
            stream,
            on_ready=ready,
            on_too_many_pings=self._ping_less,
            max_message_size=self._max_message_size,
            handshake_timeout=max(0.0, deadline - trio.current_time()),
            keepalive_interval=self._keepalive_interval,
            keepalive_timeout=self._keepalive_timeout,
        )
        return connection

    def _ping_less(self) -> None:
        if self._keepalive_interval is not None:
            self._keepalive_interval *= 2
            log.warning(
                "%r: the server finds the keepalive pings too frequent, now one comes every %g s",
                self,
                self._keepalive_interval,
            )

    def _attempt_failed(self, attempt: _Attempt, cause: BaseException) -> None:
        if self._closed:
            return
        # Spread over some time, lest all clients of a server come back at once.
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
        delay = min(_FIRST_BACKOFF * 2.0 ** min(self._failures, 16), _MAX_BACKOFF) * jitter
        self._not_before = trio.current_time() + delay
        self._failures += 1
        self._failed += 1
        self._last_error = f"cannot connect to {self.authority}: {cause}"
        log.info("%r: %s", self, self._last_error)
        self._attempt = None
        attempt.failed(Failure(Status.UNAVAILABLE, self._last_error, cause))


def _closed() -> Failure:
    return Failure(Status.CANCELLED, "the channel is closed")
