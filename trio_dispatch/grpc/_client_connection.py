"""The client's end of a connection."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio
from grpclib.const import Status
from h2 import events
from h2.errors import ErrorCodes

from ._connection import Connection
from ._http2 import HTTP2
from ._metadata import Headers
from ._status import Failure, error_name, printable
from ._stream import HTTP2Stream, wake_all

_MAX_HEADER_LIST_SIZE = 64 * 1024
_LAST_STREAM_ID = 2**31 - 1
_STREAM_WINDOW = 256 * 1024


class ClientConnection(Connection):
    """A connection on which this side makes the calls.

    Args:
      on_ready: Called with this connection once the server has shown that it speaks HTTP/2.
      on_room: Called with this connection when a stream has ended, or its limit has changed.
      on_idle: Called with this connection after `idle_timeout` seconds without a call.
      on_too_many_pings: Called when the server ends the connection because of keepalive.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        *,
        on_ready: Callable[[ClientConnection], object],
        on_room: Callable[[ClientConnection], object],
        on_idle: Callable[[ClientConnection], object],
        on_too_many_pings: Callable[[], object],
        idle_timeout: float,
        max_message_size: int,
        handshake_timeout: float,
        keepalive_interval: float,
        keepalive_timeout: float,
    ) -> None:
        super().__init__(
            transport,
            HTTP2(
                client_side=True,
                stream_window=_STREAM_WINDOW,
                max_header_list_size=_MAX_HEADER_LIST_SIZE,
            ),
            max_message_size=max_message_size,
            handshake_timeout=handshake_timeout,
            keepalive_interval=keepalive_interval,
            keepalive_timeout=keepalive_timeout,
        )
        #: The number of streams that the server allows at a time.
        self.max_streams = 0
        self._on_ready = on_ready
        self._on_room = on_room
        self._on_idle = on_idle
        self._on_too_many_pings = on_too_many_pings
        self._idle_timeout = idle_timeout
        self._calls = trio.lowlevel.ParkingLot()
        self._idle = trio.Event()
        self._idle_since = math.inf

    @property
    def usable(self) -> bool:
        """Whether the connection takes new calls, now or when others have ended."""
        return self.failure is None and not self.draining

    @property
    def admits_stream(self) -> bool:
        """Whether the connection takes a new call now."""
        return self.usable and len(self.streams) < self.max_streams

    def open_stream(self, headers: Headers) -> HTTP2Stream:
        """Queue a request's headers, to be flushed; the connection must admit a stream."""
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, headers)
        stream = self.streams[stream_id] = HTTP2Stream(self, stream_id)
        if stream_id + 2 > _LAST_STREAM_ID:
            self.draining = True
        wake_all(self._calls)
        return stream

    def _changed(self) -> None:
        if not self.streams:
            self._idle_since = trio.current_time()
            self._idle.set()
        self._on_room(self)

    def _settings_received(self, event: events.RemoteSettingsChanged) -> None:
        self.max_streams = self.h2.remote_settings.max_concurrent_streams
        if not self._ready.is_set():
            self._on_ready(self)
        super()._settings_received(event)

    def _request_received(self, _event: events.RequestReceived) -> None:
        """Only clients make requests; h2 does not object to one from a server."""
        failure = Failure(Status.UNAVAILABLE, "the server broke HTTP/2: it has made a request")
        self.close(failure, code=ErrorCodes.PROTOCOL_ERROR)

    def _goaway_received(self, event: events.ConnectionTerminated) -> None:
        """Let the calls finish that the server has taken; the others may go elsewhere."""
        reason = error_name(event.error_code)
        if event.additional_data:
            reason += f": {printable(event.additional_data.decode('utf-8', 'replace'))}"
        if event.additional_data == b"too_many_pings":
            self._on_too_many_pings()
        self.draining = True
        last = _LAST_STREAM_ID if event.last_stream_id is None else event.last_stream_id
        failure = Failure(
            Status.UNAVAILABLE, f"the server is going away ({reason})", unprocessed=True
        )
        for stream in [stream for stream in self.streams.values() if stream.id > last]:
            stream.fail(failure)
            self.reset_stream(stream, ErrorCodes.CANCEL)
        self._close_if_drained()

    # Keepalive and idle connections.

    def _tasks(self) -> list[Callable[[], Awaitable[None]]]:
        return [*super()._tasks(), self._watch_idleness]

    @property
    def _has_calls(self) -> bool:
        return bool(self.streams)

    async def _call(self) -> None:
        await self._calls.park()

    async def _watch_idleness(self) -> None:
        # Not woken by each call: it looks again when the connection may have been idle for so long.
        while True:
            await self._idle.wait()
            if self.streams:
                self._idle = trio.Event()
            elif trio.current_time() < self._idle_since + self._idle_timeout:
                await trio.sleep_until(self._idle_since + self._idle_timeout)
            else:
                self._on_idle(self)
                await self._calls.park()
