"""h2 with the few differences that gRPC needs.

This file holds everything that the package uses of h2's private parts.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable
from typing import Any

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import (
    DenialOfServiceError,
    FrameTooLargeError,
    InvalidBodyLengthError,
    ProtocolError,
    StreamClosedError,
    StreamIDTooLowError,
)
from h2.settings import SettingCodes, Settings
from h2.stream import (
    H2Stream,
    H2StreamStateMachine,
    StreamClosedBy,
    StreamInputs,
    StreamState,
)
from h2.windows import LARGEST_FLOW_CONTROL_WINDOW
from hpack.exceptions import HPACKError
from hyperframe.exceptions import HyperframeError, InvalidPaddingError
from hyperframe.frame import (
    AltSvcFrame,
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from ._hpack import Decoder, Encoder

# The flow-control window of a whole connection.  It is replenished as data comes in, so that a call
# whose reader is slow does not hold up the others; what waits is bounded by the streams' windows.
CONNECTION_WINDOW = 4 * 1024 * 1024

_INITIAL_WINDOW = 65_535

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


class FaultyFrame(Frame):
    """Stands for a frame that cannot be parsed, which is an error of its stream only."""

    def __init__(self, stream_id: int, code: ErrorCodes) -> None:
        super().__init__(stream_id)
        self.code = code


class HTTP2(H2Connection):
    """The state of one HTTP/2 connection.

    It differs from h2 in this:

    - A GOAWAY, sent or received, leaves the streams alive that it spares.
    - A malformed request or response is an error of its stream (RFC 9113, 8.1.1), and a header
      block that cannot be decompressed is a COMPRESSION_ERROR.  Header fields are validated by the
      owner.
    - Priorities, which RFC 9113 deprecates, are ignored.
    - The server refuses streams beyond MAX_CONCURRENT_STREAMS one by one; h2 would end the
      connection.
    - The owner says when a stream is no longer needed (`forget`); h2 would look through all streams
      whenever one is opened.
    - Received frames are handled one at a time, so that the owner can let other tasks run; plain
      DATA and header blocks that repeat take a fast path.
    """

    # For each stream h2 keeps how it was closed: as long as frames may come late.
    MAX_CLOSED_STREAMS = 1000

    def __init__(
        self,
        *,
        client_side: bool,
        stream_window: int,
        max_streams: int | None = None,
        max_header_list_size: int,
    ) -> None:
        super().__init__(
            H2Configuration(
                client_side=client_side,
                header_encoding=None,
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        settings = {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: stream_window,
            SettingCodes.MAX_HEADER_LIST_SIZE: max_header_list_size,
        }
        if max_streams is not None:
            settings[SettingCodes.MAX_CONCURRENT_STREAMS] = max_streams
        self.client_side = client_side
        self.stream_window = stream_window
        self.local_settings = Settings(client=client_side, initial_values=settings)
        self.encoder = Encoder()
        self.decoder: Decoder = Decoder()
        self.decoder.max_header_list_size = max_header_list_size
        self.data_frames_sent = 0
        self._window_update = WindowUpdateFrame(0)
        self._has_settings = False
        self._frame_dispatch_table[FaultyFrame] = self._receive_faulty_frame

    def start(self) -> None:
        """Queue the preface, the settings and the window of the connection."""
        self.initiate_connection()
        self.increment_flow_control_window(CONNECTION_WINDOW - _INITIAL_WINDOW)

    def break_cycles(self) -> None:
        """Free what refers to this object; nothing can be received any more."""
        self._frame_dispatch_table.clear()

    # Streams.

    @property
    def open_inbound_streams(self) -> int:
        return 0

    @property
    def open_outbound_streams(self) -> int:
        return len(self.streams)

    def is_open(self, stream_id: int) -> bool:
        """Whether frames may still be sent on the stream."""
        stream = self.streams.get(stream_id)
        return stream is not None and stream.open

    def forget(self, stream_id: int) -> None:
        """Drop a closed stream; how it was closed is remembered for frames that come late."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._closed_streams[stream_id] = stream.closed_by

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

    def announce_goaway(self, last_stream_id: int) -> None:
        """Queue a GOAWAY without an error; the streams up to that one go on."""
        state = self.state_machine.state
        self.close_connection(last_stream_id=last_stream_id)
        self.state_machine.state = state

    # Receiving.

    def feed(self, data: bytes | bytearray) -> None:
        """Take what was received; `next_frame` divides it into frames.

        Raises:
          ProtocolError: it does not begin with HTTP/2's preface.
        """
        self.incoming_buffer.max_frame_size = self.max_inbound_frame_size
        self.incoming_buffer.add_data(data)

    @property
    def has_unread(self) -> bool:
        """Whether bytes are left of what was fed."""
        return bool(self.incoming_buffer._data)

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
        update = self._next_window_update()
        if update is not None:
            return update
        buffer = self.incoming_buffer
        try:
            frame = next(buffer, None)
            if frame is None and (buffer._data or buffer._headers_buffer):
                self._check_incomplete_frame()
            return frame
        except InvalidPaddingError as exc:
            self._terminate_connection(ErrorCodes.PROTOCOL_ERROR)
            raise ProtocolError("a frame has invalid padding") from exc
        except ProtocolError as exc:
            if isinstance(exc.__cause__, HyperframeError) and not buffer._headers_buffer:
                frame = self._parse_leniently(exc)
                if frame is not None:
                    return frame
            self._terminate_connection(exc.error_code)
            raise

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

    def _parse_leniently(self, exc: ProtocolError) -> Frame | None:
        """The first frame in the buffer, which hyperframe refuses, if the connection can go on.

        Otherwise the error gets the code that RFC 9113 wants.
        """
        data = self.incoming_buffer._data
        length, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
        stream_id = int.from_bytes(data[5:9], "big") & 0x7FFF_FFFF
        frame: Frame | None = None
        if kind == SettingsFrame.type and stream_id == 0 and flags & 1:
            exc.error_code = ErrorCodes.FRAME_SIZE_ERROR
        elif kind == PriorityFrame.type and stream_id:
            frame = FaultyFrame(stream_id, ErrorCodes.FRAME_SIZE_ERROR)
        elif kind == AltSvcFrame.type:
            frame = ExtensionFrame(kind, stream_id)
        elif kind == WindowUpdateFrame.type and length == 4:
            increment = int.from_bytes(data[9:13], "big") & 0x7FFF_FFFF
            if increment:
                frame = WindowUpdateFrame(stream_id, increment)
            elif stream_id:
                frame = FaultyFrame(stream_id, ErrorCodes.PROTOCOL_ERROR)
        if frame is not None:
            del data[: 9 + length]
        return frame

    def receive_frame(self, frame: Frame) -> list[Event]:
        """Handle a frame; what it means to the owner.

        Raises:
          ProtocolError: the other side broke HTTP/2; a GOAWAY that says so is queued.
        """
        try:
            if not self._has_settings:
                self._check_first_frame(frame)
            if isinstance(frame, HeadersFrame):
                self._check_header_block(len(frame.data))
            frames, events = self._frame_dispatch_table[type(frame)](frame)
        except ProtocolError as exc:
            events = self._stream_error(frame, exc)
        else:
            self._prepare_for_sending(frames)
        return list(events)

    def _check_first_frame(self, frame: Frame) -> None:
        if not isinstance(frame, SettingsFrame) or "ACK" in frame.flags:
            raise ProtocolError("the first frame is not SETTINGS")
        self._has_settings = True

    def _check_incomplete_frame(self) -> None:
        """Refuse a frame that is too long before all of it has come, as h2 does only afterwards."""
        waiting = self.incoming_buffer._data
        length = int.from_bytes(waiting[:3], "big")
        if len(waiting) >= 3 and length > self.max_inbound_frame_size:
            if waiting.startswith(b"HTTP/"):
                raise FrameTooLargeError("it speaks HTTP/1")
            raise FrameTooLargeError(
                f"a frame of {length} bytes is longer than {self.max_inbound_frame_size}"
            )
        self._check_header_block(sum(len(f.data) for f in self.incoming_buffer._headers_buffer))

    def _check_header_block(self, size: int) -> None:
        """Refuse a header block before it is decompressed, which takes time."""
        if size > self.decoder.max_header_list_size:
            raise DenialOfServiceError(
                f"a header block of {size} bytes is longer than {self.decoder.max_header_list_size}"
            )

    def _stream_error(self, frame: Frame, exc: ProtocolError) -> list[Event]:
        """What an error means, if it is one of a stream only; otherwise it ends the connection."""
        if isinstance(exc, StreamClosedError | StreamIDTooLowError):
            closed_by = self._stream_closed_by(exc.stream_id)
            if getattr(exc, "_events", ()) or closed_by is StreamClosedBy.RECV_RST_STREAM:
                return self._reset(exc.stream_id, ErrorCodes.STREAM_CLOSED)
            if closed_by is StreamClosedBy.SEND_RST_STREAM:
                # The other side had sent it before it knew of the reset.
                return []
            if closed_by is not None:
                exc.error_code = ErrorCodes.STREAM_CLOSED
        elif self._is_malformed_message(frame, exc):
            return self._reset(frame.stream_id, ErrorCodes.PROTOCOL_ERROR)
        elif isinstance(exc.__cause__, HPACKError) and type(exc) is ProtocolError:
            exc.error_code = ErrorCodes.COMPRESSION_ERROR
        self._terminate_connection(exc.error_code)
        raise exc

    def _reset(self, stream_id: int, code: ErrorCodes) -> list[Event]:
        """Reset a stream, whatever its state, because of what the other side has sent."""
        if self.is_open(stream_id):
            self.reset_stream(stream_id, code)
        else:
            self._prepare_for_sending([RstStreamFrame(stream_id, code)])
        return [StreamReset(stream_id=stream_id, error_code=code, remote_reset=False)]

    def _is_malformed_message(self, frame: Frame, exc: ProtocolError) -> bool:
        """Whether h2 objects to a message, such as its length or trailers, not to the frame."""
        return (
            (isinstance(exc, InvalidBodyLengthError) or type(exc) is ProtocolError)
            and (exc.__cause__ is None or type(exc.__cause__) is ValueError)
            and isinstance(frame, DataFrame | HeadersFrame)
            and frame.stream_id in self.streams
        )

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Event]]:
        frame.flags.discard("PRIORITY")
        begun = self.streams.get(frame.stream_id)
        length = None if begun is None else begun._expected_content_length
        result = super()._receive_headers_frame(frame)
        stream = self.streams[frame.stream_id]
        if begun is not None and not self.client_side:
            # Trailers, of which h2 forgets what the headers have announced.
            stream._expected_content_length = length
        if "END_STREAM" in frame.flags:
            stream._track_content_length(0, end_stream=True)
        return result

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

    def _receive_priority_frame(self, _frame: Any) -> tuple[list[Frame], list[Event]]:
        return [], []

    def _receive_rst_stream_frame(self, frame: RstStreamFrame) -> tuple[list[Frame], list[Event]]:
        self._check_not_idle(frame.stream_id)
        return super()._receive_rst_stream_frame(frame)

    def _receive_naked_continuation(self, frame: ContinuationFrame) -> None:
        raise ProtocolError(f"CONTINUATION without HEADERS on stream {frame.stream_id}")

    def _receive_faulty_frame(self, frame: FaultyFrame) -> tuple[list[Frame], list[Event]]:
        self._check_not_idle(frame.stream_id)
        return [], self._reset(frame.stream_id, frame.code)

    def _check_not_idle(self, stream_id: int) -> None:
        with contextlib.suppress(StreamClosedError):
            self._get_stream_by_id(stream_id)

    def _handle_data_on_closed_stream(
        self, events: list[Event], exc: StreamClosedError, frame: DataFrame
    ) -> tuple[list[Frame], list[Event]]:
        frames, events = super()._handle_data_on_closed_stream(events, exc, frame)
        if exc._events:
            return frames, events
        if self._stream_closed_by(frame.stream_id) is StreamClosedBy.SEND_RST_STREAM:
            # The other side had sent it before it knew of the reset, which need not be repeated.
            return frames[:-1], events
        reset = StreamReset(
            stream_id=frame.stream_id, error_code=ErrorCodes.STREAM_CLOSED, remote_reset=False
        )
        return frames, [*events, reset]

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        state, outgoing = self.state_machine.state, self._data_to_send
        result: Any = super()._receive_goaway_frame(frame)
        self.state_machine.state, self._data_to_send = state, outgoing
        return result  # type: ignore[no-any-return]


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
