"""Opening a call by a method of a stub, of any kind."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from types import MethodType
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

import grpclib.metadata
from betterproto2.grpclib import ServiceStub
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase

from ._client_stream import ClientStream
from ._framing import Compression
from ._metadata import MetadataLike
from ._stub_methods import StubMethod

S = TypeVar("S")
R = TypeVar("R")

_Messages: TypeAlias = AsyncIterable[S] | Iterable[S]


@overload
def open_call(
    method: Callable[[_Messages[S]], Awaitable[R]],
    *,
    codec: CodecBase | None = None,
    timeout: float | None = None,
    deadline: grpclib.metadata.Deadline | None = None,
    metadata: MetadataLike | None = None,
    compression: Compression | None = None,
) -> ClientStream[S, R]: ...


@overload
def open_call(
    method: Callable[[_Messages[S]], AsyncIterator[R]],
    *,
    codec: CodecBase | None = None,
    timeout: float | None = None,
    deadline: grpclib.metadata.Deadline | None = None,
    metadata: MetadataLike | None = None,
    compression: Compression | None = None,
) -> ClientStream[S, R]: ...


@overload
def open_call(
    method: Callable[[S], Awaitable[R]],
    request: S,
    *,
    codec: CodecBase | None = None,
    timeout: float | None = None,
    deadline: grpclib.metadata.Deadline | None = None,
    metadata: MetadataLike | None = None,
    compression: Compression | None = None,
) -> ClientStream[S, R]: ...


@overload
def open_call(
    method: Callable[[S], AsyncIterator[R]],
    request: S,
    *,
    codec: CodecBase | None = None,
    timeout: float | None = None,
    deadline: grpclib.metadata.Deadline | None = None,
    metadata: MetadataLike | None = None,
    compression: Compression | None = None,
) -> ClientStream[S, R]: ...


def open_call(
    method: Callable[..., Any],
    request: Any = None,
    *,
    codec: CodecBase | None = None,
    timeout: float | None = None,
    deadline: grpclib.metadata.Deadline | None = None,
    metadata: MetadataLike | None = None,
    compression: Compression | None = None,
) -> ClientStream[Any, Any]:
    """Open a call of a stub's method, to send and receive message by message::

        async with open_call(stub.chat) as call:
            await call.send_message(HelloRequest(name="Trio"))
            print(await call.recv_message())

        async with open_call(stub.say_hellos, HelloRequest(name="Trio")) as replies:
            async for reply in replies:
                print(reply)

    Use it for streams in both directions, for which betterproto2's stubs start an asyncio task, and
    for streams of replies that may be left before their end: leaving the block closes them.

    Args:
      method: A method of a stub that betterproto2 or grpcio-tools has generated, not called.
      request: The request, for a method that takes a single one. It is sent when the block is
        entered.
      codec: Turns this call's messages into bytes and back; by default the channel's codec.
      timeout, deadline, metadata: As for the method; by default those of the stub.
      compression: How this call's messages are sent; by default as on the channel.

    Raises:
      TypeError: `method` is not a stub's method; or a request is missing, or not expected.
    """
    if isinstance(method, StubMethod):
        return method.open(
            request,
            codec=codec,
            timeout=timeout,
            deadline=deadline,
            metadata=metadata,
            compression=compression,
        )
    stub = getattr(method, "__self__", None)
    if not isinstance(method, MethodType) or not isinstance(stub, ServiceStub):
        raise TypeError(
            f"expected a method of a stub of betterproto2 or grpcio-tools, got {method!r}"
        )
    described = _describe(method, stub, request)
    streaming = described.cardinality.client_streaming
    if streaming and request is not None:
        raise TypeError(f"{described.route} takes a stream of requests: send them in the block")
    if request is None and not streaming:
        raise TypeError(f"{described.route} takes a request: pass it after the method")
    channel: Any = stub.channel
    call: ClientStream[Any, Any] = channel.request(
        *described,
        codec=codec,
        timeout=stub.timeout if timeout is None else timeout,
        deadline=stub.deadline if deadline is None else deadline,
        metadata=stub.metadata if metadata is None else metadata,
        compression=compression,
    )
    if not streaming:
        call.send_on_entry(request)
    return call


class _Description(NamedTuple):
    route: str
    cardinality: Cardinality
    request_type: type[Any]
    reply_type: type[Any]


class _DescribedError(Exception):
    """Carries the call that a stub's method was about to make."""


def _describe(method: MethodType, stub: ServiceStub, request: Any) -> _Description:
    """Find out which call a stub's method makes; only its body knows.

    The method is run up to its first and only step, on a copy of the stub that stops there.
    """

    def unary(cardinality: Cardinality) -> Callable[..., Any]:
        def step(route: str, request: Any, reply_type: type[Any], **_: Any) -> Any:
            raise _DescribedError(_Description(route, cardinality, type(request), reply_type))

        return step

    def streaming(cardinality: Cardinality) -> Callable[..., Any]:
        def step(
            route: str, _requests: Any, request_type: type[Any], reply_type: type[Any], **_: Any
        ) -> Any:
            raise _DescribedError(_Description(route, cardinality, request_type, reply_type))

        return step

    probe: Any = copy.copy(stub)
    probe._unary_unary = unary(Cardinality.UNARY_UNARY)
    probe._unary_stream = unary(Cardinality.UNARY_STREAM)
    probe._stream_unary = streaming(Cardinality.STREAM_UNARY)
    probe._stream_stream = streaming(Cardinality.STREAM_STREAM)
    running = method.__func__(probe, request)
    try:
        (running.__anext__() if hasattr(running, "__anext__") else running).send(None)
    except _DescribedError as described:
        description: _Description = described.args[0]
        return description
    raise TypeError(f"{method!r} makes no call")
