# ruff: noqa: I001 - one statement for each module

from ._client_stream import ClientStream as ClientStream
from ._codec import (
    DecodeError as DecodeError,
    EncodeError as EncodeError,
    MessageCodec as MessageCodec,
)
from ._deadline import Deadline as Deadline
from ._dialer import Connector as Connector
from ._framing import (
    Compression as Compression,
    FramedMessages as FramedMessages,
    frame_messages as frame_messages,
)
from ._grpclib import (
    Cardinality as Cardinality,
    GRPCError as GRPCError,
    Status as Status,
)
from ._interceptors import ClientInterceptor as ClientInterceptor, Proceed as Proceed
from ._limits import Limits as Limits
from ._metadata import Metadata as Metadata
from ._retry import RetryPolicy as RetryPolicy
from ._server_connection import Interceptor as Interceptor
from ._server_stream import ServerStream as ServerStream, current_call as current_call
from ._servicers import ServicerContext as ServicerContext
from ._services import Servable as Servable
from ._status import grpc_error_in as grpc_error_in
from .calls import open_call as open_call
from .channel import (
    Channel as Channel,
    ChannelStatistics as ChannelStatistics,
    open_channel as open_channel,
)
from .health import (
    Health as Health,
    HealthAnswer as HealthAnswer,
    ServingStatus as ServingStatus,
    check_health as check_health,
)
from .server import (
    KEEPALIVE_INTERVAL as KEEPALIVE_INTERVAL,
    Server as Server,
    ServerStatistics as ServerStatistics,
)
