"""Bytes in and out of a connection, in fewer steps if its transport is a plain socket."""

from __future__ import annotations

import os

import trio

_READ_SIZE = 64 * 1024


class Transport:
    """A Trio stream with shortcuts for plain sockets.

    `trio.SocketStream` tries to read before it waits, nearly always in vain, and lets other tasks
    run after each write.  That is a good part of what a small message costs.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._socket: trio.socket.SocketType | None = None
        if isinstance(stream, trio.SocketStream) and os.name == "posix":
            self._socket = stream.socket

    async def receive(self) -> bytes | bytearray:
        """Wait for bytes, and return them; empty at the end of the stream.

        Raises:
          trio.BrokenResourceError, trio.ClosedResourceError: as `receive_some` does.
        """
        if self._socket is None:
            return await self.stream.receive_some(_READ_SIZE)
        descriptor = self._socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError("the socket is closed")
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            try:
                return os.read(descriptor, _READ_SIZE)
            except BlockingIOError:
                continue  # Another event than bytes that have come.
            except OSError as exc:
                raise trio.BrokenResourceError(f"socket connection broken: {exc}") from exc

    def send_now(self, data: bytes | bytearray) -> int:
        """Write what a plain socket takes at once, and return the number of bytes.

        It is 0 with other transports, and after an error, which the next `send_all` raises.
        """
        if self._socket is None:
            return 0
        try:
            return os.write(self._socket.fileno(), data)
        except OSError:
            return 0
