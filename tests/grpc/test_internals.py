"""The private parts of grpclib, h2, hpack and betterproto2 that this package uses.

When an upgrade of one of them moves something, this says what.
"""

from __future__ import annotations

import inspect
import subprocess
import sys

import betterproto2.grpclib
import grpclib.client
import grpclib.const
import grpclib.encoding.base
import grpclib.metadata
import grpclib.protocol
import grpclib.server
import grpclib.stream
import h2.connection
import h2.exceptions
import h2.frame_buffer
import h2.stream
import hpack
import hpack.table
import pytest

from trio_dispatch.grpc import Channel, ClientStream, Deadline, ServerStream
from trio_dispatch.grpc._peer import Peer

EXPECTED = {
    grpclib.server.Stream: [
        "_send_initial_metadata_done",
        "_send_message_done",
        "_send_trailing_metadata_done",
        "_cancel_done",
    ],
    grpclib.stream.StreamIterator: ["__aiter__", "__anext__", "recv_message"],
    grpclib.metadata: [
        "_Metadata",
        "Deadline",
        "decode_grpc_message",
        "encode_grpc_message",
        "encode_metadata",
    ],
    grpclib.encoding.base.CodecBase: ["__content_subtype__", "encode", "decode"],
    grpclib.encoding.base.StatusDetailsCodecBase: ["encode", "decode"],
    h2.connection.H2Connection: [
        "_prepare_for_sending",
        "_terminate_connection",
        "_receive_goaway_frame",
        "_receive_headers_frame",
        "_receive_priority_frame",
        "_receive_rst_stream_frame",
        "_receive_naked_continuation",
        "_handle_data_on_closed_stream",
        "_get_stream_by_id",
        "_stream_closed_by",
        "MAX_CLOSED_STREAMS",
        "open_inbound_streams",
        "open_outbound_streams",
    ],
    hpack.Encoder: ["encode"],
    hpack.Decoder: ["decode"],
    hpack.table.HeaderTable: ["maxsize"],
    betterproto2.grpclib.ServiceBase: ["_call_rpc_handler_server_stream"],
    betterproto2.grpclib.ServiceStub: [
        "_unary_unary",
        "_unary_stream",
        "_stream_unary",
        "_stream_stream",
    ],
}


@pytest.mark.parametrize("owner", EXPECTED, ids=lambda owner: owner.__name__)
def test_used_names_exist(owner: object) -> None:
    assert [name for name in EXPECTED[owner] if not hasattr(owner, name)] == []


def test_attributes_of_instances() -> None:
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    pseudo = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
    connection.send_headers(1, pseudo)
    assert connection.state_machine.state is h2.connection.ConnectionState.CLIENT_OPEN
    assert connection.streams[1].open
    assert connection.streams[1].closed_by is None
    assert connection.streams[1].state_machine.state is h2.stream.StreamState.OPEN
    assert not connection.streams[1].state_machine.headers_received
    assert connection.streams[1]._expected_content_length is None
    assert callable(connection.streams[1]._track_content_length)
    for window in (
        connection._inbound_flow_control_window_manager,
        connection.streams[1]._inbound_window_manager,
    ):
        assert window.current_window_size == 65_535
    for name in ("_data_to_send", "_closed_streams", "_frame_dispatch_table", "streams"):
        assert hasattr(connection, name)
    assert type(connection.encoder) is hpack.Encoder
    assert type(connection.decoder) is hpack.Decoder
    assert isinstance(connection.incoming_buffer, h2.frame_buffer.FrameBuffer)
    assert isinstance(connection.incoming_buffer._data, bytearray)
    assert connection.incoming_buffer._headers_buffer == []
    for coder in (connection.encoder, connection.decoder):
        assert type(coder.header_table) is hpack.table.HeaderTable
        assert hasattr(coder.header_table, "dynamic_entries")
        assert coder.header_table.resized is False
        assert coder.header_table.maxsize == 4096
    assert isinstance(connection._data_to_send, bytearray)
    assert hasattr(h2.exceptions.StreamClosedError(1), "_events")
    assert grpclib.metadata.Deadline(_timestamp=1.0)._timestamp == 1.0
    assert grpclib.const.Handler._fields == ("func", "cardinality", "request_type", "reply_type")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ClientStream, grpclib.client.Stream),
        (ServerStream, grpclib.server.Stream),
        (Channel, grpclib.client.Channel),
        (Deadline, grpclib.metadata.Deadline),
        (Peer, grpclib.protocol.Peer),
    ],
)
def test_every_method_of_grpclib_is_there_and_none_of_asyncio_inherited(
    ours: type, theirs: type
) -> None:
    """grpclib's methods use asyncio's streams and clock: each has to be replaced."""
    known = {"from_headers"}
    public = {name for name, _ in inspect.getmembers(theirs) if not name.startswith("_")}
    methods = {name for name in public if inspect.isroutine(getattr(theirs, name))}
    replaced = {name for name in methods if getattr(ours, name) is not getattr(theirs, name)}
    assert methods - replaced <= known


def test_a_client_does_not_import_asyncio() -> None:
    code = (
        "import sys; from trio_dispatch import open_dispatcher; assert 'asyncio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
