"""One HTTP/2 connection on a Trio stream: what both ends of it do."""

from __future__ import annotations

import contextlib
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from grpclib.const import Status
from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hyperframe.frame import Frame

from ._headers import MalformedError, check_response, check_trailers
from ._http2 import HTTP2
from ._metadata import Headers, text_headers
from ._peer import Peer
from ._status import Failure, failure_of_reset
from ._stream import HTTP2Stream, wake_all
from ._strict_h2 import CONNECTION_WINDOW
from ._transport import Transport

log = logging.getLogger(__name__)

# A read may hold thousands of frames; other tasks run after so many.
_FRAMES_PER_TURN = 200
# Calls wait to send while more than this waits to be written.
_HIGH_WATER = 64 * 1024
# What is written by the task of a call: so little that no call waits for room.
_WRITTEN_AT_ONCE = 16 * 1024
# What one call gets at a time has at most so many frames: headers, a message and trailers.
_FEW_FRAMES = 4
# The connection of a peer that makes us answer so much without reading it is closed.
_MAX_OUTGOING = 1024 * 1024
_CREDIT_STEP = CONNECTION_WINDOW // 4
# The time for a GOAWAY to be written, and for the transport to close.
_CLOSE_TIMEOUT = 1.0
# Headers that are remembered, in the form that was checked: the number of lists, and their size.
_MAX_KNOWN, _MAX_KNOWN_SIZE = 32, 512
_PING = b"\0\0\0alive"


class Connection(ABC):
    """HTTP/2 over any `trio.abc.Stream`.

    `run` reads, writes and pings until the connection ends; everything else is sync and called by
    the tasks that make or serve calls.  What they queue in `h2` is written by one task, everything
    that has gathered at once (`flush` wakes it).

    `close` ends the connection: its streams fail at once, what is queued is still written if the
    peer takes it within a second, then `run` returns.  It raises nothing; `failure` says why.
    Cancelling `run` does the same, but does not wait for a peer that does not read.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        h2: HTTP2,
        *,
        max_message_size: int,
        handshake_timeout: float,
        keepalive_interval: float,
        keepalive_timeout: float,
        write_timeout: float = math.inf,
    ) -> None:
        self.h2 = h2
        self.peer = Peer(transport)
        self.max_message_size = max_message_size
        self.streams: dict[int, HTTP2Stream] = {}
        #: Streams with a task that waits for room to send.
        self.blocked: set[HTTP2Stream] = set()
        self.failure: Failure | None = None
        #: Whether a GOAWAY was sent or received: there are no new streams.
        self.draining = False
        self.bytes_sent = 0
        self.bytes_received = 0
        self._transport = Transport(transport)
        self._handshake_timeout = handshake_timeout
        self._keepalive_interval = keepalive_interval
        self._keepalive_timeout = keepalive_timeout
        self._write_timeout = write_timeout
        self._ready = trio.Event()
        self._credit = 0
        # Whether so little was received last that at most one call will respond to it.
        self._quiet = False
        self._writing = False
        self._write_began = -math.inf
        self._output = trio.lowlevel.ParkingLot()
        self._last_received = -math.inf
        self._scope = trio.CancelScope()
        self._known_headers: dict[tuple[Any, ...], Headers] = {}
        # Other events need no action: h2 answers pings and settings itself, and unknown frames are
        # to be ignored.
        self._handlers: dict[type[events.Event], Callable[[Any], None]] = {
            events.RequestReceived: self._request_received,
            events.ResponseReceived: self._headers_received,
            events.DataReceived: self._data_received,
            events.TrailersReceived: self._trailers_received,
            events.StreamEnded: lambda event: self._end_received(event.stream_id),
            events.StreamReset: self._reset_received,
            events.WindowUpdated: self._window_opened,
            events.RemoteSettingsChanged: self._settings_received,
            events.ConnectionTerminated: self._goaway_received,
        }

    async def run(self) -> None:
        """Serve the connection until it ends, then close the transport."""
        self.h2.start()
        self._last_received = trio.current_time()
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for task in self._tasks():
                        nursery.start_soon(task)
                    await self._write()
                    nursery.cancel_scope.cancel()
        finally:
            self.close(Failure(Status.UNAVAILABLE, "the connection was closed"))
            await self._close_transport()
            # Otherwise all of it would stay in memory until the garbage collector runs.
            self._handlers.clear()
            self.h2.break_cycles()

    @property
    def has_room(self) -> bool:
        """Whether calls may queue more."""
        return self.h2.outgoing_size < _HIGH_WATER

    def flush(self) -> None:
        """Have what is queued written: soon, together with what other calls are about to add.

        It is written at once if there is nothing to expect from others, because there is only one
        call, or little has come since they ran.
        """
        size = self.h2.outgoing_size
        if not size or not self._output:
            return  # Or the task that writes will see it.
        if size <= _WRITTEN_AT_ONCE and (self._quiet or len(self.streams) < 2):
            self._quiet = False
            self._write_now()
        if self.h2.outgoing_size:
            self.flush_soon()

    def flush_soon(self) -> None:
        """Have what is queued written when the tasks that are about to run have added to it."""
        wake_all(self._output)

    def _write_now(self) -> None:
        """Write what a plain socket takes, which is cheaper than to switch to the task that writes.

        That task gets the rest, and any error.
        """
        sent = self._transport.send_now(self.h2.outgoing)
        self.h2.drop_outgoing(sent)
        self.bytes_sent += sent

    def close(self, failure: Failure, *, code: ErrorCodes | None = ErrorCodes.NO_ERROR) -> None:
        """End the connection, with a GOAWAY unless `code` is None."""
        if self.failure is not None:
            return
        self.failure = failure
        failure.drop_traceback()
        if code is not None:
            self.h2.close_connection(code, additional_data=failure.message.encode())
        for stream in self.streams.values():
            stream.fail(failure)
        self.streams.clear()
        self.give_up_at(trio.current_time())
        # Even if nothing is queued: the writing task has to end.
        wake_all(self._output)
        self._changed()

    def drain(self, last_stream_id: int) -> None:
        """Announce that there will be no new streams; close when the present ones have ended."""
        if self.failure is None and not self.draining:
            self.draining = True
            self.h2.announce_goaway(last_stream_id)
            self.flush()
            self._changed()
            self._close_if_drained()

    def give_up_at(self, deadline: float) -> None:
        """End the connection a moment after this time, whatever the other side does."""
        self._scope.deadline = min(self._scope.deadline, deadline + _CLOSE_TIMEOUT)

    def return_credit(self, stream: HTTP2Stream, size: int) -> None:
        """Let the other side send so much more on this stream."""
        if self.failure is None and self.h2.is_open(stream.id):
            self.h2.increment_flow_control_window(size, stream.id)
            self.flush()

    def reset_stream(self, stream: HTTP2Stream, code: ErrorCodes) -> None:
        """Send RST_STREAM, unless the stream is closed already."""
        if self.streams.get(stream.id) is stream:
            if self.h2.is_open(stream.id):
                self.h2.reset_stream(stream.id, code)
                self.flush()
            self.stream_closed(stream)

    def stream_closed(self, stream: HTTP2Stream) -> None:
        """Both sides have ended the stream, or one has reset it."""
        if self.streams.pop(stream.id, None) is not None:
            self.h2.forget(stream.id)
            self._changed()
            self._close_if_drained()

    # For the two ends to override.

    def _tasks(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs beside the task that writes."""
        return [self._read, self._keep_alive]

    def _changed(self) -> None:  # noqa: B027
        """There may be room for another stream, or there never will be."""

    @abstractmethod
    def _request_received(self, event: events.RequestReceived) -> None:
        """The other side opens a stream."""

    @abstractmethod
    def _goaway_received(self, event: events.ConnectionTerminated) -> None:
        """The other side wants no more streams."""

    async def _turn(self) -> int:
        """Wait until received frames may be handled, and return how many of them."""
        return _FRAMES_PER_TURN

    def _turn_ended(self, frames: int) -> None:  # noqa: B027
        """Count the frames that were handled in a turn."""

    def _count(self, frame: Frame) -> None:  # noqa: B027
        """Look at a frame before it is handled."""

    @property
    def _has_calls(self) -> bool:
        """Whether a lost peer has to be noticed."""
        return True

    async def _call(self) -> None:  # noqa: B027
        """Wait for a call to be made."""

    # The tasks.

    async def _write(self) -> None:
        while True:
            self._write_now()
            data = self.h2.data_to_send()
            if data:
                self._writing = True
                self._write_began = trio.current_time()
                try:
                    await self._transport.stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                    self.close(_lost(exc), code=None)
                    return
                self._writing = False
                self.bytes_sent += len(data)
            for stream in tuple(self.blocked):
                stream.opened()
            if self.h2.outgoing_size:
                continue
            if self.failure is not None:
                return
            await self._output.park()

    async def _read(self) -> None:
        while self.failure is None:
            try:
                data = await self._transport.receive()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                self.close(_lost(exc), code=None)
                return
            if not data:
                self.close(Failure(Status.UNAVAILABLE, "the other side closed the connection"))
                return
            self._last_received = trio.current_time()
            self.bytes_received += len(data)
            if self._writing and self._last_received > self._write_began + self._write_timeout:
                # It sends, so the keepalive would not notice.
                message = f"the other side has not read for {self._write_timeout:g} s"
                self.close(Failure(Status.UNAVAILABLE, message), code=None)
                return
            more = self._receive(data, await self._turn())
            while more and self.failure is None:
                await trio.lowlevel.checkpoint()
                more = self._receive(b"", await self._turn())

    async def _keep_alive(self) -> None:
        """Notice a peer that does not begin with HTTP/2, and later one that is lost."""
        with trio.move_on_after(self._handshake_timeout):
            await self._ready.wait()
        if not self._ready.is_set():
            failure = Failure(
                Status.UNAVAILABLE,
                f"the other side did not speak HTTP/2 within {self._handshake_timeout:.3g} s",
            )
            self.close(failure, code=ErrorCodes.SETTINGS_TIMEOUT)
            return
        while True:
            due = self._last_received + self._keepalive_interval
            await trio.sleep_until(due)
            asked = trio.current_time()
            if self._last_received + self._keepalive_interval > due:
                continue
            if not self._has_calls:
                await self._call()
                continue
            self.h2.ping(_PING)
            self.flush()
            await trio.sleep(self._keepalive_timeout)
            if self._last_received < asked:
                failure = Failure(
                    Status.UNAVAILABLE,
                    f"the other side has not answered a ping for {self._keepalive_timeout:g} s",
                )
                self.close(failure)
                return

    async def _close_transport(self) -> None:
        with trio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                # Nothing can be sent in the middle of a frame.
                if not self._writing:
                    await self._transport.stream.send_all(self.h2.data_to_send())
            await self._transport.stream.aclose()
            return
        await trio.aclose_forcefully(self._transport.stream)

    # What was received.

    def _receive(self, data: bytes | bytearray, most: int) -> bool:
        """Handle what was received, at most so many frames of it; whether more are left."""
        more, handled = False, 0
        try:
            self.h2.feed(data)
            for handled in range(1, most + 1):  # noqa: B007 - the turn counts them
                more = self._receive_frame()
                if not more:
                    break
                if self.failure is not None:
                    return False
        except ProtocolError as exc:
            log.info("%s broke HTTP/2: %s", self.peer.addr() or "the other side", exc)
            # h2 has queued the GOAWAY, with the code of the error.
            message = f"the other side broke HTTP/2: {exc}"
            self.close(Failure(Status.UNAVAILABLE, message, exc), code=None)
            return False
        except Exception as exc:
            log.exception("%s sent data that h2 cannot handle", self.peer.addr())
            message = "the other side sent data that cannot be handled"
            self.close(Failure(Status.INTERNAL, message, exc), code=ErrorCodes.INTERNAL_ERROR)
            return False
        finally:
            self._turn_ended(handled)
        if self.h2.outgoing_size > _MAX_OUTGOING:
            failure = Failure(Status.UNAVAILABLE, "the other side asks much and reads nothing")
            self.close(failure, code=ErrorCodes.ENHANCE_YOUR_CALM)
        self.flush()
        self._quiet = handled <= _FEW_FRAMES
        return more

    def _receive_frame(self) -> bool:
        """Handle the next frame; whether there was a whole one."""
        if not self.h2.has_unread:
            return False
        plain = self.h2.next_plain_data()
        if plain is not None:
            stream_id, data, ended = plain
            self._take_data(stream_id, data, len(data), ended=ended)
            if ended:
                self._end_received(stream_id)
            return True
        received = self.h2.next_plain_headers()
        if received is None:
            frame = self.h2.next_frame()
            if frame is None:
                return False
            self._count(frame)
            if self.failure is not None:
                return True
            received = self.h2.receive_frame(frame)
        for event in received:
            handle = self._handlers.get(type(event))
            if handle is not None and self.failure is None:
                handle(event)
        return True

    def _headers_received(self, event: events.ResponseReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            try:
                headers = self._checked(event.headers, check_response)
            except MalformedError as exc:
                self._malformed(stream, exc)
            else:
                stream.headers_received(headers)

    def _data_received(self, event: events.DataReceived) -> None:
        ended = event.stream_ended is not None
        self._take_data(event.stream_id, event.data, event.flow_controlled_length, ended=ended)

    def _take_data(self, stream_id: int, data: bytes, size: int, *, ended: bool) -> None:
        """Take data; `size` is what counts for flow control, padding included."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.data_received(data, size)
        self._credit += size
        if self._credit >= _CREDIT_STEP:
            self.h2.increment_flow_control_window(self._credit)
            self._credit = 0

    def _trailers_received(self, event: events.TrailersReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            try:
                headers = self._checked(event.headers, check_trailers)
            except MalformedError as exc:
                self._malformed(stream, exc)
            else:
                stream.trailers_received(headers)

    def _checked(self, fields: list[Any], check: Callable[[Headers], None]) -> Headers:
        """The fields as text, after they were checked, which is done once for those that repeat.

        Raises:
          MalformedError: they break a rule.
        """
        key = (check, *fields)
        headers = self._known_headers.get(key)
        if headers is None:
            headers = text_headers(fields)
            check(headers)
            if len(self._known_headers) >= _MAX_KNOWN:
                self._known_headers.clear()
            if sum(len(name) + len(value) for name, value in headers) <= _MAX_KNOWN_SIZE:
                self._known_headers[key] = headers
        return headers

    def _malformed(self, stream: HTTP2Stream, exc: MalformedError) -> None:
        failure = Failure(Status.INTERNAL, f"the other side broke HTTP/2: {exc}", exc)
        failure.drop_traceback()
        stream.fail(failure)
        self.reset_stream(stream, ErrorCodes.PROTOCOL_ERROR)

    def _end_received(self, stream_id: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.end_received()
            if stream.local_ended:
                self.stream_closed(stream)

    def _reset_received(self, event: events.StreamReset) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.fail(failure_of_reset(event.error_code, remote=event.remote_reset))
            self.stream_closed(stream)
        else:
            self.h2.forget(event.stream_id)

    def _window_opened(self, event: events.WindowUpdated) -> None:
        if event.stream_id == 0:
            for stream in tuple(self.blocked):
                stream.opened()
        elif event.stream_id in self.streams:
            self.streams[event.stream_id].opened()

    def _settings_received(self, _event: events.RemoteSettingsChanged) -> None:
        self._ready.set()
        for stream in tuple(self.blocked):
            stream.opened()
        self._changed()

    def _close_if_drained(self) -> None:
        if self.draining and not self.streams:
            self.close(Failure(Status.UNAVAILABLE, "the connection was closed"))


def _lost(cause: BaseException) -> Failure:
    return Failure(Status.UNAVAILABLE, f"the connection was lost: {cause}", cause)
