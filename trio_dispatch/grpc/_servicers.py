"""The handlers of servicers that grpcio-tools generates, for google.protobuf's messages."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol, TypeAlias, cast

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from ._metadata import MetadataLike
from ._server_stream import ServerStream
from ._services import Method
from ._stub_methods import FunctionCodec

Code: TypeAlias = "Status | int | _StatusCode"
Pairs: TypeAlias = Sequence[tuple[str, str | bytes]]


class _StatusCode(Protocol):
    """An item of `grpc.StatusCode`."""

    @property
    def value(self) -> tuple[int, str]: ...


class ServicerContext:
    """A call in the method of a servicer, with the interface of `grpc.aio.ServicerContext`.

    What is not here is in `call`.

    Attributes:
      call: The call as for other handlers.
    """

    def __init__(self, call: ServerStream[Any, Any]) -> None:
        self.call = call
        self._code = Status.OK
        self._details = ""
        self._trailing_metadata: MetadataLike = ()

    async def abort(
        self, code: Code, details: str = "", trailing_metadata: MetadataLike = ()
    ) -> NoReturn:
        """End the call with a status, by raising `GRPCError`.

        Raises:
          ValueError: the code is OK.
        """
        status = _status(code)
        if status is Status.OK:
            raise ValueError("a call cannot be aborted with the code OK")
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        raise GRPCError(status, details)

    def set_code(self, code: Code) -> None:
        """Set the status that the call has when the method returns or raises."""
        self._code = _status(code)

    def set_details(self, details: str) -> None:
        """Set the message of that status."""
        self._details = details

    def code(self) -> Status:
        """The status that was set, OK at first."""
        return self._code

    def details(self) -> str:
        """The message that was set."""
        return self._details

    def invocation_metadata(self) -> Pairs:
        """The metadata of the request."""
        return tuple(self.call.metadata.items())

    async def send_initial_metadata(self, initial_metadata: MetadataLike) -> None:
        """Send the headers of the response; otherwise the first message sends them."""
        await self.call.send_initial_metadata(metadata=initial_metadata)

    def set_trailing_metadata(self, trailing_metadata: MetadataLike) -> None:
        """Set metadata that is sent with the status."""
        self._trailing_metadata = trailing_metadata
        self.call.set_trailing_metadata(trailing_metadata)

    def trailing_metadata(self) -> Pairs:
        """The metadata that was set."""
        given = self._trailing_metadata
        return tuple(given.items() if isinstance(given, Mapping) else given)

    def time_remaining(self) -> float | None:
        """The seconds until the deadline of the call, None without one."""
        deadline = self.call.deadline
        return None if deadline is None else deadline.time_remaining()

    def peer(self) -> str:
        """The address of the client, as in ``ipv4:127.0.0.1:50123``."""
        address = self.call.peer.addr()
        if not isinstance(address, tuple):
            return f"unix:{address or ''}"
        host, port, *_ = address
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"

    async def write(self, message: Any) -> None:
        """Send a message of a stream, as yielding it does."""
        await self.call.send_message(message)

    def raise_status(self, cause: Exception | None = None) -> None:
        """Raise the status that was set, unless it is OK."""
        if self._code is not Status.OK:
            raise GRPCError(self._code, self._details) from cause


class RpcMethodHandler(Protocol):
    """A handler that `grpc.unary_unary_rpc_method_handler` and its like return."""

    request_streaming: bool
    response_streaming: bool
    request_deserializer: Any
    response_serializer: Any
    unary_unary: Any
    unary_stream: Any
    stream_unary: Any
    stream_stream: Any


class GenericRpcHandler(Protocol):
    """A `grpc.GenericRpcHandler`: finds the handler of a method."""

    def service(self, handler_call_details: Any) -> Any: ...


class HandlerCallDetails(NamedTuple):
    """What a `GenericRpcHandler` is asked for."""

    method: str
    invocation_metadata: Pairs = ()


def find_method(handlers: Iterable[GenericRpcHandler], name: str) -> Method | None:
    """The method with this full name, of the first handler that has it."""
    for generic in handlers:
        handler = generic.service(HandlerCallDetails(name))
        if handler is not None:
            return method_of(handler)
    return None


def method_of(handler: RpcMethodHandler) -> Method:
    """The method that a handler is for."""
    cardinality = {
        (False, False): Cardinality.UNARY_UNARY,
        (False, True): Cardinality.UNARY_STREAM,
        (True, False): Cardinality.STREAM_UNARY,
        (True, True): Cardinality.STREAM_STREAM,
    }[handler.request_streaming, handler.response_streaming]
    function = getattr(handler, cardinality.name.lower())

    async def serve(call: ServerStream[Any, Any]) -> None:
        context = ServicerContext(call)
        request = call if cardinality.client_streaming else await call.recv_message()
        try:
            # Without `async`, the method of the base class above all, it runs at once.
            result = function(request, context)
            if inspect.isawaitable(result):
                result = await result
            if cardinality.server_streaming:
                await _send_replies(call, result)
        except GRPCError:
            raise
        except Exception as exc:
            context.raise_status(exc)
            raise
        context.raise_status()
        if not cardinality.server_streaming:
            await call.send_message(result)

    codec = FunctionCodec(handler.response_serializer, handler.request_deserializer)
    return Method(Handler(serve, cardinality, cast(Any, None), cast(Any, None)), codec=codec)


async def _send_replies(call: ServerStream[Any, Any], replies: Any) -> None:
    """Send what a method yields; None from one that has sent its messages by `write`."""
    if isinstance(replies, AsyncIterable):
        try:
            async for reply in replies:
                await call.send_message(reply)
        finally:
            if isinstance(replies, AsyncGenerator):
                await replies.aclose()
    elif isinstance(replies, Iterable):
        for reply in replies:
            await call.send_message(reply)


def _status(code: Code) -> Status:
    value = code if isinstance(code, int) else code.value
    return Status(value if isinstance(value, int) else value[0])
