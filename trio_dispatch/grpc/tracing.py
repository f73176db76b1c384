"""Spans of OpenTelemetry for calls, as interceptors.

They follow the semantic conventions for RPC (https://opentelemetry.io/docs/specs/semconv/rpc/), and
pass the context of a trace in the metadata, by default as the W3C's ``traceparent``.

OpenTelemetry is imported only when an interceptor is made: ``pip install 'trio-dispatch[otel]'``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from grpclib.const import Status

from ._status import grpc_error_in

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

    from ._client_stream import ClientStream
    from ._grpclib import Peer
    from ._interceptors import ClientInterceptor, Proceed
    from ._metadata import Metadata
    from ._server_connection import Interceptor
    from ._server_stream import ServerStream

__all__ = ["is_tracing", "trace_client", "trace_server"]

_NAME: Final = "trio_dispatch.grpc"
_STATUS: Final = "rpc.response.status_code"
# Of the others, the client is to blame.
_FAULTS_OF_SERVERS: Final = frozenset(
    {
        Status.UNKNOWN,
        Status.DEADLINE_EXCEEDED,
        Status.UNIMPLEMENTED,
        Status.INTERNAL,
        Status.UNAVAILABLE,
        Status.DATA_LOSS,
    }
)


def is_tracing() -> bool:
    """Whether this process uses OpenTelemetry: a tracer provider was set.

    Imports nothing, and takes no time otherwise.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return False
    unset = trace.ProxyTracerProvider, trace.NoOpTracerProvider
    return not isinstance(trace.get_tracer_provider(), unset)


def trace_client(tracer_provider: TracerProvider | None = None) -> ClientInterceptor:
    """Return an interceptor for `open_channel` that records a span for each call.

    The span is a child of the caller's, and the server learns of it.

    Args:
      tracer_provider: By default the global one.

    Raises:
      ImportError: opentelemetry-api is not installed.
    """
    from opentelemetry import propagate, trace  # noqa: PLC0415 - an optional dependency

    tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)

    async def intercept(call: ClientStream[Any, Any], proceed: Proceed) -> None:
        method = call.method_name.removeprefix("/")
        span = tracer.start_span(
            method,
            kind=trace.SpanKind.CLIENT,
            attributes={**_attributes(method), **_server(call.authority)},
        )
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(span))
        call.metadata.update(carrier)
        try:
            await proceed()
        except BaseException as exc:
            _failed(span, exc, _status_of(exc), is_error=not isinstance(exc, GeneratorExit))
            raise
        else:
            span.set_attribute(_STATUS, "OK")
        finally:
            if call.peer is not None:
                _set_address(span, "network.peer", call.peer)
            span.end()

    return intercept


def trace_server(tracer_provider: TracerProvider | None = None) -> Interceptor:
    """Return an interceptor for `Server` that records a span for each call.

    The span is a child of the client's if the metadata has one, and the current span of the
    handler.

    Args:
      tracer_provider: By default the global one.

    Raises:
      ImportError: opentelemetry-api is not installed.
    """
    from opentelemetry import propagate, trace  # noqa: PLC0415 - an optional dependency

    tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)

    async def intercept(call: ServerStream[Any, Any], proceed: Proceed) -> None:
        method = call.method_name.removeprefix("/")
        with tracer.start_as_current_span(
            method,
            context=propagate.extract(_carrier(call.metadata)),
            kind=trace.SpanKind.SERVER,
            attributes=_attributes(method),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            _set_address(span, "client", call.peer)
            try:
                await proceed()
            except BaseException as exc:
                status = _status_of(exc)
                if (
                    status is Status.CANCELLED
                    and call.deadline
                    and not call.deadline.time_remaining()
                ):
                    status = Status.DEADLINE_EXCEEDED
                _failed(span, exc, status, is_error=status in _FAULTS_OF_SERVERS)
                raise
            span.set_attribute(_STATUS, "OK")

    return intercept


def _attributes(method: str) -> dict[str, str]:
    return {"rpc.system.name": "grpc", "rpc.method": method}


def _server(authority: str) -> dict[str, str | int]:
    host, _, port = authority.rpartition(":")
    if not host or not port.isdigit():
        return {"server.address": authority}
    return {"server.address": host.strip("[]"), "server.port": int(port)}


def _set_address(span: Span, name: str, peer: Peer) -> None:
    address = peer.addr()
    if isinstance(address, tuple):
        span.set_attribute(f"{name}.address", address[0])
        span.set_attribute(f"{name}.port", address[1])


def _carrier(metadata: Metadata) -> dict[str, list[str]]:
    """The text in the metadata, in which OpenTelemetry looks for the context."""
    return {
        name: [value for value in metadata.getall(name) if isinstance(value, str)]
        for name in metadata
        if not name.endswith("-bin")
    }


def _status_of(exc: BaseException) -> Status:
    if not isinstance(exc, Exception):
        return Status.CANCELLED
    error = grpc_error_in(exc)
    return Status.UNKNOWN if error is None else error.status


def _failed(span: Span, exc: BaseException, status: Status, *, is_error: bool) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    span.set_attribute(_STATUS, status.name)
    if not is_error:
        return
    error = grpc_error_in(exc) if isinstance(exc, Exception) else None
    if isinstance(exc, Exception) and error is None:
        span.record_exception(exc)
        span.set_attribute("error.type", type(exc).__qualname__)
        span.set_status(StatusCode.ERROR)
    else:
        span.set_attribute("error.type", status.name)
        span.set_status(StatusCode.ERROR, error.message if error else None)
