"""Code that grpcio-tools and grpclib generate for google.protobuf's messages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import trio
from trio.testing import MockClock

from tests.helpers.greeter import GreeterStub, HelloRequest
from tests.helpers.greeting import Greeter, serve
from tests.helpers.standard_greeter import Generated, generated
from trio_dispatch.grpc import (
    Channel,
    GRPCError,
    Server,
    ServicerContext,
    Status,
    current_call,
    open_call,
)


@pytest.fixture(scope="module")
def code() -> Generated:
    return generated()


class StandardGreeter:
    """The methods of a servicer; a name may ask for something special."""

    async def SayHello(self, request: Any, context: ServicerContext) -> Any:
        match request.name.split(":"):
            case ["abort", code]:
                await context.abort(grpc.StatusCode[code], "aborted", (("end", "1"),))
            case ["code", code]:
                context.set_code(grpc.StatusCode[code])
                context.set_details("set")
            case ["code-and-raise", code]:
                context.set_code(Status[code])
                raise LookupError("a secret")
            case ["raise"]:
                raise RuntimeError("a secret")
            case ["sleep", seconds]:
                await trio.sleep(float(seconds))
            case ["context"]:
                await context.send_initial_metadata((("begin", "1"),))
                context.set_trailing_metadata({"end-bin": b"\xff"})
                assert context.trailing_metadata() == (("end-bin", b"\xff"),)
                assert context.call is current_call()
                assert (context.code(), context.details()) == (Status.OK, "")
                left = context.time_remaining()
                said = f"{dict(context.invocation_metadata())} {left} {context.peer()}"
                return generated().pb2.HelloReply(message=said)
        return generated().pb2.HelloReply(message=f"Hello {request.name}")

    async def SayHellos(self, request: Any, context: ServicerContext) -> AsyncIterator[Any]:
        for number in range(int(request.name)):
            yield generated().pb2.HelloReply(message=str(number))

    async def GreetAll(self, request_iterator: Any, context: ServicerContext) -> Any:
        names = [request.name async for request in request_iterator]
        return generated().pb2.HelloReply(message=f"Hello {', '.join(names)}")

    async def Chat(self, request_iterator: Any, context: ServicerContext) -> AsyncIterator[Any]:
        async for request in request_iterator:
            yield generated().pb2.HelloReply(message=f"Hello {request.name}")


@asynccontextmanager
async def serving(*methods: type, **options: Any) -> AsyncIterator[tuple[Any, Any, Channel]]:
    """The stub, the messages and the channel of a servicer with these methods."""
    code = generated()
    servicer: Any = type("Servicer", (*methods, code.grpc.GreeterServicer), {})
    server = Server(**options)
    code.grpc.add_GreeterServicer_to_server(servicer(), server)
    async with serve(server) as channel:
        yield code.grpc.GreeterStub(channel), code.pb2, channel


async def test_the_four_kinds_of_call() -> None:
    async with serving(StandardGreeter) as (stub, pb2, channel):
        request = pb2.HelloRequest(name="Trio")
        assert await stub.SayHello(request) == pb2.HelloReply(message="Hello Trio")
        replies = stub.SayHellos(pb2.HelloRequest(name="3"))
        assert [reply.message async for reply in replies] == ["0", "1", "2"]
        assert (await stub.GreetAll([request, request])).message == "Hello Trio, Trio"
        assert (await stub.GreetAll(stub.SayHellos(pb2.HelloRequest(name="0")))).message == "Hello "
        async with open_call(stub.Chat) as call:
            await call.send_message(request)
            assert await call.recv_message() == pb2.HelloReply(message="Hello Trio")
            await call.end()
            assert await call.recv_message() is None
        assert channel.statistics().calls_succeeded == 6


async def test_open_call_with_a_request() -> None:
    async with serving(StandardGreeter) as (stub, pb2, channel):
        async with open_call(stub.SayHellos, pb2.HelloRequest(name="1000000")) as call:
            async for reply in call:
                assert reply.message == "0"
                break
        assert channel.statistics().streams_open == 0
        async with open_call(stub.SayHello, pb2.HelloRequest(name="Trio")) as call:
            assert await call.recv_message() == pb2.HelloReply(message="Hello Trio")


async def test_a_method_can_be_a_task(nursery: trio.Nursery) -> None:
    async with serving(StandardGreeter) as (stub, pb2, _), trio.open_nursery() as tasks:
        tasks.start_soon(stub.SayHello, pb2.HelloRequest(name="Trio"))


async def test_wrong_uses_of_a_stub() -> None:
    async with serving(StandardGreeter) as (stub, pb2, _):
        with pytest.raises(TypeError, match=r"/standard\.v1\.Greeter/Chat .* use open_call"):
            stub.Chat([])
        with pytest.raises(TypeError, match="takes a request"):
            open_call(stub.SayHello)
        with pytest.raises(TypeError, match="takes a stream"):
            open_call(stub.Chat, pb2.HelloRequest())
        with pytest.raises(GRPCError, match="cannot be encoded"):
            await stub.SayHello("x")
        assert repr(stub.SayHello) == "<UnaryUnary /standard.v1.Greeter/SayHello>"


async def test_options_of_a_call(autojump_clock: MockClock) -> None:
    async with serving(StandardGreeter) as (stub, pb2, _):
        with pytest.raises(GRPCError, match="DEADLINE_EXCEEDED"):
            await stub.SayHello(pb2.HelloRequest(name="sleep:5"), timeout=1)
        request = pb2.HelloRequest(name="context")
        metadata = (("key", "a"), ("b-bin", b"\0"))
        async with open_call(stub.SayHello, request, metadata=metadata, timeout=7) as call:
            [reply] = [reply async for reply in call]
        assert reply.message == "{'key': 'a', 'b-bin': b'\\x00'} 7.0 unix:"
        assert call.initial_metadata == {"begin": "1"}
        assert call.trailing_metadata == {"end-bin": b"\xff"}


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("abort:ABORTED", Status.ABORTED, "aborted"),
        ("code:NOT_FOUND", Status.NOT_FOUND, "set"),
        ("code-and-raise:DATA_LOSS", Status.DATA_LOSS, None),
        ("raise", Status.UNKNOWN, "Internal Server Error"),
        ("abort:OK", Status.UNKNOWN, "Internal Server Error"),
    ],
)
async def test_statuses(name: str, status: Status, message: str | None) -> None:
    async with serving(StandardGreeter) as (stub, pb2, _):
        request = pb2.HelloRequest(name=name)
        async with open_call(stub.SayHello, request) as call:
            with pytest.raises(GRPCError) as caught:
                await call.recv_message()
            await call.cancel()
    assert (caught.value.status, caught.value.message) == (status, message)
    assert call.trailing_metadata == ({"end": "1"} if name == "abort:ABORTED" else {})


async def test_a_method_that_is_not_implemented() -> None:
    async with serving() as (stub, pb2, _):
        for call in (stub.SayHello(pb2.HelloRequest()), stub.GreetAll([])):
            with pytest.raises(GRPCError) as caught:
                await call
            assert caught.value.status is Status.UNIMPLEMENTED
            assert caught.value.message == "Method not implemented!"
        with pytest.raises(GRPCError, match="UNIMPLEMENTED"):
            async for _ in stub.SayHellos(pb2.HelloRequest()):
                pass


async def test_methods_without_async_and_with_write() -> None:
    class Plain:
        def SayHello(self, request: Any, context: ServicerContext) -> Any:
            return generated().pb2.HelloReply(message=f"Plain {request.name}")

        def SayHellos(self, request: Any, context: ServicerContext) -> Any:
            for number in range(int(request.name)):
                yield generated().pb2.HelloReply(message=str(number))

        async def Chat(self, request_iterator: Any, context: ServicerContext) -> None:
            async for request in request_iterator:
                await context.write(generated().pb2.HelloReply(message=request.name))

    async with serving(Plain) as (stub, pb2, _):
        assert (await stub.SayHello(pb2.HelloRequest(name="x"))).message == "Plain x"
        replies = stub.SayHellos(pb2.HelloRequest(name="2"))
        assert [reply.message async for reply in replies] == ["0", "1"]
        async with open_call(stub.Chat) as call:
            await call.send_message(pb2.HelloRequest(name="x"), end=True)
            assert [reply.message async for reply in call] == ["x"]


async def test_interceptors_compression_and_other_services(code: Generated) -> None:
    """Messages of google.protobuf and of betterproto2 on one server."""
    methods = []

    async def note(call: Any, proceed: Any) -> None:
        methods.append(call.method_name)
        await proceed()

    options: Any = {"services": [Greeter()], "interceptors": [note], "compression": "gzip"}
    async with serving(StandardGreeter, **options) as (stub, pb2, channel):
        name = "x" * 10_000
        assert len((await stub.SayHello(pb2.HelloRequest(name=name))).message) > 10_000
        assert channel.statistics().bytes_received < 1000
        assert (await GreeterStub(channel).say_hello(HelloRequest(name="x"))).message == "Hello x"
    assert methods == ["/standard.v1.Greeter/SayHello", "/greeter.v1.Greeter/SayHello"]


async def test_generic_handlers(code: Generated, caplog: pytest.LogCaptureFixture) -> None:
    """Older generated code registers nothing else."""

    class Broken(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> None:
            if handler_call_details.method.endswith("Missing"):
                raise RuntimeError

    server = Server()
    handlers = {
        "SayHello": grpc.unary_unary_rpc_method_handler(
            StandardGreeter().SayHello,
            request_deserializer=code.pb2.HelloRequest.FromString,
            response_serializer=code.pb2.HelloReply.SerializeToString,
        )
    }
    generic = grpc.method_handlers_generic_handler("standard.v1.Greeter", handlers)
    server.add_generic_rpc_handlers((Broken(), generic))
    async with serve(server) as channel:
        stub = code.grpc.GreeterStub(channel)
        reply = await stub.SayHello(code.pb2.HelloRequest(name="Trio"))
        assert reply.message == "Hello Trio"
        with pytest.raises(GRPCError, match="UNIMPLEMENTED"):
            await stub.GreetAll([])
        with pytest.raises(GRPCError, match="UNIMPLEMENTED"):
            await channel.unary_unary("/standard.v1.Greeter/Missing")(b"")
    assert "/standard.v1.Greeter/Missing" in caplog.text


async def test_messages_stay_bytes_without_serializers() -> None:
    async with serving(StandardGreeter) as (_, pb2, channel):
        method = channel.unary_unary("/standard.v1.Greeter/SayHello")
        data = await method(pb2.HelloRequest(name="x").SerializeToString())
        assert data == pb2.HelloReply(message="Hello x").SerializeToString()


def test_a_method_cannot_be_added_twice(code: Generated) -> None:
    server = Server()
    code.grpc.add_GreeterServicer_to_server(code.grpc.GreeterServicer(), server)
    with pytest.raises(ValueError, match=r"/standard\.v1\.Greeter/SayHello"):
        code.grpc.add_GreeterServicer_to_server(code.grpc.GreeterServicer(), server)


# What grpclib generates.


async def test_grpclib(code: Generated) -> None:
    class Greeting(code.grpclib.GreeterBase):  # type: ignore[misc, name-defined]
        async def SayHello(self, stream: Any) -> None:
            request = await stream.recv_message()
            await stream.send_message(code.pb2.HelloReply(message=f"Hello {request.name}"))

        async def Chat(self, stream: Any) -> None:
            async for request in stream:
                await stream.send_message(code.pb2.HelloReply(message=request.name))

        SayHellos = GreetAll = Chat

    async with serve(Server([Greeting(), Greeter()])) as channel:
        stub = code.grpclib.GreeterStub(channel)
        reply = await stub.SayHello(code.pb2.HelloRequest(name="Trio"))
        assert reply == code.pb2.HelloReply(message="Hello Trio")
        async with stub.Chat.open() as call:
            await call.send_message(code.pb2.HelloRequest(name="x"), end=True)
            assert [reply.message async for reply in call] == ["x"]
        assert (await GreeterStub(channel).say_hello(HelloRequest(name="x"))).message == "Hello x"
        method = channel.unary_unary("/standard.v1.Greeter/SayHello")
        with pytest.raises(GRPCError, match="not a valid HelloRequest"):
            await method(b"\x0a\x05abc")
        with pytest.raises(GRPCError, match="cannot be encoded"):
            await stub.SayHello(HelloRequest())


def test_google_protobuf_is_not_imported() -> None:
    program = "import sys, trio_dispatch.grpc; print({'google.protobuf', 'grpc'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"set()\n"
