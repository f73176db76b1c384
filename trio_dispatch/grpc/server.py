"""The server's side: services on listeners and streams."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, TypeVar

import trio
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase

from ..concurrency.tls import forget_handshake
from ..concurrency.token_bucket import TokenBucket
from ..protobuf.codec import MessageCodec
from ._budget import Budget
from ._counts import CallCounts
from ._framing import Compression, check_compression
from ._limits import Limits
from ._peer import Peer
from ._server_connection import Interceptor, ServerConnection, Service
from ._servicers import GenericRpcHandler, RpcMethodHandler, method_of
from ._services import Servable, methods_of
from ._tls import handshake, prepare_context
from ._turns import Pace, Turns

log = logging.getLogger(__name__)

L = TypeVar("L", bound=trio.abc.Listener[Any])

MAX_MESSAGE_SIZE: Final = 4 * 2**20
KEEPALIVE_INTERVAL: Final = 300.0
KEEPALIVE_TIMEOUT: Final = 20.0
GRACE: Final = 30.0

_BACKLOG = 128
# Frames per second that carry nothing, on all connections: they take about a tenth of the time.
_RARE_WORK = 2000.0
# Warnings a second.
_REFUSALS_LOGGED = 0.1


@dataclass(frozen=True)
class ServerStatistics:
    """Numbers of a server, see `Server.statistics`."""

    connections: int
    connections_served: int
    """All connections until now, including the open ones."""
    connections_refused: int
    """Connections beyond the limits."""
    calls_running: int
    calls_started: int
    calls_succeeded: int
    calls_failed: int
    """Calls that ended with a status other than OK, or that the client left."""
    calls_refused: int
    """Calls beyond the number that a client may make at a time."""
    bytes_sent: int
    bytes_received: int
    stopping: bool


class Server:
    """Serves gRPC, over any `trio.abc.Stream`::

        server = Server([Greeter()])
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(partial(server.serve_tcp, 50051, host="127.0.0.1"))
            ...
            server.stop()

    The ``serve_*`` methods may be used together, in any nursery.  Each returns when the server was
    stopped and its last call has ended; cancelling one cancels the handlers of its connections and
    closes them.

    A handler that raises `GRPCError` ends its call with that status.  Any other exception is
    logged, and the client gets UNKNOWN without details; other calls are not affected.

    Requests longer than 4 KiB are decoded in a thread, so that other calls go on meanwhile.

    Args:
      services: Instances of the base classes that betterproto2 or grpclib generates.  Those of
        grpcio-tools are added by the generated ``add_..._to_server(servicer, server)``.
      codec: Turns messages into bytes and back; by default a `MessageCodec`, for betterproto2's
        and google.protobuf's messages.
      status_details_codec: Makes bytes of `GRPCError.details`; without one they have to be bytes.
      interceptors: Async functions ``interceptor(call, proceed)``, called for each call when its
        headers have come, before its messages are read; the first one is outermost.
        ``await proceed()`` goes on; raising `GRPCError` instead refuses the call.
      compression: How replies are sent to clients that accept it, unless the handler sets
        `current_call().compression`: with ``"gzip"`` those of 1 KiB or more are compressed.
        Compressed requests are always taken.
      max_message_size: A longer message ends its call with RESOURCE_EXHAUSTED.
      limits: Limits on the clients.
      keepalive_interval: A connection on which nothing was received for this many seconds is tested
        with a ping; `math.inf` for never.
      keepalive_timeout: Seconds until an unanswered ping closes the connection.

    Raises:
      ValueError: two services have a method of the same name, or the compression is unknown.
    """

    def __init__(
        self,
        services: Iterable[Servable] = (),
        *,
        codec: CodecBase | None = None,
        status_details_codec: StatusDetailsCodecBase | None = None,
        interceptors: Sequence[Interceptor] = (),
        compression: Compression = "identity",
        max_message_size: int = MAX_MESSAGE_SIZE,
        limits: Limits | None = None,
        keepalive_interval: float = KEEPALIVE_INTERVAL,
        keepalive_timeout: float = KEEPALIVE_TIMEOUT,
    ) -> None:
        limits = limits or Limits()
        self._service = Service(
            methods=methods_of(services),
            generic_handlers=[],
            interceptors=tuple(interceptors),
            codec=codec or MessageCodec(),
            status_details_codec=status_details_codec,
            max_message_size=max_message_size,
            limits=limits,
            keepalive_interval=keepalive_interval,
            keepalive_timeout=keepalive_timeout,
            unfinished_requests=Budget(limits.unfinished_requests),
            unread_replies=Budget(limits.unread_replies),
            compression=check_compression(compression),
            threads=trio.CapacityLimiter(1),
            counts=CallCounts(),
            connections=set(),
            unfinished=set(),
            turns=Turns(),
            pace=Pace(_RARE_WORK, _RARE_WORK / 10),
        )
        self._connections = self._service.connections
        #: Open transports by IP address, "" without one.
        self._open: Counter[str] = Counter()
        self._refusals_logged: TokenBucket | None = None
        # Cancelled by a stop: listening, and handshakes.
        self._entrances: set[trio.CancelScope] = set()
        self._stopping = False
        self._served = 0
        self._refused = 0
        self._bytes_sent = 0
        self._bytes_received = 0

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, RpcMethodHandler]
    ) -> None:
        """Serve the methods of a servicer; for the code that grpcio-tools generates.

        Raises:
          ValueError: there is a method of the same name.
        """
        methods = self._service.methods
        for name, handler in method_handlers.items():
            path = f"/{service_name}/{name}"
            if path in methods:
                raise ValueError(f"two services have the method {path}")
            methods[path] = method_of(handler)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[GenericRpcHandler]) -> None:
        """Have these handlers asked for methods that are not known otherwise.

        For the code that grpcio-tools generates, and for `grpc.GenericRpcHandler`.
        """
        self._service.generic_handlers.extend(generic_rpc_handlers)

    def add_reflection(self, *descriptor_sets: bytes) -> None:
        """Serve reflection: tell clients such as grpcurl the services and their definitions.

        All services of this server are listed.  Messages of google.protobuf know their definitions,
        and so do those of betterproto2 if they were generated with its option
        ``google_protobuf_descriptors``.  Otherwise they have to be given here.

        Args:
          descriptor_sets: The content of files that protoc writes with ``--descriptor_set_out`` and
            ``--include_imports``.

        Raises:
          ValueError: a descriptor set is invalid, or reflection is served already.
        """
        from ._reflection import Reflection  # noqa: PLC0415 - few servers need it

        methods = self._service.methods
        reflection = methods_of([Reflection(methods, descriptor_sets)], MessageCodec())
        if not methods.keys().isdisjoint(reflection):
            raise ValueError("this server serves reflection already")
        methods.update(reflection)

    async def serve_tcp(
        self,
        port: int,
        *,
        host: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[list[Any]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on a TCP port, and serve each client that connects.

        Args:
          port: 0 for any that is free.
          host: The address to listen on, all addresses if not given.
          ssl_context: For TLS; it is changed to accept HTTP/2 by ALPN and nothing below TLS 1.2.
          task_status: Started with the addresses of the sockets that listen.

        Raises:
          OSError: the server cannot listen there, for instance because the port is in use.
        """
        sockets = await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
        task_status.started([listener.socket.getsockname() for listener in sockets])
        if ssl_context is None:
            await self.serve_listeners(sockets)
        else:
            context = prepare_context(ssl_context)
            await self.serve_listeners(
                [trio.SSLListener(listener, context, https_compatible=True) for listener in sockets]
            )

    async def serve_unix(
        self,
        path: str | PathLike[str],
        *,
        task_status: trio.TaskStatus[Path] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on a unix socket, and serve each client; the path is removed at the end.

        Args:
          path: The path of the socket; a socket there on which no process listens is replaced.
          task_status: Started with the path.

        Raises:
          OSError: the path is in use.
        """
        file = Path(fspath(path))
        await _remove_stale_socket(file)
        sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            await sock.bind(str(file))
        except BaseException:
            sock.close()
            raise
        try:
            sock.listen(_BACKLOG)
            task_status.started(file)
            await self.serve_listeners([trio.SocketListener(sock)])
        finally:
            _remove(file)

    async def serve_listeners(
        self,
        listeners: list[L],
        *,
        task_status: trio.TaskStatus[list[L]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve the clients of any listeners of streams; the listeners are closed at the end.

        Args:
          task_status: Started with the listeners.
        """
        async with trio.open_nursery() as nursery:
            with self._entrance():
                await trio.serve_listeners(
                    self.serve_stream,
                    listeners,
                    handler_nursery=nursery,
                    task_status=task_status,
                )

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends; the stream is closed then."""
        peer = Peer(stream)
        if not self._has_room_for(peer.host):
            if isinstance(stream, trio.SSLStream):
                forget_handshake(stream)
            await trio.aclose_forcefully(stream)
            return
        self._served += 1
        self._open[peer.host] += 1
        try:
            if await self._shake_hands(stream):
                await self._serve(ServerConnection(stream, self._service))
            else:
                await trio.aclose_forcefully(stream)
        finally:
            self._open[peer.host] -= 1
            if not self._open[peer.host]:
                del self._open[peer.host]

    async def _serve(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._bytes_sent += connection.bytes_sent
            self._bytes_received += connection.bytes_received

    def _has_room_for(self, host: str) -> bool:
        """Whether the limits allow another connection from this address."""
        limits, total = self._service.limits, self._open.total()
        if total < limits.connections and (
            not host or self._open[host] < limits.connections_per_address
        ):
            return True
        self._refused += 1
        if self._refusals_logged is None:
            self._refusals_logged = TokenBucket(_REFUSALS_LOGGED)
        if self._refusals_logged.spend():
            log.warning(
                "refused a connection from %s: %d of %d connections are open, %d of %d from there",
                host or "a stream",
                total,
                limits.connections,
                self._open[host],
                limits.connections_per_address,
            )
        return False

    def stop(self, *, grace: float = GRACE) -> None:
        """Take no more connections and calls, and let the running calls finish.

        Calls that still run after the grace period are cancelled, and end with UNAVAILABLE.  Then
        the ``serve_*`` methods return.  Calling this again may shorten the period, not prolong it.

        Args:
          grace: Seconds.
        """
        self._stopping = True
        for scope in self._entrances:
            scope.cancel()
        for connection in self._connections:
            connection.stop(trio.current_time() + grace)

    def statistics(self) -> ServerStatistics:
        """Numbers of connections, calls and bytes, now and since the beginning."""
        connections, counts = self._connections, self._service.counts
        return ServerStatistics(
            connections=len(connections),
            connections_served=self._served,
            connections_refused=self._refused,
            calls_running=sum(len(connection.calls) for connection in connections),
            calls_started=counts.started,
            calls_succeeded=counts.succeeded,
            calls_failed=counts.failed,
            calls_refused=counts.refused,
            bytes_sent=self._bytes_sent + sum(c.bytes_sent for c in connections),
            bytes_received=self._bytes_received + sum(c.bytes_received for c in connections),
            stopping=self._stopping,
        )

    @contextmanager
    def _entrance(self) -> Iterator[trio.CancelScope]:
        """A scope that a stop cancels."""
        with trio.CancelScope() as scope:
            self._entrances.add(scope)
            try:
                if self._stopping:
                    scope.cancel()
                yield scope
            finally:
                self._entrances.discard(scope)

    async def _shake_hands(self, stream: trio.abc.Stream) -> bool:
        """Do the TLS handshake, if the stream is encrypted; whether to serve the client."""
        if self._stopping:
            return False
        if not isinstance(stream, trio.SSLStream):
            return True
        shaken = False
        with self._entrance() as scope:
            scope.deadline = trio.current_time() + self._service.limits.handshake_timeout
            try:
                await handshake(stream, who="the client")
                shaken = True
            except ConnectionError as exc:
                log.info("%s", exc)
        return shaken


async def _remove_stale_socket(path: Path) -> None:
    """Remove the socket of a process that has ended.

    Raises:
      OSError: the path is something else, or a process listens there.
    """
    mode = _mode(path)
    if mode is None:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EADDRINUSE, "the path exists and is not a socket", str(path))
    try:
        stream = await trio.open_unix_socket(str(path))
    except ConnectionRefusedError:
        _remove(path)
    else:
        await stream.aclose()
        raise OSError(errno.EADDRINUSE, "another server listens on the path", str(path))


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
