"""gRPC on Trio: a channel and a server for generated code.

That is the code which betterproto2, grpclib or grpcio-tools generates.

It runs over any `trio.abc.Stream`, follows Trio's rules of cancellation and of time, and never
starts an asyncio event loop.
"""

from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError

from ..protobuf.codec import DecodeError, EncodeError, MessageCodec
from ._client_stream import ClientStream
from ._deadline import Deadline
from ._dialer import Connector
from ._framing import Compression, FramedMessages, frame_messages
from ._interceptors import ClientInterceptor, Proceed
from ._limits import Limits
from ._metadata import Metadata
from ._retry import RetryPolicy
from ._server_connection import Interceptor
from ._server_stream import ServerStream, current_call
from ._servicers import ServicerContext
from ._services import Servable
from ._status import grpc_error_in
from .calls import open_call
from .channel import Channel, ChannelStatistics, open_channel
from .health import Health, ServingStatus
from .server import KEEPALIVE_INTERVAL, Server, ServerStatistics

__all__ = [
    "KEEPALIVE_INTERVAL",
    "Cardinality",
    "Channel",
    "ChannelStatistics",
    "ClientInterceptor",
    "ClientStream",
    "Compression",
    "Connector",
    "Deadline",
    "DecodeError",
    "EncodeError",
    "FramedMessages",
    "GRPCError",
    "Health",
    "Interceptor",
    "Limits",
    "MessageCodec",
    "Metadata",
    "Proceed",
    "RetryPolicy",
    "Servable",
    "Server",
    "ServerStatistics",
    "ServerStream",
    "ServicerContext",
    "ServingStatus",
    "Status",
    "current_call",
    "frame_messages",
    "grpc_error_in",
    "open_call",
    "open_channel",
]
