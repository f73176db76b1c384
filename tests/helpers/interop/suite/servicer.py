"""The test service of gRPC's interoperability tests, for our server and C-core's alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from tests.helpers.interop.suite.messages import (
    METHODS,
    SimpleResponse,
    StreamingInputCallResponse,
    StreamingOutputCallResponse,
    path,
    payload,
)

INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"


class Servicer:
    """The methods.

    Args:
      was_compressed: Whether the last message of the call was; None where that cannot be known.
      compress: Sets whether the next reply is compressed.
    """

    def __init__(
        self,
        was_compressed: Callable[[Any], bool] | None,
        compress: Callable[[Any, bool], None],
    ) -> None:
        self._was_compressed = was_compressed
        self._compress = compress

    async def empty_call(self, request: Any, context: Any) -> Any:
        return request

    async def unary_call(self, request: Any, context: Any) -> Any:
        await self._check(request, context)
        self._compress(context, request.response_compressed.value)
        await self._echo_metadata(context)
        await self._echo_status(request, context)
        return SimpleResponse(payload=payload(request.response_size))

    async def streaming_input_call(self, requests: Any, context: Any) -> Any:
        size = 0
        async for request in requests:
            await self._check(request, context)
            size += len(request.payload.body)
        return StreamingInputCallResponse(aggregated_payload_size=size)

    async def streaming_output_call(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for wanted in request.response_parameters:
            self._compress(context, wanted.compressed.value)
            yield StreamingOutputCallResponse(payload=payload(wanted.size))

    async def full_duplex_call(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        await self._echo_metadata(context)
        async for request in requests:
            await self._echo_status(request, context)
            for wanted in request.response_parameters:
                yield StreamingOutputCallResponse(payload=payload(wanted.size))

    async def _check(self, request: Any, context: Any) -> None:
        """Fail unless the request is compressed, or not, as it says."""
        if (
            self._was_compressed is not None
            and request.HasField("expect_compressed")
            and self._was_compressed(context) != request.expect_compressed.value
        ):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not compressed as expected")

    async def _echo_metadata(self, context: Any) -> None:
        metadata = dict(context.invocation_metadata() or ())
        if TRAILING in metadata:
            context.set_trailing_metadata(((TRAILING, metadata[TRAILING]),))
        if INITIAL in metadata:
            await context.send_initial_metadata(((INITIAL, metadata[INITIAL]),))

    async def _echo_status(self, request: Any, context: Any) -> None:
        if request.HasField("response_status"):
            code = request.response_status.code
            [status] = [status for status in grpc.StatusCode if status.value[0] == code]
            await context.abort(status, request.response_status.message)

    def handler(self) -> Any:
        """Return the handler of all methods."""
        methods = {
            "EmptyCall": self.empty_call,
            "UnaryCall": self.unary_call,
            "StreamingInputCall": self.streaming_input_call,
            "StreamingOutputCall": self.streaming_output_call,
            "FullDuplexCall": self.full_duplex_call,
        }
        makers = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        handlers: dict[str, Any] = {}
        for name, function in methods.items():
            _, requests, replies, request_type, reply_type = METHODS[name]
            make: Any = makers[requests, replies]
            handlers[name] = make(
                function,
                request_deserializer=request_type.FromString,
                response_serializer=reply_type.SerializeToString,
            )
        service = path("EmptyCall").split("/")[1]
        return grpc.method_handlers_generic_handler(service, handlers)
