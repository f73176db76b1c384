"""Calls with bytes as messages, for our channel and our server."""

from __future__ import annotations

from typing import Any

from grpclib.encoding.base import CodecBase

from trio_dispatch.grpc import Cardinality, Channel, ClientStream

KINDS = {
    "Echo": Cardinality.UNARY_UNARY,
    "Repeat": Cardinality.UNARY_STREAM,
    "Join": Cardinality.STREAM_UNARY,
    "Chat": Cardinality.STREAM_STREAM,
}


class RawCodec(CodecBase):
    """Leaves messages as bytes."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


def call(channel: Channel, name: str, **options: Any) -> ClientStream[bytes, bytes]:
    """Make a call of `interop.Bytes`."""
    return channel.request(f"/interop.Bytes/{name}", KINDS[name], bytes, bytes, **options)


async def echo(channel: Channel, message: bytes = b"x", **options: Any) -> bytes | None:
    async with call(channel, "Echo", **options) as echo:
        await echo.send_message(message)
        return await echo.recv_message()
