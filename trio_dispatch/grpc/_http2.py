"""The frames of most calls, sent and received without h2's tables and objects."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from h2.connection import AllowedStreamIDs, ConnectionState
from h2.events import (
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.stream import (
    H2Stream,
    H2StreamStateMachine,
    StreamClosedBy,
    StreamInputs,
    StreamState,
)
from h2.windows import LARGEST_FLOW_CONTROL_WINDOW
from hyperframe.frame import Frame, WindowUpdateFrame

from ._strict_h2 import StrictH2

# A DATA frame is no longer than this, even to a peer that would take it: a long message must let
# the short ones of other streams pass.
MAX_DATA = 64 * 1024

# The length in two parts, type and flags in one, the stream.
_FRAME_HEADER = struct.Struct(">BHHL")
_DATA, _HEADERS, _WINDOW_UPDATE, _CONTINUATION = 0x0000, 0x0100, 0x0800, 0x0900
_END_STREAM, _END_HEADERS = 0x01, 0x04
_OPEN_CONNECTION = (ConnectionState.CLIENT_OPEN, ConnectionState.SERVER_OPEN)
_OPEN_TO_RECEIVE = (StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL)
_OPEN_TO_SEND = (StreamState.OPEN, StreamState.HALF_CLOSED_REMOTE)


class HTTP2(StrictH2):
    """The state of one HTTP/2 connection, with fast paths.

    Headers and DATA are sent, and plain DATA, WINDOW_UPDATE and header blocks that repeat are
    received in a fraction of the time that h2 takes.  What h2 would object to, or answer, is left
    to h2.
    """

    def __init__(
        self,
        *,
        client_side: bool,
        stream_window: int,
        max_streams: int | None = None,
        max_header_list_size: int,
    ) -> None:
        super().__init__(
            client_side=client_side,
            stream_window=stream_window,
            max_streams=max_streams,
            max_header_list_size=max_header_list_size,
        )
        self.data_frames_sent = 0
        self._window_update = WindowUpdateFrame(0)

    # Sending.

    def send_headers(
        self,
        stream_id: int,
        headers: Iterable[Any],
        end_stream: bool = False,
        priority_weight: int | None = None,
        priority_depends_on: int | None = None,
        priority_exclusive: bool | None = None,
    ) -> None:
        """Queue headers or trailers; priorities are not supported.

        They take a shorter way than in h2, which would check them again.  The owner of a client
        counts the streams.
        """
        stream = self.streams.get(stream_id)
        if self.state_machine.state not in _OPEN_CONNECTION:
            super().send_headers(stream_id, headers, end_stream)
            return
        if stream is None:
            stream = self._begin_new_stream(stream_id, AllowedStreamIDs(self.client_side))
        _headers_sent(stream.state_machine)
        if end_stream:
            _end_sent(stream.state_machine)
        elif stream.state_machine.trailers_sent:
            raise ProtocolError("trailers have to end the stream")
        block, longest = self.encoder.encode(headers), self.max_outbound_frame_size
        kind_and_flags = _HEADERS | _END_STREAM if end_stream else _HEADERS
        while len(block) > longest:
            self._queue_frame(kind_and_flags, stream_id, block[:longest])
            block, kind_and_flags = block[longest:], _CONTINUATION
        self._queue_frame(kind_and_flags | _END_HEADERS, stream_id, block)

    def queue_data(
        self, stream_id: int, data: bytes | memoryview, *, end_stream: bool = False
    ) -> bool:
        """Queue all of the data, unless a window is too small for it.

        It does what h2's `send_data` does, which takes several times as long.
        """
        stream, size = self.streams.get(stream_id), len(data)
        if (
            stream is None
            or not stream.open
            or size > self.outbound_flow_control_window
            or size > stream.outbound_flow_control_window
        ):
            return False
        if end_stream:
            _end_sent(stream.state_machine)
        longest, begin = min(self.max_outbound_frame_size, MAX_DATA), 0
        if size > longest:
            data = memoryview(data)
            for begin in range(0, size - longest, longest):
                self._queue_frame(_DATA, stream_id, data[begin : begin + longest])
                self.data_frames_sent += 1
            data = data[begin + longest :]
        self._queue_frame(_DATA | _END_STREAM if end_stream else _DATA, stream_id, data)
        self.data_frames_sent += 1
        self.outbound_flow_control_window -= size
        stream.outbound_flow_control_window -= size
        return True

    def _queue_frame(self, kind_and_flags: int, stream_id: int, data: bytes | memoryview) -> None:
        size = len(data)
        self._data_to_send += _FRAME_HEADER.pack(
            size >> 16, size & 0xFFFF, kind_and_flags, stream_id
        )
        self._data_to_send += data

    @property
    def outgoing(self) -> bytearray:
        """What waits to be sent, see `drop_outgoing`."""
        return self._data_to_send

    def drop_outgoing(self, size: int) -> None:
        """Forget the first so many bytes of what waits to be sent: they were."""
        del self._data_to_send[:size]

    @property
    def outgoing_size(self) -> int:
        """The number of bytes that wait to be sent."""
        return len(self._data_to_send)

    # Receiving.

    def next_plain_data(self) -> tuple[int, bytes, bool] | None:
        """Take the next frame, if it is DATA to which h2 would have no objection and no answer.

        Most frames are: DATA without padding, within the windows, on an open stream.  To parse and
        handle one as any other frame takes several times as long.

        Returns:
          The stream, the data, and whether the stream ends; None if the next frame is another one,
          or is not complete.
        """
        buffer = self.incoming_buffer
        waiting = buffer._data
        if len(waiting) < _FRAME_HEADER.size or buffer._headers_buffer:
            return None
        high, low, kind_and_flags, stream_id = _FRAME_HEADER.unpack_from(waiting)
        size = high << 16 | low
        end = _FRAME_HEADER.size + size
        if (
            kind_and_flags & ~_END_STREAM != _DATA
            or not size
            or end > len(waiting)
            or size > buffer.max_frame_size
        ):
            return None
        stream = self.streams.get(stream_id)
        if (
            stream is None
            or stream.state_machine.state not in _OPEN_TO_RECEIVE
            or not stream.state_machine.headers_received
            or stream._expected_content_length is not None
            or self.state_machine.state not in _OPEN_CONNECTION
        ):
            return None
        windows = self._inbound_flow_control_window_manager, stream._inbound_window_manager
        if size > windows[0].current_window_size or size > windows[1].current_window_size:
            return None
        for window in windows:
            window.current_window_size -= size
        data = bytes(waiting[_FRAME_HEADER.size : end])
        del waiting[:end]
        if kind_and_flags:
            _end_received(stream.state_machine)
        return stream_id, data, bool(kind_and_flags)

    def next_plain_headers(self) -> list[Event] | None:
        """Handle the next frame, if it is HEADERS to which h2 would have no objection.

        Most are: a whole block that has come before, of a request, a response, or the trailers of a
        response.

        Returns:
          What the frame means to the owner; None if the next frame is another one, or is not
          complete.
        """
        buffer = self.incoming_buffer
        waiting = buffer._data
        if len(waiting) < _FRAME_HEADER.size or buffer._headers_buffer:
            return None
        high, size, kind_and_flags, stream_id = _FRAME_HEADER.unpack_from(waiting)
        end = _FRAME_HEADER.size + size
        if (
            kind_and_flags & ~_END_STREAM != _HEADERS | _END_HEADERS
            or high
            or end > len(waiting)
            or not self._has_settings
            or self.state_machine.state not in _OPEN_CONNECTION
        ):
            return None
        headers = self.decoder.remembered(bytes(waiting[_FRAME_HEADER.size : end]))
        if headers is None or any(map(_concerns_h2, headers)):
            return None
        ended = bool(kind_and_flags & _END_STREAM)
        events = self._headers_received(stream_id, headers, ended=ended)
        if events is not None:
            del waiting[:end]
        return events

    def _headers_received(
        self, stream_id: int, headers: tuple[Any, ...], *, ended: bool
    ) -> list[Event] | None:
        """Change the state of a stream as headers demand, unless h2 would object to them."""
        event: RequestReceived | ResponseReceived | TrailersReceived
        stream = self.streams.get(stream_id)
        if stream is None:
            if (
                self.client_side
                or not stream_id % 2
                or not self.highest_inbound_stream_id < stream_id < 1 << 31
            ):
                return None
            machine = self._begin_new_stream(stream_id, AllowedStreamIDs.ODD).state_machine
            machine.state, machine.client = StreamState.OPEN, False
            machine.headers_received = True
            event = RequestReceived(stream_id=stream_id)
        else:
            machine = stream.state_machine
            if (
                not self.client_side
                or machine.state not in _OPEN_TO_RECEIVE
                or stream._expected_content_length is not None
            ):
                return None
            if not machine.headers_received:
                machine.headers_received = True
                event = ResponseReceived(stream_id=stream_id)
            elif ended and not machine.trailers_received:
                machine.trailers_received = True
                event = TrailersReceived(stream_id=stream_id)
            else:
                return None
        event.headers = list(headers)
        if not ended:
            return [event]
        _end_received(machine)
        event.stream_ended = StreamEnded(stream_id=stream_id)
        return [event, event.stream_ended]

    def next_frame(self) -> Frame | None:
        """The next whole frame, CONTINUATION frames joined to theirs; None until more is fed.

        Raises:
          ProtocolError: the other side broke HTTP/2; a GOAWAY that says so is queued.
        """
        return self._next_window_update() or super().next_frame()

    def _next_window_update(self) -> WindowUpdateFrame | None:
        """The next frame, if it is a WINDOW_UPDATE: a client may send three for each reply."""
        buffer = self.incoming_buffer
        waiting = buffer._data
        if len(waiting) < _FRAME_HEADER.size + 4 or buffer._headers_buffer:
            return None
        high, size, kind_and_flags, stream_id = _FRAME_HEADER.unpack_from(waiting)
        increment = int.from_bytes(waiting[_FRAME_HEADER.size : _FRAME_HEADER.size + 4], "big")
        if (
            kind_and_flags & 0xFF00 != _WINDOW_UPDATE
            or high
            or size != 4
            or not 0 < increment < 1 << 31
        ):
            return None
        del waiting[: _FRAME_HEADER.size + 4]
        # It is handled before the next one comes.
        frame = self._window_update
        frame.stream_id, frame.window_increment = stream_id & 0x7FFF_FFFF, increment
        return frame

    def _receive_window_update_frame(
        self, frame: WindowUpdateFrame
    ) -> tuple[list[Frame], list[Event]]:
        stream_id, increment = frame.stream_id, frame.window_increment
        stream = self.streams.get(stream_id)
        if self.state_machine.state not in _OPEN_CONNECTION:
            return super()._receive_window_update_frame(frame)
        if stream is None and 0 < stream_id <= self.highest_inbound_stream_id and stream_id % 2:
            return [], []  # The stream has ended.
        # As in h2, without its tables; it objects to a window that is too large.
        of: HTTP2 | H2Stream | None = stream if stream_id else self
        if of is None or (stream is not None and not stream.open):
            return super()._receive_window_update_frame(frame)
        if of.outbound_flow_control_window + increment > LARGEST_FLOW_CONTROL_WINDOW:
            return super()._receive_window_update_frame(frame)
        of.outbound_flow_control_window += increment
        return [], [WindowUpdated(stream_id=stream_id, delta=increment)]


def _concerns_h2(header: tuple[bytes, bytes]) -> bool:
    """Whether h2 has to look at a header: the length, or the status of an interim response."""
    name, value = header
    return name == b"content-length" or (name == b":status" and value[:1] == b"1")


# The usual transitions of h2's table for streams, which takes long to look up: its keys are enums.


def _headers_sent(machine: H2StreamStateMachine) -> None:
    if machine.state is StreamState.IDLE:
        machine.state, machine.client, machine.headers_sent = StreamState.OPEN, True, True
    elif machine.state in _OPEN_TO_SEND and machine.client is False and not machine.trailers_sent:
        # A response; if one was sent before, its trailers.
        machine.trailers_sent, machine.headers_sent = machine.headers_sent, True
    else:
        machine.process_input(StreamInputs.SEND_HEADERS)


def _end_sent(machine: H2StreamStateMachine) -> None:
    if machine.state is StreamState.OPEN:
        machine.state = StreamState.HALF_CLOSED_LOCAL
    elif machine.state is StreamState.HALF_CLOSED_REMOTE:
        machine.state = StreamState.CLOSED
        machine.stream_closed_by = StreamClosedBy.SEND_END_STREAM
    else:
        machine.process_input(StreamInputs.SEND_END_STREAM)


def _end_received(machine: H2StreamStateMachine) -> None:
    """The stream must be open to receive."""
    if machine.state is StreamState.OPEN:
        machine.state = StreamState.HALF_CLOSED_REMOTE
    else:
        machine.state = StreamState.CLOSED
        machine.stream_closed_by = StreamClosedBy.RECV_END_STREAM
