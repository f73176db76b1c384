"""h2 with the few things that gRPC needs otherwise.

All that this package touches of h2's private parts is in this file.
"""

from __future__ import annotations

from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import FrameTooLargeError, StreamClosedError, StreamIDTooLowError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

from ._hpack import Decoder, Encoder

# How much one stream may send that nobody has asked for yet.
STREAM_WINDOW = 256 * 1024
# What may be under way on a whole connection.  It is given back as the data comes, so that a call
# whose reader is slow does not hold up the others; what waits is bounded by the streams' windows.
CONNECTION_WINDOW = 4 * 1024 * 1024

_INITIAL_WINDOW = 65_535


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

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        state, outgoing = self.state_machine.state, self._data_to_send
        result: Any = super()._receive_goaway_frame(frame)
        self.state_machine.state, self._data_to_send = state, outgoing
        return result  # type: ignore[no-any-return]
