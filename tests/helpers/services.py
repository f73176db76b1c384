"""A stub and a base class of the dispatch service, as betterproto2 would generate them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import betterproto2
from betterproto2.grpclib import ServiceBase, ServiceStub
from grpclib.const import Cardinality, Handler

from trio_dispatch.api import wire
from trio_dispatch.grpc import GRPCError, ServerStream, Status

__all__ = ["DispatchServiceBase", "DispatchServiceStub"]

_R = TypeVar("_R", bound=betterproto2.Message)

_PATH = "/frequenz.api.dispatch.v1.MicrogridDispatchService/"
_UNARY = {
    "list_microgrid_dispatches": (
        "ListMicrogridDispatches",
        wire.ListMicrogridDispatchesRequest,
        wire.ListMicrogridDispatchesResponse,
    ),
    "get_microgrid_dispatch": (
        "GetMicrogridDispatch",
        wire.GetMicrogridDispatchRequest,
        wire.GetMicrogridDispatchResponse,
    ),
    "create_microgrid_dispatch": (
        "CreateMicrogridDispatch",
        wire.CreateMicrogridDispatchRequest,
        wire.CreateMicrogridDispatchResponse,
    ),
    "update_microgrid_dispatch": (
        "UpdateMicrogridDispatch",
        wire.UpdateMicrogridDispatchRequest,
        wire.UpdateMicrogridDispatchResponse,
    ),
    "delete_microgrid_dispatch": (
        "DeleteMicrogridDispatch",
        wire.DeleteMicrogridDispatchRequest,
        wire.DeleteMicrogridDispatchResponse,
    ),
}


class DispatchServiceStub(ServiceStub):
    """Calls of the dispatch service on a channel."""

    async def list_microgrid_dispatches(
        self, message: wire.ListMicrogridDispatchesRequest, **options: Any
    ) -> wire.ListMicrogridDispatchesResponse:
        return await self._call(message, wire.ListMicrogridDispatchesResponse, options)

    async def get_microgrid_dispatch(
        self, message: wire.GetMicrogridDispatchRequest, **options: Any
    ) -> wire.GetMicrogridDispatchResponse:
        return await self._call(message, wire.GetMicrogridDispatchResponse, options)

    async def create_microgrid_dispatch(
        self, message: wire.CreateMicrogridDispatchRequest, **options: Any
    ) -> wire.CreateMicrogridDispatchResponse:
        return await self._call(message, wire.CreateMicrogridDispatchResponse, options)

    async def update_microgrid_dispatch(
        self, message: wire.UpdateMicrogridDispatchRequest, **options: Any
    ) -> wire.UpdateMicrogridDispatchResponse:
        return await self._call(message, wire.UpdateMicrogridDispatchResponse, options)

    async def delete_microgrid_dispatch(
        self, message: wire.DeleteMicrogridDispatchRequest, **options: Any
    ) -> wire.DeleteMicrogridDispatchResponse:
        return await self._call(message, wire.DeleteMicrogridDispatchResponse, options)

    async def _call(
        self, message: betterproto2.Message, response: type[_R], options: dict[str, Any]
    ) -> _R:
        name = type(message).__name__.removesuffix("Request")
        return await self._unary_unary(_PATH + name, message, response, **options)


class DispatchServiceBase(ServiceBase):
    """A dispatch service; each method refuses its calls until a subclass overrides it."""

    async def stream_microgrid_dispatches(
        self, message: wire.StreamMicrogridDispatchesRequest
    ) -> AsyncIterator[wire.StreamMicrogridDispatchesResponse]:
        raise GRPCError(Status.UNIMPLEMENTED)
        yield wire.StreamMicrogridDispatchesResponse()

    async def _stream(self, stream: ServerStream[Any, Any]) -> None:
        await self._call_rpc_handler_server_stream(
            self.stream_microgrid_dispatches, stream, await stream.recv_message()
        )

    def __mapping__(self) -> dict[str, Handler]:
        return {
            _PATH + "StreamMicrogridDispatches": Handler(
                self._stream,
                Cardinality.UNARY_STREAM,
                wire.StreamMicrogridDispatchesRequest,
                wire.StreamMicrogridDispatchesResponse,
            )
        } | {
            _PATH + name: Handler(
                partial(_answer, getattr(self, method, _refuse)),
                Cardinality.UNARY_UNARY,
                request,
                response,
            )
            for method, (name, request, response) in _UNARY.items()
        }


async def _answer(method: Callable[[Any], Awaitable[Any]], stream: ServerStream[Any, Any]) -> None:
    await stream.send_message(await method(await stream.recv_message()))


async def _refuse(_: object) -> None:
    raise GRPCError(Status.UNIMPLEMENTED)
