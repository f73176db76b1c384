"""Serves an ASGI application over HTTP on Trio: connections, TLS and limits.

Anycorn speaks HTTP/1.1 and HTTP/2.  What it leaves to the operating system is bounded here: the
number of connections, in all and from one address, the time of a handshake, and the time in which a
client has to read.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import anyio
import anyio.abc
import anyio.streams.tls
import trio
from anycorn import Config
from anycorn.tcp_server import TCPServer
from anycorn.typing import ASGIFramework, ConnectionState
from anycorn.utils import wrap_app
from anycorn.worker_context import WorkerContext

from ..concurrency.tls import forget_handshake

__all__ = ["WebServer"]

log = logging.getLogger("trio_dispatch.web")

CONNECTIONS: Final = 500
CONNECTIONS_PER_ADDRESS: Final = 100
SEND_TIMEOUT: Final = 20.0
HANDSHAKE_TIMEOUT: Final = 10.0
IDLE_TIMEOUT: Final = 30.0
GONE_TIMEOUT: Final = 3.0
"""The seconds that a request has to finish when its client is gone."""


class WebServer:
    """Serves an application on any number of listeners and streams.

    Args:
      app: The application; it gets no lifespan events.
      connections: Connections at a time; further ones are closed at once.
      connections_per_address: Those from one address, or from one IPv6 network of 64 bits.  This
        machine may have more: a reverse proxy connects from there.
      send_timeout: The seconds in which a client has to read what was sent before its connection
        is closed.
    """

    def __init__(
        self,
        app: Any,
        *,
        connections: int = CONNECTIONS,
        connections_per_address: int = CONNECTIONS_PER_ADDRESS,
        send_timeout: float = SEND_TIMEOUT,
    ) -> None:
        config = Config()
        config.errorlog = log
        config.include_server_header = False
        config.keep_alive_timeout = IDLE_TIMEOUT
        config.h2_max_concurrent_streams = 50
        self._config = config
        framework: ASGIFramework = app
        self._app = wrap_app(framework, 0, "asgi")
        self._context = WorkerContext(None)
        self._most = connections
        self._most_per_address = connections_per_address
        self._send_timeout = send_timeout
        self._open: set[trio.abc.Stream] = set()
        self._by_address: Counter[str] = Counter()
        self._refuses = False
        self._one_closed = trio.Event()
        self._stopping = trio.Event()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def stop(self) -> None:
        """Accept no more connections; see `serve_listeners` for those that are open."""
        self._stopping.set()

    async def serve_listeners(
        self,
        listeners: Sequence[trio.abc.Listener[Any]],
        *,
        ssl_context: ssl.SSLContext | None = None,
        grace: float = 5.0,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `stop`, and then let running requests finish.

        Args:
          ssl_context: For TLS; it is changed to offer HTTP/2 and HTTP/1.1.
          grace: How many seconds running requests have to finish.
        """
        if ssl_context is not None:
            ssl_context.minimum_version = ssl.TLSVersion.TLSv1_2
            ssl_context.set_alpn_protocols(["h2", "http/1.1"])

        async def handle(stream: trio.abc.Stream) -> None:
            if ssl_context is not None:
                stream = trio.SSLStream(
                    stream, ssl_context, server_side=True, https_compatible=True
                )
            await self.serve_stream(stream)

        async with trio.open_nursery() as connections:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._stop_accepting, nursery.cancel_scope)
                    await nursery.start(_serve_listeners, handle, [*listeners], connections)
                    task_status.started()
                # Connections without a request are closed now.
                await self._context.terminated.set()
                with trio.move_on_after(grace):
                    while self._open:
                        self._one_closed = trio.Event()
                        await self._one_closed.wait()
            finally:
                # A response that a client does not read is sent in a shielded scope, which ends
                # only when the stream is closed.
                with trio.CancelScope(shield=True):
                    for stream in [*self._open]:
                        await trio.aclose_forcefully(stream)
            connections.cancel_scope.cancel()

    async def _stop_accepting(self, scope: trio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends; the stream is closed then."""
        address = _address_of(stream)
        if not self._has_room_for(address):
            if isinstance(stream, trio.SSLStream):
                forget_handshake(stream)
            await trio.aclose_forcefully(stream)
            return
        self._open.add(stream)
        self._by_address[address] += 1
        try:
            if isinstance(stream, trio.SSLStream) and not await _shake_hands(stream):
                return
            with trio.CancelScope() as scope:
                connection = _Connection(stream, self._send_timeout, scope)
                await TCPServer(
                    self._app, self._config, self._context, ConnectionState({}), connection
                ).run()
        finally:
            self._open.discard(stream)
            self._by_address -= Counter([address])  # which drops an address without connections
            self._one_closed.set()
            await trio.aclose_forcefully(stream)

    def _has_room_for(self, address: str) -> bool:
        """Whether the limits allow another connection from an address."""
        most = self._most_per_address if address else self._most
        refuses = len(self._open) >= self._most or self._by_address[address] >= most
        if refuses and not self._refuses:  # one line, however many clients try
            log.warning(
                "refused a connection to the page from %s: %d are open, %d from there",
                address or "this machine",
                len(self._open),
                self._by_address[address],
            )
        self._refuses = refuses
        return not refuses


async def _serve_listeners(
    handle: Callable[[trio.abc.Stream], Any],
    listeners: list[trio.abc.Listener[Any]],
    connections: trio.Nursery,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    await trio.serve_listeners(
        handle, listeners, handler_nursery=connections, task_status=task_status
    )


async def _shake_hands(stream: trio.SSLStream[Any]) -> bool:
    with trio.move_on_after(HANDSHAKE_TIMEOUT):
        try:
            await stream.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        finally:
            forget_handshake(stream)
        return True
    return False


def _address_of(stream: trio.abc.Stream) -> str:
    """Return the address or network whose connections are limited; empty for this machine."""
    name = _socket_of(stream).getpeername()
    # Only TCP has a host and a port.
    if not isinstance(name, tuple):
        return ""
    address = ipaddress.ip_address(name[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return ""
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _socket_of(stream: trio.abc.Stream) -> Any:
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return getattr(stream, "socket", None) or _NoSocket()


class _NoSocket:
    """The socket of a stream that has none."""

    family = -1

    def getpeername(self) -> Any:
        return None

    getsockname = getpeername


class _Connection(anyio.abc.SocketStream):
    """A Trio stream as Anycorn expects one.  A client that does not read is disconnected.

    Args:
      scope: The scope of the connection, which ends soon after the client is gone.
    """

    def __init__(
        self, stream: trio.abc.Stream, send_timeout: float, scope: trio.CancelScope
    ) -> None:
        self._stream = stream
        self._send_timeout = send_timeout
        self._scope = scope

    async def receive(self, max_bytes: int = 65536) -> bytes:
        error: Exception
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            error = anyio.BrokenResourceError()
        except trio.ClosedResourceError:
            error = anyio.ClosedResourceError()
        else:
            if data:
                return bytes(data)
            error = anyio.EndOfStream()
        # Otherwise Anycorn keeps the connection until its idle timeout.
        self._scope.deadline = trio.current_time() + GONE_TIMEOUT
        raise error

    async def send(self, item: bytes) -> None:
        try:
            with trio.fail_after(self._send_timeout):
                await self._stream.send_all(item)
        except (trio.BrokenResourceError, trio.TooSlowError) as exc:
            # Only a closed stream ends the tasks that wait for it.
            await trio.aclose_forcefully(self._stream)
            raise anyio.BrokenResourceError from exc
        except trio.ClosedResourceError as exc:
            raise anyio.ClosedResourceError from exc

    async def send_eof(self) -> None:
        raise NotImplementedError  # which Anycorn expects of a stream that cannot

    async def aclose(self) -> None:
        with trio.move_on_after(1.0):
            await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        found: dict[Any, Callable[[], Any]] = {}
        secure = self._stream
        if isinstance(secure, trio.SSLStream):
            found[anyio.streams.tls.TLSAttribute.alpn_protocol] = secure.selected_alpn_protocol
            found[anyio.streams.tls.TLSAttribute.tls_version] = secure.version
        found[anyio.abc.SocketAttribute.raw_socket] = lambda: self._raw_socket
        return found

    @property
    def _raw_socket(self) -> Any:
        return _socket_of(self._stream)
