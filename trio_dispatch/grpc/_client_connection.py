"""The client's end of a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import trio
from grpclib.const import Status
from h2 import events
from h2.errors import ErrorCodes

from ._connection import Connection
from ._http2 import HTTP2
from ._metadata import Headers
from ._status import Failure, error_name
from ._stream import HTTP2Stream, wake_all

_MAX_HEADER_LIST_SIZE = 64 * 1024
_LAST_STREAM_ID = 2**31 - 1


class ConnectionUnusableError(Exception):
    """The connection takes no more calls; nothing was sent, another one may take it."""


class ClientConnection(Connection):
    """A connection on which this side makes the calls.

    Args:
      on_ready: called once, when the server has shown that it speaks HTTP/2.
      on_too_many_pings: called when the server ends the connection because of keepalive.
    """

    client_side: ClassVar = True

    def __init__(
        self,
        transport: trio.abc.Stream,
        *,
        on_ready: Callable[[], object],
        on_too_many_pings: Callable[[], object],
        max_message_size: int,
        handshake_timeout: float,
        keepalive_interval: float | None,
        keepalive_timeout: float,
    ) -> None:
        super().__init__(
            transport,
            HTTP2(client_side=True, max_header_list_size=_MAX_HEADER_LIST_SIZE),
            max_message_size=max_message_size,
            handshake_timeout=handshake_timeout,
            keepalive_interval=keepalive_interval,
            keepalive_timeout=keepalive_timeout,
        )
        self._on_ready = on_ready
        self._on_too_many_pings = on_too_many_pings
        self._slots = trio.lowlevel.ParkingLot()
        self._calls = trio.lowlevel.ParkingLot()

    @property
    def usable(self) -> bool:
        """Whether new calls may be made on it."""
        return self.failure is None and not self.draining

    async def open_stream(
        self, headers: Callable[[], Headers], *, end_stream: bool = False
    ) -> HTTP2Stream:
        """Send a request's headers, as soon as the server admits another stream.

        Raises:
          ConnectionUnusableError: the connection went away before that.
        """
        while self.usable and not self._admits_stream:
            await self._slots.park()
        if not self.usable:
            raise ConnectionUnusableError
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, headers(), end_stream=end_stream)
        stream = self.streams[stream_id] = HTTP2Stream(self, stream_id)
        stream.local_ended = end_stream
        if stream_id + 2 > _LAST_STREAM_ID:
            self.draining = True
        wake_all(self._calls)
        self.flush()
        return stream

    @property
    def _admits_stream(self) -> bool:
        return len(self.streams) < self.h2.remote_settings.max_concurrent_streams

    def _changed(self) -> None:
        if not self.usable:
            wake_all(self._slots)
        elif self._slots and self._admits_stream:
            free = self.h2.remote_settings.max_concurrent_streams - len(self.streams)
            self._slots.unpark(count=min(free, len(self._slots)))

    def _settings_received(self, event: events.RemoteSettingsChanged) -> None:
        if not self._ready.is_set():
            self._on_ready()
        super()._settings_received(event)

    def _request_received(self, _event: events.RequestReceived) -> None:
        """Only clients make requests, whatever h2 thinks of it."""
        failure = Failure(Status.UNAVAILABLE, "the server broke HTTP/2: it has made a request")
        self.close(failure, code=ErrorCodes.PROTOCOL_ERROR)

    def _goaway_received(self, event: events.ConnectionTerminated) -> None:
        """Let the calls finish that the server has taken; the others may go elsewhere."""
        reason = error_name(event.error_code)
        if event.additional_data:
            reason += f": {event.additional_data.decode('utf-8', 'replace')}"
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
        self._changed()
        self._close_if_drained()

    @property
    def _has_calls(self) -> bool:
        return bool(self.streams)

    async def _call(self) -> None:
        await self._calls.park()
