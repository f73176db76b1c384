"""The methods of stubs that grpcio-tools generates, for google.protobuf's messages."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeAlias, TypeVar

import grpclib.metadata
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase

from ._client_stream import ClientStream
from ._framing import Compression
from ._metadata import MetadataLike

S = TypeVar("S")
R = TypeVar("R")

Messages: TypeAlias = AsyncIterable[S] | Iterable[S]


class FunctionCodec(CodecBase):
    """A codec of two functions; without a function, the messages are bytes.

    It needs no types, which a stub or a handler of grpcio-tools does not tell.
    """

    __content_subtype__ = "proto"

    def __init__(
        self,
        serialize: Callable[[Any], bytes] | None,
        deserialize: Callable[[bytes], Any] | None,
    ) -> None:
        self._serialize = serialize or bytes
        self._deserialize = deserialize or bytes

    def encode(self, message: Any, message_type: Any) -> bytes:
        return self._serialize(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return self._deserialize(data)


class StubMethod(Generic[S, R]):
    """A method of a stub, on a channel; see `open_call`.

    Args:
      request: `Channel.request`.
      name: As in ``/package.Service/Method``.
    """

    cardinality: Cardinality

    def __init__(
        self, request: Callable[..., ClientStream[S, R]], name: str, codec: CodecBase
    ) -> None:
        self._request = request
        self._name = name
        self._codec = codec

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    def open(
        self,
        request: S | None = None,
        *,
        codec: CodecBase | None = None,
        timeout: float | None = None,
        deadline: grpclib.metadata.Deadline | None = None,
        metadata: MetadataLike | None = None,
        compression: Compression | None = None,
    ) -> ClientStream[S, R]:
        """Open a call, to send and receive message by message, see `open_call`.

        Raises:
          TypeError: the request is missing, or not expected.
        """
        if self.cardinality.client_streaming and request is not None:
            raise TypeError(f"{self._name} takes a stream of requests: send them in the block")
        if not self.cardinality.client_streaming and request is None:
            raise TypeError(f"{self._name} takes a request: pass it after the method")
        call = self._request(
            self._name,
            self.cardinality,
            None,
            None,
            codec=codec or self._codec,
            timeout=timeout,
            deadline=deadline,
            metadata=metadata,
            compression=compression,
        )
        if request is not None:
            call.send_on_entry(request)
        return call


class UnaryUnary(StubMethod[S, R]):
    cardinality = Cardinality.UNARY_UNARY

    async def __call__(self, request: S, **options: Any) -> R:
        """Make a call, with the options of `open`."""
        async with self.open(request, **options) as call:
            return await _only_reply(call)


class UnaryStream(StubMethod[S, R]):
    cardinality = Cardinality.UNARY_STREAM

    async def __call__(self, request: S, **options: Any) -> AsyncIterator[R]:
        """Make a call, with the options of `open`; use that to leave it before its end."""
        async with self.open(request, **options) as call:
            async for reply in call:
                yield reply


class StreamUnary(StubMethod[S, R]):
    cardinality = Cardinality.STREAM_UNARY

    async def __call__(self, requests: Messages[S], **options: Any) -> R:
        """Make a call, with the options of `open`."""
        async with self.open(**options) as call:
            await call.send_request()
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    await call.send_message(request)
            else:
                for request in requests:
                    await call.send_message(request)
            await call.end()
            return await _only_reply(call)


class StreamStream(StubMethod[S, R]):
    cardinality = Cardinality.STREAM_STREAM

    def __call__(self, *_: object, **__: object) -> Any:
        raise TypeError(
            f"{self._name} has streams in both directions: use open_call, and a task to send"
        )


async def _only_reply(call: ClientStream[Any, R]) -> R:
    reply = await call.recv_message()
    assert reply is not None
    return reply
