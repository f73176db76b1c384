"""The names of other packages that belong to the interface of this one."""

from __future__ import annotations

from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError

from ..protobuf.codec import DecodeError, EncodeError, MessageCodec

__all__ = ["Cardinality", "DecodeError", "EncodeError", "GRPCError", "MessageCodec", "Status"]
