"""The reactions that several sections require."""

from __future__ import annotations

from h2.errors import ErrorCodes as Code

from tests.helpers.conformance.exchange import (
    accepted,
    allowed,
    connection_error,
    either,
    stream_error,
)

PROTOCOL = connection_error(Code.PROTOCOL_ERROR)
FRAME_SIZE = connection_error(Code.FRAME_SIZE_ERROR)
FLOW_CONTROL = connection_error(Code.FLOW_CONTROL_ERROR)
COMPRESSION = connection_error(Code.COMPRESSION_ERROR)
MALFORMED = stream_error(Code.PROTOCOL_ERROR)
STREAM_CLOSED = stream_error(Code.STREAM_CLOSED)
# On a stream that the client knows to be closed; a server may also discard what comes.
CLOSED = either(STREAM_CLOSED, connection_error(Code.STREAM_CLOSED), allowed(accepted))
# Some frames are invalid on a stream of any state; the state may be looked at first.
MISPLACED = connection_error(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)
