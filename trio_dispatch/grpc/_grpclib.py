"""The names of grpclib that belong to this package's interface, without any asyncio.

The stubs that grpclib and betterproto2 generate take a `grpclib.client.Channel`, open calls of the
type `grpclib.client.Stream`, and show the other end as a `grpclib.protocol.Peer`.  This package has
its own code for all three: it derives from grpclib's classes for type checkers only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError

if TYPE_CHECKING:
    from grpclib.client import Channel, Stream
    from grpclib.protocol import Peer
else:
    from typing import Generic, TypeVar

    from grpclib.stream import StreamIterator

    S = TypeVar("S")
    R = TypeVar("R")

    class Stream(StreamIterator[R], Generic[S, R]):
        """Stands in for `grpclib.client.Stream`: iterating receives messages."""

    Channel = Peer = object

__all__ = ["Cardinality", "Channel", "GRPCError", "Peer", "Status", "Stream"]
