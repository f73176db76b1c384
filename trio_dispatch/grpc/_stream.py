"""One HTTP/2 stream: what was received on it, and the tasks that wait for more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from h2.errors import ErrorCodes

from ._budget import Budget
from ._framing import Message, MessageBuffer
from ._http2 import HTTP2, MAX_DATA
from ._metadata import Headers
from ._peer import Peer
from ._status import Failure

_RESET_HERE = Failure(Status.CANCELLED, "the call was cancelled on this side")


@dataclass(frozen=True)
class StreamLimits:
    """What a server spends on a client that is slow, or does not finish."""

    unfinished_requests: Budget
    unread_replies: Budget
    message_timeout: float
    """Seconds for one message to be received, or to be read by the other side."""
    message_elements: int
    """Items of lists and maps and unknown fields in one request message."""


class StreamOwner(Protocol):
    """What a stream needs of its connection."""

    h2: HTTP2
    peer: Peer
    max_message_size: int
    #: Streams with a task that waits for room to send.
    blocked: set[HTTP2Stream]

    @property
    def has_room(self) -> bool: ...
    def flush(self) -> None: ...
    def flush_soon(self) -> None: ...
    def return_credit(self, stream: HTTP2Stream, size: int) -> None: ...
    def reset_stream(self, stream: HTTP2Stream, code: ErrorCodes) -> None: ...
    def stream_closed(self, stream: HTTP2Stream) -> None: ...


def wake_all(lot: trio.lowlevel.ParkingLot) -> None:
    """Wake the tasks that are parked there, if any.

    Usually the lot is empty, and `unpark_all` would take as long as for many tasks.
    """
    if lot:
        lot.unpark_all()


class HTTP2Stream:
    """A stream of a connection, for client and server alike.

    The connection keeps here what comes from the other side (the methods ``*_received``, all sync);
    a task looks at the attributes and awaits `arrival` while there is too little.  What waits here
    unread is bounded by the stream's window: only a task that waits for a message gives the other
    side credit for more, and only as far as the budget allows.
    """

    def __init__(self, connection: StreamOwner, stream_id: int) -> None:
        self.connection = connection
        self.id = stream_id
        #: The first headers of the other side, and those that ended its side of the stream.
        self.headers: Headers | None = None
        self.trailers: Headers | None = None
        self.messages = MessageBuffer(connection.max_message_size)
        #: Whether each side has said that nothing follows.
        self.remote_ended = False
        self.local_ended = False
        self.headers_sent = False
        #: Why the stream has ended, if it did not end well.
        self.failure: Failure | None = None
        #: On a server: the scope of the handler, cancelled when the stream fails.
        self.scope: trio.CancelScope | None = None
        #: On a server.
        self.limits: StreamLimits | None = None
        self._window = connection.h2.stream_window
        self._discarding = False
        self._sending = False
        self._unread = 0
        self._credit = 0
        self._reserved, self._asked_for_memory = 0, False
        self._arrivals = trio.lowlevel.ParkingLot()
        self._openings = trio.lowlevel.ParkingLot()

    @property
    def over(self) -> bool:
        """Whether nothing more can or need be sent: a server that has answered wants no more."""
        return (
            self.failure is not None
            or self.local_ended
            or (self.remote_ended and self.connection.h2.client_side)
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
        idle = not self.messages.size
        self._unread += len(data)
        self.messages.feed(data)
        if not self._arrivals:
            return
        if self.messages.ready or idle:
            wake_all(self._arrivals)
        else:
            self._give_credit()

    def trailers_received(self, headers: Headers) -> None:
        self.trailers = headers

    def end_received(self) -> None:
        self.remote_ended = True
        self._wake()

    def fail(self, failure: Failure) -> None:
        """End the stream: waiting tasks get the failure, a handler is cancelled."""
        if self.failure is None:
            self.failure = failure
            if self.scope is not None:
                self.scope.cancel()
            self._wake()
        self._release()

    def opened(self) -> None:
        """There may be room to send now."""
        wake_all(self._openings)

    def _wake(self) -> None:
        wake_all(self._arrivals)
        wake_all(self._openings)

    # Receiving.

    async def arrival(self) -> None:
        """Wait for headers, the beginning of a message, a whole one, the end, or a failure.

        A checkpoint; being cancelled loses nothing.
        """
        self._give_credit()
        await self._arrivals.park()

    def take_message(self) -> Message:
        """The message that is `ready`; the other side may send as much again."""
        try:
            return self.messages.take()
        finally:
            self._release()
            waiting = self.messages.size
            if self._unread > waiting:
                self._consume(self._unread - waiting)
                self._unread = waiting

    def discard(self) -> None:
        """Drop what was received and what comes: nobody reads messages any more."""
        self._discarding = True
        self.messages.clear()
        self._release()
        self._consume(self._unread)
        self._unread = 0

    def _give_credit(self) -> None:
        """Let the rest of a message come that is longer than the window, if there is memory.

        The memory is reserved for the whole message, as its prefix tells the size: if every message
        had a part of its memory, none might ever be complete.
        """
        if self.limits is not None and not self._reserved:
            size = self.messages.next_size
            if size > self._window:
                self._asked_for_memory = True
                if not self.limits.unfinished_requests.reserve(size, self._give_credit):
                    return
                self._reserved = size
        self._consume(self._unread)
        self._unread = 0

    def _release(self) -> None:
        if self._asked_for_memory and self.limits is not None:
            self.limits.unfinished_requests.release(self._reserved, self._give_credit)
            self._reserved, self._asked_for_memory = 0, False

    def _consume(self, size: int) -> None:
        """Give the other side credit for bytes that do not wait here any more."""
        self._credit += size
        # In larger pieces, but early enough that the other side need not stop.
        if self._credit >= self._window // 4 and not self.remote_ended and self.failure is None:
            self.connection.return_credit(self, self._credit)
            self._credit = 0

    # Sending.

    async def send_headers(
        self, headers: Headers, *, end_stream: bool = False, flush: bool = True
    ) -> None:
        """Queue headers, as soon as the connection has room.

        Does nothing on a stream that is over.  A checkpoint only if it has to wait; cancelled then,
        nothing is sent.
        """
        await self.room()
        if not self.over:
            self._queue_headers(headers, end_stream)
            if end_stream:
                self._end_sent()
            if flush:
                self.connection.flush()

    def _queue_headers(self, headers: Headers, end_stream: bool) -> None:
        self.connection.h2.send_headers(self.id, headers, end_stream=end_stream)
        self.headers_sent = True

    async def send_data(
        self,
        data: bytes,
        *,
        headers: Headers | None = None,
        end_stream: bool = False,
        flush: bool = True,
    ) -> bool:
        """Queue data, as flow control lets it pass.

        A checkpoint only if it has to wait.  If it is cancelled after a part was sent, the stream
        is reset: the other side could not tell where the next message begins.

        Args:
          headers: Queued before the data.
          flush: Have it written now; otherwise with what follows.

        Returns:
          Whether all was queued; if not, the stream is over.

        Raises:
          trio.BusyResourceError: another task is sending on this stream.
          GRPCError: the other side does not read, and a server's limits do not allow to wait.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this call")
        if headers is not None and not self.over and self.connection.has_room:
            self._queue_headers(headers, end_stream=False)
            headers = None
        if headers is None and len(data) <= MAX_DATA and self._queue_whole(data, end_stream):
            if flush:
                self.connection.flush()
            return True
        self._sending = True
        view, sent, waiting = memoryview(data), 0, 0
        deadline = math.inf
        try:
            while True:
                window = bool(data) and headers is None
                if not self._has_room(window):
                    if self.limits is not None and not waiting:
                        waiting = self._wait_for_reader(len(data) - sent)
                        deadline = trio.current_time() + self.limits.message_timeout
                    with trio.CancelScope(deadline=deadline) as scope:
                        await self.room(window=window)
                    if scope.cancelled_caught:
                        raise GRPCError(Status.DEADLINE_EXCEEDED, "a reply was not read in time")
                if self.over:
                    return False
                if headers is not None:
                    self._queue_headers(headers, end_stream=False)
                    headers = None
                    continue
                sent += self._send_some(view[sent:], end_stream)
                if sent == len(data):
                    if flush:
                        self.connection.flush()
                    return True
        except BaseException:
            if sent:
                self.reset(ErrorCodes.CANCEL)
            raise
        finally:
            self._sending = False
            if waiting and self.limits is not None:
                self.limits.unread_replies.give(waiting)

    def send_data_nowait(self, data: bytes) -> bool:
        """Queue data if all of it can be queued at once; whether it was."""
        if self._sending or not self._queue_whole(data):
            return False
        self.connection.flush()
        return True

    def _queue_whole(self, data: bytes, end_stream: bool = False) -> bool:
        """Queue data, unless there is no room for all of it; whether it was queued."""
        connection = self.connection
        if (
            self.over
            or not connection.has_room
            or not connection.h2.queue_data(self.id, data, end_stream=end_stream)
        ):
            return False
        if end_stream:
            self._end_sent()
        return True

    def _wait_for_reader(self, size: int) -> int:
        """Reserve memory for what the other side has yet to read."""
        assert self.limits is not None
        if not self.limits.unread_replies.take(size):
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "too many replies have not been read")
        return size

    def reset(self, code: ErrorCodes) -> None:
        """Tell the other side that the stream is over, unless it is."""
        if self.failure is None:
            self.failure = _RESET_HERE
            self._wake()
        self._release()
        self.connection.reset_stream(self, code)

    async def room(self, *, window: bool = False) -> None:
        """Wait until the connection, and the window if asked for, takes something."""
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
        """Queue frames until the data, the window or the room ends; the number of bytes."""
        h2 = self.connection.h2
        sent, size = 0, len(data)
        while True:
            length = min(
                size - sent,
                h2.local_flow_control_window(self.id),
                h2.max_outbound_frame_size,
                MAX_DATA,
            )
            if length <= 0 < size:
                break
            last = sent + length == size
            chunk = data[sent : sent + length]
            queued = h2.queue_data(self.id, chunk, end_stream=end_stream and last)
            assert queued
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
