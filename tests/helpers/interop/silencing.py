"""A TCP proxy that can silence streams of HTTP/2 while the rest of the connection works."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["SilencingProxy", "silencing_proxy"]

_HEADER = 9
_DATA, _HEADERS, _RST_STREAM = 0, 1, 3
_END_STREAM = 1


class SilencingProxy:
    """A proxy between a client and a gRPC server.

    Attributes:
      port: The port that it listens on.
      dropped: The number of DATA frames that it dropped.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self.dropped = 0
        self._server_port = server_port
        self._connections: list[_Connection] = []

    def silence(self) -> None:
        """Drop what the server sends from now on in the streams that are open now.

        Their headers, pings and all other streams pass.
        """
        for connection in self._connections:
            connection.silenced |= connection.open

    async def serve(self, client: trio.SocketStream) -> None:
        """Serve one connection."""
        server = await trio.open_tcp_stream("127.0.0.1", self._server_port)
        connection = _Connection()
        self._connections.append(connection)
        async with server, client, trio.open_nursery() as nursery:
            nursery.start_soon(self._forward, client, server, nursery)
            await self._filter(server, client, connection)
            nursery.cancel_scope.cancel()

    async def _forward(
        self, source: trio.abc.Stream, sink: trio.abc.Stream, nursery: trio.Nursery
    ) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
        except trio.BrokenResourceError:
            pass
        nursery.cancel_scope.cancel()

    async def _filter(
        self, source: trio.SocketStream, sink: trio.abc.Stream, connection: _Connection
    ) -> None:
        buffer = bytearray()
        try:
            async for data in source:
                buffer += data
                kept = bytearray()
                while len(buffer) >= _HEADER:
                    size = _HEADER + int.from_bytes(buffer[:3], "big")
                    if len(buffer) < size:
                        break
                    frame = bytes(buffer[:size])
                    del buffer[:size]
                    if connection.passes(frame):
                        kept += frame
                    else:
                        self.dropped += 1
                await sink.send_all(kept)
        except trio.BrokenResourceError:
            pass


class _Connection:
    def __init__(self) -> None:
        self.open: set[int] = set()
        self.silenced: set[int] = set()

    def passes(self, frame: bytes) -> bool:
        kind, flags = frame[3], frame[4]
        stream = int.from_bytes(frame[5:9], "big") & 0x7FFF_FFFF
        if kind in {_DATA, _HEADERS} and not flags & _END_STREAM:
            self.open.add(stream)
        elif kind in {_DATA, _HEADERS, _RST_STREAM}:
            self.open.discard(stream)
        return kind != _DATA or stream not in self.silenced


@asynccontextmanager
async def silencing_proxy(server_port: int) -> AsyncIterator[SilencingProxy]:
    """Run a proxy in front of a server on this machine."""
    proxy = SilencingProxy(server_port)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, proxy.serve, 0)
        proxy.port = listeners[0].socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()
