"""h2 as RFC 9113 and gRPC need it.

This file and `_http2`, which builds on it, hold everything that the package uses of h2's private
parts.
"""

from __future__ import annotations

import contextlib
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event, StreamReset
from h2.exceptions import (
    DenialOfServiceError,
    FrameTooLargeError,
    InvalidBodyLengthError,
    ProtocolError,
    StreamClosedError,
    StreamIDTooLowError,
)
from h2.settings import SettingCodes, Settings
from h2.stream import StreamClosedBy
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


class FaultyFrame(Frame):
    """Stands for a frame that cannot be parsed, which is an error of its stream only."""

    def __init__(self, stream_id: int, code: ErrorCodes) -> None:
        super().__init__(stream_id)
        self.code = code


class StrictH2(H2Connection):
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
    - Received frames are handled one at a time, so that the owner can let other tasks run.
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

    def next_frame(self) -> Frame | None:
        """The next whole frame, CONTINUATION frames joined to theirs; None until more is fed.

        Raises:
          ProtocolError: the other side broke HTTP/2; a GOAWAY that says so is queued.
        """
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
