"""h2 with the few things that gRPC needs otherwise.

All that this package touches of h2's private parts is in this file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event
from h2.exceptions import FrameTooLargeError, StreamClosedError, StreamIDTooLowError
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from h2.stream import StreamState
from hyperframe.frame import DataFrame, Frame, GoAwayFrame

from ._hpack import Decoder, Encoder

# How much one stream may send that nobody has asked for yet.
STREAM_WINDOW = 256 * 1024
# What may be under way on a whole connection.  It is given back as the data comes, so that a call
# whose reader is slow does not hold up the others; what waits is bounded by the streams' windows.
CONNECTION_WINDOW = 4 * 1024 * 1024

_INITIAL_WINDOW = 65_535

# Length in two parts, type, flags, stream.
_FRAME_HEADER = struct.Struct(">HBBBL")
_END_STREAM, _PADDED = 0x1, 0x8

_OPEN_CONNECTION = (ConnectionState.CLIENT_OPEN, ConnectionState.SERVER_OPEN)
_OPEN_TO_DATA = (StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL)


@dataclass(slots=True)
class _Data:
    """A frame of DATA without padding, as far as h2 looks at one."""

    stream_id: int
    data: bytes
    flags: tuple[str, ...]

    @property
    def flow_controlled_length(self) -> int:
        return len(self.data)


class _Frames(FrameBuffer):
    """Divides what comes into frames, as h2 does it.

    Most frames are DATA, and for hyperframe to parse one takes longer than what is done with it: a
    plain one is taken apart here.
    """

    def __next__(self) -> Any:
        data = self._data
        if len(data) >= _FRAME_HEADER.size and not self._headers_buffer:
            high, low, kind, flags, stream_id = _FRAME_HEADER.unpack_from(data)
            size = high << 8 | low
            end = _FRAME_HEADER.size + size
            if (
                kind == DataFrame.type
                and 0 < stream_id < 1 << 31
                and not flags & _PADDED
                and size <= self.max_frame_size
                and end <= len(data)
            ):
                with memoryview(data) as view:
                    payload = bytes(view[_FRAME_HEADER.size : end])
                del data[:end]
                return _Data(stream_id, payload, ("END_STREAM",) if flags & _END_STREAM else ())
        return super().__next__()


class HTTP2(H2Connection):
    """The state of one HTTP/2 connection.

    Three things differ from h2's own: a GOAWAY, sent or received, leaves the streams that it
    spares alive; streams beyond MAX_CONCURRENT_STREAMS are for the server to refuse one by one,
    where h2 would end the connection; and the owner says when a stream is done with (`forget`),
    where h2 would look through all streams whenever one is opened.  Besides, what comes with
    every call and message takes a shorter way (`_Frames`, and the module `_hpack`).
    """

    def __init__(
        self, *, client_side: bool, max_streams: int | None = None, max_header_list_size: int
    ) -> None:
        super().__init__(
            H2Configuration(
                client_side=client_side,
                # Any byte is a character of it: no header can fail to be decoded.
                header_encoding="latin-1",
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        settings = {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: max_header_list_size,
        }
        if max_streams is not None:
            settings[SettingCodes.MAX_CONCURRENT_STREAMS] = max_streams
        self.local_settings = Settings(client=client_side, initial_values=settings)
        self.incoming_buffer = _Frames(server=not client_side)
        receivers: dict[Any, Any] = self._frame_dispatch_table
        receivers[_Data] = self._receive_plain_data
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.decoder.max_header_list_size = max_header_list_size

    def start(self) -> None:
        """Queue the preface, the settings and the window of the connection."""
        self.initiate_connection()
        self.increment_flow_control_window(CONNECTION_WINDOW - _INITIAL_WINDOW)

    @property
    def outgoing_size(self) -> int:
        """How many bytes wait to be sent."""
        return len(self._data_to_send)

    @property
    def open_inbound_streams(self) -> int:
        return 0

    @property
    def open_outbound_streams(self) -> int:
        return len(self.streams)

    def is_open(self, stream_id: int) -> bool:
        """Whether frames may still be sent on the stream.

        (While the events of one read are looked at, h2 knows already how they ended.)
        """
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

    def receive_data(self, data: Any) -> list[Event]:
        happened = super().receive_data(data)
        # h2 looks at the length of a frame only when it has come in whole.
        waiting = self.incoming_buffer._data
        length = int.from_bytes(waiting[:3], "big")
        if len(waiting) >= 3 and length > self.max_inbound_frame_size:
            self.close_connection(ErrorCodes.FRAME_SIZE_ERROR)
            if waiting.startswith(b"HTTP/"):
                raise FrameTooLargeError("it speaks HTTP/1")
            raise FrameTooLargeError(
                f"a frame of {length} bytes is longer than {self.max_inbound_frame_size}"
            )
        return happened

    def _receive_frame(self, frame: Frame) -> list[Event]:
        """As in h2, but without a `repr` of each frame, which takes a tenth of all its time."""
        try:
            frames, events = self._frame_dispatch_table[type(frame)](frame)
        except (StreamClosedError, StreamIDTooLowError) as exc:
            if self._stream_is_closed_by_reset(exc.stream_id):
                happened = list(getattr(exc, "_events", ()))
                if happened:
                    self.reset_stream(exc.stream_id, ErrorCodes.STREAM_CLOSED)
                # Otherwise the other side had sent it before it knew of the reset.
                return happened
            if self._stream_is_closed_by_end(exc.stream_id):
                raise StreamClosedError(exc.stream_id) from exc
            raise
        self._prepare_for_sending(frames)
        return list(events)

    def _receive_plain_data(self, frame: _Data) -> tuple[list[Frame], list[Event]]:
        """As in h2, but for what its state machines would only say yes to."""
        stream = self.streams.get(frame.stream_id)
        if (
            stream is None
            or frame.flags
            or self.state_machine.state not in _OPEN_CONNECTION
            or stream.state_machine.state not in _OPEN_TO_DATA
            or not stream.state_machine.headers_received
        ):
            whole: Any = frame
            return self._receive_data_frame(whole)
        size = len(frame.data)
        self._inbound_flow_control_window_manager.window_consumed(size)
        stream._inbound_window_manager.window_consumed(size)
        stream._track_content_length(size, end_stream=False)
        event = DataReceived(
            stream_id=frame.stream_id, data=frame.data, flow_controlled_length=size
        )
        return [], [event]

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        state, outgoing = self.state_machine.state, self._data_to_send
        result: Any = super()._receive_goaway_frame(frame)
        self.state_machine.state, self._data_to_send = state, outgoing
        return result  # type: ignore[no-any-return]
