"""gRPC on Trio: a channel and a server for the code that betterproto2 and grpclib generate.

It works over any `trio.abc.Stream`, keeps Trio's rules of cancellation and of time, and never
starts an asyncio event loop.
"""

from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError

from ..protobuf.codec import MessageCodec
from ._client_stream import ClientStream
from ._deadline import Deadline
from ._dialer import Connector
from ._limits import Limits
from ._server_connection import Interceptor
from ._server_stream import ServerStream, current_call
from ._url import Target, parse_url
from .calls import open_call
from .channel import Channel, ChannelStatistics, open_channel
from .server import Server, ServerStatistics

__all__ = [
    "Cardinality",
    "Channel",
    "ChannelStatistics",
    "ClientStream",
    "Connector",
    "Deadline",
    "GRPCError",
    "Interceptor",
    "Limits",
    "MessageCodec",
    "Server",
    "ServerStatistics",
    "ServerStream",
    "Status",
    "Target",
    "current_call",
    "open_call",
    "open_channel",
    "parse_url",
]
