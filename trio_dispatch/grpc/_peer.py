"""The address and the certificate at the other end of a connection."""

from __future__ import annotations

from typing import Any

import trio

from ._grpclib import Peer as GrpclibPeer


class Peer(GrpclibPeer):
    """The other end of a connection, as the transport knows it."""

    def __init__(self, transport: trio.abc.Stream) -> None:
        self._tls = transport if isinstance(transport, trio.SSLStream) else None
        # A closed socket no longer knows it.
        self._addr = _address(transport)

    def addr(self) -> Any:
        """Its address as the socket has it, or None without a socket."""
        return self._addr

    @property
    def host(self) -> str:
        """Its IP address, "" without one."""
        return str(self._addr[0]) if isinstance(self._addr, tuple) else ""

    def cert(self) -> dict[str, Any] | None:
        """Its certificate as `ssl.SSLSocket.getpeercert` has it, or None without TLS."""
        if self._tls is None:
            return None
        cert: dict[str, Any] | None = self._tls.getpeercert()
        return cert


def _address(stream: trio.abc.Stream) -> Any:
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if not isinstance(stream, trio.SocketStream):
        return None
    try:
        return stream.socket.getpeername()
    except OSError:
        return None
