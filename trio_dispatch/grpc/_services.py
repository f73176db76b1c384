"""The methods of services made with generated code."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from typing import Any, NamedTuple, Protocol

import grpclib.const
from betterproto2.grpclib import ServiceBase
from grpclib.encoding.base import CodecBase

from ._server_stream import ServerStream


class Servable(Protocol):
    """A service made with the base classes that betterproto2 or grpclib generates.

    It may have an attribute ``max_request_size``, to take shorter requests only than the server.
    """

    def __mapping__(self) -> dict[str, grpclib.const.Handler]: ...


class Method(NamedTuple):
    """A method of a service."""

    handler: grpclib.const.Handler
    max_request_size: int = sys.maxsize
    """Bytes of a request message."""
    codec: CodecBase | None = None
    """For its messages; by default the server's codec."""


def methods_of(services: Iterable[Servable], codec: CodecBase | None = None) -> dict[str, Method]:
    """All methods of the services, by their full names.

    Args:
      codec: For their messages; by default the server's codec.

    Raises:
      ValueError: two services have a method of the same name.
    """
    methods: dict[str, Method] = {}
    for service in services:
        if isinstance(service, ServiceBase):
            # betterproto2's own leaves the generator of a cancelled call to the garbage collector.
            service._call_rpc_handler_server_stream = _send_replies  # type: ignore[method-assign, assignment]
        size: int = getattr(service, "max_request_size", sys.maxsize)
        for name, handler in service.__mapping__().items():
            if name in methods:
                raise ValueError(f"two services have the method {name}")
            methods[name] = Method(handler, size, codec)
    return methods


async def _send_replies(
    handler: Callable[[Any], Any], stream: ServerStream[Any, Any], request: Any
) -> None:
    """Send the replies that a handler yields; its generator is closed here, in its own task."""
    replies = handler(request)
    if not isinstance(replies, AsyncIterable):
        # A coroutine: a method without a `yield` can only raise, or send nothing.
        await replies
        return
    try:
        async for reply in replies:
            await stream.send_message(reply)
    finally:
        if isinstance(replies, AsyncGenerator):
            await replies.aclose()
