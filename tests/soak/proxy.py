"""A TCP proxy that cuts and stalls connections."""

from __future__ import annotations

from functools import partial

import trio

__all__ = ["Proxy"]

_CHUNK = 64 * 1024


class Proxy:
    """Forwards connections to a port of this machine.

    A stalled connection stays open and forwards nothing, until it is cut or `release` is called.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: set[trio.SocketStream] = set()
        self._flowing = trio.Event()
        self._flowing.set()

    async def serve(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept connections; started with the port."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(self._forward, listeners)

    async def cut(self) -> None:
        """Break all connections."""
        for stream in [*self._streams]:
            await trio.aclose_forcefully(stream)

    def stall(self) -> None:
        """Forward nothing any more."""
        self._flowing = trio.Event()

    def release(self) -> None:
        """Forward what has arrived, and everything else."""
        self._flowing.set()

    async def _forward(self, client: trio.SocketStream) -> None:
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self._port)
        except OSError:
            await trio.aclose_forcefully(client)
            return
        self._streams |= {client, server}
        try:
            async with trio.open_nursery() as nursery:
                pump = partial(self._pump, scope=nursery.cancel_scope)
                nursery.start_soon(pump, client, server)
                nursery.start_soon(pump, server, client)
        finally:
            self._streams -= {client, server}
            await trio.aclose_forcefully(client)
            await trio.aclose_forcefully(server)

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        try:
            while data := await source.receive_some(_CHUNK):
                await self._flowing.wait()
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()
