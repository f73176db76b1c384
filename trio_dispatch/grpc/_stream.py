"""One HTTP/2 stream: what has come on it, and who waits for more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from grpclib.const import Status
from h2.errors import ErrorCodes

from ._framing import MessageBuffer
from ._http2 import STREAM_WINDOW
from ._metadata import Headers
from ._status import Failure

if TYPE_CHECKING:
    from ._connection import Connection

# Credit is given back in larger pieces, but early enough that the other side need not stop.
_CREDIT_STEP = STREAM_WINDOW // 4
# A frame of DATA is no longer than this, even to a peer that would take it: a long message must
# let the short ones of other streams pass.
_MAX_DATA = 64 * 1024


_RESET_HERE = Failure(Status.CANCELLED, "the call was cancelled on this side")


def wake_all(lot: trio.lowlevel.ParkingLot) -> None:
    """Wake the tasks that are parked there, if any are.

    Mostly nobody is, which is known in no time; but for `unpark_all` that is like any other number.
    """
    if lot:
        lot.unpark_all()


class HTTP2Stream:
    """A stream of a `Connection`, for client and server alike.

    What comes from the other side is kept here by the connection (the methods ``*_received``),
    sync; a task looks at the attributes and awaits `arrival` while there is too little.  What waits
    here unread is bounded by the window of the stream: only a task that waits for a message gives
    the other side credit for more.
    """

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self.connection = connection
        self.id = stream_id
        #: The first headers of the other side, and those that ended its side of the stream.
        self.headers: Headers | None = None
        self.trailers: Headers | None = None
        self.messages = MessageBuffer(connection.max_message_size)
        #: Each side has said that nothing follows.
        self.remote_ended = False
        self.local_ended = False
        #: Why the stream is gone, if it did not end well.
        self.failure: Failure | None = None
        #: On a server: the scope of the handler, cancelled when the stream fails.
        self.scope: trio.CancelScope | None = None
        self._discarding = False
        self._sending = False
        self._unread = 0
        self._credit = 0
        self._arrivals = trio.lowlevel.ParkingLot()
        self._openings = trio.lowlevel.ParkingLot()

    @property
    def over(self) -> bool:
        """Nothing more can be sent, or need be: a server that has answered wants no more."""
        return (
            self.failure is not None
            or self.local_ended
            or (self.remote_ended and self.connection.client_side)
        )

    # What the other side sends.

    def headers_received(self, headers: Headers) -> None:
        self.headers = headers
        wake_all(self._arrivals)

    def data_received(self, data: bytes, flow_controlled_length: int) -> None:
        if self._discarding:
            self._consume(flow_controlled_length)
            return
        if flow_controlled_length > len(data):  # by padding
            self._consume(flow_controlled_length - len(data))
        self._unread += len(data)
        self.messages.feed(data)
        if not self._arrivals:
            return
        if self.messages.ready:
            wake_all(self._arrivals)
        else:
            # The message that is waited for may be longer than the window.
            self._consume_unread(0)

    def trailers_received(self, headers: Headers) -> None:
        self.trailers = headers

    def end_received(self) -> None:
        self.remote_ended = True
        self._wake()

    def fail(self, failure: Failure) -> None:
        """The stream is gone; whoever waits is told, a handler is cancelled."""
        if self.failure is None:
            self.failure = failure
            if self.scope is not None:
                self.scope.cancel()
            self._wake()

    def opened(self) -> None:
        """There may be room to send now."""
        wake_all(self._openings)

    def _wake(self) -> None:
        wake_all(self._arrivals)
        wake_all(self._openings)

    # What tasks do.

    async def arrival(self) -> None:
        """Wait for headers, a whole message, the end, or a failure.

        A checkpoint; being cancelled loses nothing.
        """
        self._consume_unread(0)
        await self._arrivals.park()

    def take_message(self) -> bytes:
        """The message that is `ready`; the other side may send as much again."""
        try:
            return self.messages.take()
        finally:
            self._consume_unread(len(self.messages))

    def discard(self) -> None:
        """Drop what has come and will come: nobody reads messages any more."""
        self._discarding = True
        self.messages.clear()
        self._consume_unread(0)

    async def send_headers(
        self, headers: Headers, *, end_stream: bool = False, flush: bool = True
    ) -> None:
        """Queue headers, as soon as the connection has room.

        Does nothing on a stream that is over.  A checkpoint only if it has to wait; cancelled then,
        nothing is sent.
        """
        await self._room()
        if not self.over:
            self.connection.h2.send_headers(self.id, headers, end_stream=end_stream)
            if end_stream:
                self._end_sent()
            if flush:
                self.connection.flush()

    async def send_data(self, data: bytes, *, end_stream: bool = False, flush: bool = True) -> bool:
        """Queue data, as flow control lets it pass.

        A checkpoint only if it has to wait.  If it is cancelled after a part was sent, the stream
        is reset: the other side could not tell where the next message begins.

        Args:
          flush: See that it is written now; otherwise with what follows.

        Returns:
          Whether all was queued; if not, the stream is over.

        Raises:
          trio.BusyResourceError: another task is sending on this stream.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this call")
        self._sending = True
        view, sent = memoryview(data), 0
        try:
            while True:
                await self._room(window=bool(data))
                if self.over:
                    return False
                sent += self._send_some(view[sent:], end_stream)
                if sent == len(data):
                    if flush:
                        self.connection.flush()
                    return True
        except trio.Cancelled:
            if sent:
                self.reset(ErrorCodes.CANCEL)
            raise
        finally:
            self._sending = False

    def reset(self, code: ErrorCodes) -> None:
        """Tell the other side that the stream is over, unless it is."""
        if self.failure is None:
            self.failure = _RESET_HERE
            self._wake()
        self.connection.reset_stream(self, code)

    async def _room(self, *, window: bool = False) -> None:
        """Wait until the connection, and the window if asked for, take something."""
        blocked = self.connection.blocked
        while not self._has_room(window):
            self.connection.flush()
            blocked.add(self)
            try:
                await self._openings.park()
            finally:
                blocked.discard(self)

    def _has_room(self, window: bool) -> bool:
        if self.over:
            return True
        if not self.connection.has_room:
            return False
        return not window or self.connection.h2.local_flow_control_window(self.id) > 0

    def _send_some(self, data: memoryview, end_stream: bool) -> int:
        """Queue frames until the data, the window or the room ends; how many bytes."""
        h2 = self.connection.h2
        sent, size = 0, len(data)
        while True:
            length = min(
                size - sent,
                h2.local_flow_control_window(self.id),
                h2.max_outbound_frame_size,
                _MAX_DATA,
            )
            if length <= 0 < size:
                break
            last = sent + length == size
            chunk = data[sent : sent + length]
            h2.send_data(self.id, chunk, end_stream=end_stream and last)
            sent += length
            if last:
                if end_stream:
                    self._end_sent()
                break
            if not self.connection.has_room:
                break
        return sent

    def _end_sent(self) -> None:
        self.local_ended = True
        if self.remote_ended:
            self.connection.stream_closed(self)

    def _consume_unread(self, remaining: int) -> None:
        if self._unread > remaining:
            self._consume(self._unread - remaining)
            self._unread = remaining

    def _consume(self, size: int) -> None:
        """Give the other side credit for bytes that do not wait here any more."""
        self._credit += size
        if self._credit >= _CREDIT_STEP and not self.remote_ended and self.failure is None:
            self.connection.return_credit(self, self._credit)
            self._credit = 0
