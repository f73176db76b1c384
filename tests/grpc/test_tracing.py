"""Spans of OpenTelemetry for calls."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from trio.testing import MockClock

from tests.helpers.greeter import GreeterStub, HelloReply, HelloRequest
from tests.helpers.greeting import Greeter, serve
from trio_dispatch import open_client
from trio_dispatch.grpc import (
    GRPCError,
    Proceed,
    Server,
    ServerStream,
    Status,
    current_call,
    open_call,
    open_channel,
)
from trio_dispatch.grpc.tracing import is_tracing, trace_client, trace_server
from trio_dispatch.service import open_service

HELLO = "greeter.v1.Greeter/SayHello"


class Spans:
    """A tracer provider that keeps the spans."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def of(self, kind: SpanKind) -> ReadableSpan:
        """The only span of that kind."""
        [span] = [span for span in self.exporter.get_finished_spans() if span.kind is kind]
        return span

    def serve(self, *services: Any) -> Any:
        server = Server(services, interceptors=[trace_server(self.provider)])
        return serve(server, interceptors=[trace_client(self.provider)])


@pytest.fixture
def spans() -> Spans:
    return Spans()


async def test_a_call_has_a_span_on_each_side(spans: Spans) -> None:
    traces = []

    class Traced(Greeter):
        async def say_hello(self, message: HelloRequest) -> HelloReply:
            traces.append(trace.get_current_span().get_span_context())
            metadata = current_call().metadata
            assert metadata is not None
            assert str(metadata["traceparent"]).startswith("00-")
            return await super().say_hello(message)

    tracer = spans.provider.get_tracer("test")
    async with spans.serve(Traced()) as channel:
        with tracer.start_as_current_span("outer") as outer:
            await GreeterStub(channel).say_hello(HelloRequest(name="x"))
    client, server = spans.of(SpanKind.CLIENT), spans.of(SpanKind.SERVER)
    assert client.parent is not None
    assert client.parent.span_id == outer.get_span_context().span_id
    assert server.parent is not None
    assert client.context is not None
    assert server.parent.span_id == client.context.span_id
    assert traces == [server.context]
    common = {
        "rpc.system.name": "grpc",
        "rpc.method": HELLO,
        "rpc.response.status_code": "OK",
    }
    assert client.name == server.name == HELLO
    assert client.attributes == {**common, "server.address": "localhost"}
    assert server.attributes == common
    assert client.status.status_code is server.status.status_code is StatusCode.UNSET


async def test_addresses(spans: Spans, nursery: trio.Nursery) -> None:
    server = Server([Greeter()], interceptors=[trace_server(spans.provider)])
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()
    nursery.start_soon(server.serve_listeners, [listener])
    interceptors = [trace_client(spans.provider)]
    url = f"grpc://{host}:{port}?ssl=false"
    async with open_channel(url, interceptors=interceptors) as channel:
        await GreeterStub(channel).say_hello(HelloRequest())
    server.stop()
    expected = {"server.address": host, "server.port": port, "network.peer.port": port}
    assert (spans.of(SpanKind.CLIENT).attributes or {}).items() >= expected.items()
    assert (spans.of(SpanKind.SERVER).attributes or {})["client.address"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "status", "at_server"),
    [
        ("fail:NOT_FOUND", Status.NOT_FOUND, False),
        ("fail:DATA_LOSS", Status.DATA_LOSS, True),
        ("raise", Status.UNKNOWN, True),
    ],
)
async def test_failed_calls(spans: Spans, name: str, status: Status, at_server: bool) -> None:
    async with spans.serve(Greeter()) as channel:
        with pytest.raises(GRPCError) as caught:
            await GreeterStub(channel).say_hello(HelloRequest(name=name))
    assert caught.value.status is status
    client, server = spans.of(SpanKind.CLIENT), spans.of(SpanKind.SERVER)
    for span in (client, server):
        assert span.attributes is not None
        assert span.attributes["rpc.response.status_code"] == status.name
    assert client.status.status_code is StatusCode.ERROR
    assert client.status.description == caught.value.message
    assert (client.attributes or {})["error.type"] == status.name
    assert (server.status.status_code is StatusCode.ERROR) == at_server
    # The exception itself is for the server only.
    assert [event.name for event in server.events] == (["exception"] if name == "raise" else [])
    assert client.events == ()


async def test_a_deadline(spans: Spans, autojump_clock: MockClock) -> None:
    async with spans.serve(Greeter()) as channel:
        with trio.move_on_after(1):
            await GreeterStub(channel).say_hello(HelloRequest(name="sleep:5"))
        await trio.testing.wait_all_tasks_blocked()
    client, server = spans.of(SpanKind.CLIENT), spans.of(SpanKind.SERVER)
    assert (client.attributes or {})["rpc.response.status_code"] == "CANCELLED"
    assert (server.attributes or {})["rpc.response.status_code"] == "DEADLINE_EXCEEDED"
    assert server.status.status_code is StatusCode.ERROR


async def test_a_stream_that_is_left(spans: Spans) -> None:
    async with spans.serve(Greeter()) as channel:
        stub = GreeterStub(channel)
        async with open_call(stub.say_hellos, HelloRequest(name="forever")) as replies:
            async for _ in replies:
                break
        await trio.testing.wait_all_tasks_blocked()
    client, server = spans.of(SpanKind.CLIENT), spans.of(SpanKind.SERVER)
    assert client.status.status_code is server.status.status_code is StatusCode.UNSET
    assert (server.attributes or {})["rpc.response.status_code"] == "CANCELLED"


async def test_requests_without_or_with_an_invalid_context(spans: Spans) -> None:
    server = Server([Greeter()], interceptors=[trace_server(spans.provider)])
    async with serve(server) as channel:
        invalid: dict[str, str | bytes] = {"traceparent": "nonsense", "tracestate-bin": b"\xff"}
        for metadata in (None, invalid):
            await GreeterStub(channel).say_hello(HelloRequest(), metadata=metadata)
    assert [span.parent for span in spans.exporter.get_finished_spans()] == [None, None]


# The client and the service of dispatches.


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, spans: Spans) -> Spans:
    """The spans of the global provider."""
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: spans.provider)
    monkeypatch.setattr(trace, "get_tracer", lambda name, **_: spans.provider.get_tracer(name))
    return spans


async def test_the_client_and_the_service_use_the_global_provider(
    configured: Spans, nursery: trio.Nursery
) -> None:
    order: list[str] = []

    async def note(call: ServerStream[Any, Any], proceed: Proceed) -> None:
        order.append(type(trace.get_current_span()).__name__)
        await proceed()

    async with open_service(interceptors=[note]) as service:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(service.server.serve_listeners, [listener])
        _, port = listener.socket.getsockname()
        async with open_client(f"grpc://127.0.0.1:{port}?ssl=false") as client:
            [_] = [page async for page in client.list(1)]
        service.stop()
    client_span, server_span = configured.of(SpanKind.CLIENT), configured.of(SpanKind.SERVER)
    assert client_span.name.endswith("/ListMicrogridDispatches")
    assert server_span.parent is not None
    assert client_span.context is not None
    assert server_span.parent.span_id == client_span.context.span_id
    assert order == ["_Span"]  # outermost


async def test_nothing_is_traced_without_a_provider(spans: Spans) -> None:
    assert not is_tracing()
    async with open_service() as service:
        assert len(service.server._service.interceptors) == 1


def test_opentelemetry_is_not_imported() -> None:
    program = """
import sys, trio_dispatch.cli, trio_dispatch.service, trio_dispatch.grpc.tracing as tracing
assert not tracing.is_tracing()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
import opentelemetry.trace as trace
assert not tracing.is_tracing()
trace.set_tracer_provider(trace.NoOpTracerProvider())
assert not tracing.is_tracing()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_provider_that_was_set_is_found() -> None:
    program = """
import trio_dispatch.grpc.tracing as tracing
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_tracer_provider
set_tracer_provider(TracerProvider())
assert tracing.is_tracing()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
