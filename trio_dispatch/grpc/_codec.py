"""The codec of messages, from `protobuf`, which knows nothing of gRPC."""

from ..protobuf.codec import DecodeError, EncodeError, MessageCodec

__all__ = ["DecodeError", "EncodeError", "MessageCodec"]
