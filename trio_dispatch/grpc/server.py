"""The server's side: services on any number of listeners and streams."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, TypeVar

import trio
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase

from ..protobuf.codec import MessageCodec
from ._limits import Limits
from ._server_connection import CallCounts, Interceptor, ServerConnection, Service
from ._services import Servable, methods_of
from ._tls import handshake, prepare_context

log = logging.getLogger(__name__)

L = TypeVar("L", bound=trio.abc.Listener[Any])

MAX_MESSAGE_SIZE: Final = 4 * 2**20
KEEPALIVE_INTERVAL: Final = 300.0
KEEPALIVE_TIMEOUT: Final = 20.0
GRACE: Final = 30.0

_BACKLOG = 128


@dataclass(frozen=True)
class ServerStatistics:
    """What a server is doing and has done; see `Server.statistics`."""

    connections: int
    connections_served: int
    """All of them, those included that are still open."""
    calls_running: int
    calls_started: int
    calls_succeeded: int
    calls_failed: int
    """Calls that ended with a status other than OK, or that the client did not wait for."""
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

    The ``serve_*`` methods may be used together, in whatever nursery the caller likes.  Each
    returns when the server was stopped and its last call has ended; cancelling one cancels the
    handlers of its connections and closes them.

    A handler that raises `GRPCError` ends its call with that status.  Anything else that it raises
    is logged, and the client gets UNKNOWN without details; other calls do not notice.

    Args:
      services: Instances of the base classes that betterproto2 or grpclib generates.
      codec: Turns messages into bytes and back; for betterproto2's if not given.
      status_details_codec: Makes bytes of `GRPCError.details`; without one they have to be bytes.
      interceptors: Async functions ``interceptor(call, proceed)``, called for each call, the first
        one outermost.  ``await proceed()`` goes on; raising `GRPCError` instead refuses the call.
      max_message_size: A longer message ends its call with RESOURCE_EXHAUSTED.
      limits: What one client may do.
      keepalive_interval: A client of whom nothing has come for so long is asked for a sign of life;
        None to never do that.
      keepalive_timeout: How long it may take to answer, before it counts as gone.

    Raises:
      ValueError: two services have a method of the same name.
    """

    def __init__(
        self,
        services: Iterable[Servable],
        *,
        codec: CodecBase | None = None,
        status_details_codec: StatusDetailsCodecBase | None = None,
        interceptors: Sequence[Interceptor] = (),
        max_message_size: int = MAX_MESSAGE_SIZE,
        limits: Limits | None = None,
        keepalive_interval: float | None = KEEPALIVE_INTERVAL,
        keepalive_timeout: float = KEEPALIVE_TIMEOUT,
    ) -> None:
        self._service = Service(
            methods=methods_of(services),
            interceptors=tuple(interceptors),
            codec=codec or MessageCodec(),
            status_details_codec=status_details_codec,
            max_message_size=max_message_size,
            limits=limits or Limits(),
            keepalive_interval=keepalive_interval,
            keepalive_timeout=keepalive_timeout,
        )
        self._connections: set[ServerConnection] = set()
        # What a stop cancels: listening, and handshakes.
        self._entrances: set[trio.CancelScope] = set()
        self._stopping = False
        self._counts = CallCounts()
        self._served = 0
        self._bytes_sent = 0
        self._bytes_received = 0

    async def serve_tcp(
        self,
        port: int,
        *,
        host: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[list[Any]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on a TCP port, and serve who connects.

        Args:
          port: 0 for any that is free.
          host: The address to listen on, all addresses if not given.
          ssl_context: For TLS; it is changed to accept HTTP/2 by ALPN and nothing below TLS 1.2.
          task_status: Is told the addresses that are listened on.

        Raises:
          OSError: the port is in use, say.
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
        """Listen on a unix socket, and serve who connects; the path is removed in the end.

        Args:
          path: Where a socket that nobody listens on is replaced.
          task_status: Is told the path.

        Raises:
          OSError: the path is in use.
        """
        where = Path(fspath(path))
        await _remove_stale_socket(where)
        sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            await sock.bind(str(where))
        except BaseException:
            sock.close()
            raise
        try:
            sock.listen(_BACKLOG)
            task_status.started(where)
            await self.serve_listeners([trio.SocketListener(sock)])
        finally:
            _remove(where)

    async def serve_listeners(
        self,
        listeners: list[L],
        *,
        task_status: trio.TaskStatus[list[L]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve who connects to any listeners of streams, which are closed in the end.

        Args:
          task_status: Is told the listeners.
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
        """Serve one connection, until it ends; the stream is closed then."""
        self._served += 1
        if not await self._shake_hands(stream):
            await trio.aclose_forcefully(stream)
            return
        connection = ServerConnection(stream, self._service, self._counts)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._bytes_sent += connection.bytes_sent
            self._bytes_received += connection.bytes_received

    def stop(self, *, grace: float = GRACE) -> None:
        """Take no more connections and calls, and let the calls that run come to their end.

        Those that still run after the grace period are cancelled, and end with UNAVAILABLE.  Then
        the ``serve_*`` methods return.  Another call may shorten the period, not prolong it.

        Args:
          grace: In seconds.
        """
        self._stopping = True
        for scope in self._entrances:
            scope.cancel()
        for connection in self._connections:
            connection.stop(trio.current_time() + grace)

    def statistics(self) -> ServerStatistics:
        """What the server is doing and has done."""
        connections, counts = self._connections, self._counts
        return ServerStatistics(
            connections=len(connections),
            connections_served=self._served,
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
        """Whether a client is there that we can talk to."""
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
    """Remove a socket that a dead process has left behind.

    Raises:
      OSError: something else is there.
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
