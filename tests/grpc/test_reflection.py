"""Reflection: a server tells its services and their definitions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from tests.helpers.greeting import Greeter, serve
from tests.helpers.standard_greeter import generated
from trio_dispatch.grpc import Cardinality, Channel, Health, Server
from trio_dispatch.grpc._generated.grpc.reflection.v1 import (
    ExtensionRequest,
    ServerReflectionRequest,
    ServerReflectionResponse,
)

FOLDER = Path(__file__).parents[1] / "helpers"
SERVICES = [
    "greeter.v1.Greeter",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
]


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The definition of the greeter, as protoc writes it."""
    path = tmp_path_factory.mktemp("proto") / "greeter.bin"
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "--include_imports"]
    command = [*protoc, f"-I{FOLDER}", f"--descriptor_set_out={path}", "greeter.proto"]
    subprocess.run(command, check=True)
    return path.read_bytes()


async def answers(
    channel: Channel, *questions: ServerReflectionRequest, version: str = "v1"
) -> list[ServerReflectionResponse]:
    async with channel.request(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        Cardinality.STREAM_STREAM,
        ServerReflectionRequest,
        ServerReflectionResponse,
    ) as call:
        replies = []
        for question in questions:
            await call.send_message(question)
            reply = await call.recv_message()
            assert reply is not None
            assert reply.original_request == question
            assert reply.valid_host == question.host
            replies.append(reply)
        await call.end()
        assert await call.recv_message() is None
    return replies


async def files(channel: Channel, question: ServerReflectionRequest) -> list[str]:
    """The names of the files in the answer; google.protobuf accepts them in reverse order."""
    [reply] = await answers(channel, question)
    if reply.error_response is not None:
        return [reply.error_response.error_message]
    assert reply.file_descriptor_response is not None
    pool = descriptor_pool.DescriptorPool()
    names = []
    for data in reversed(reply.file_descriptor_response.file_descriptor_proto):
        file = descriptor_pb2.FileDescriptorProto.FromString(data)
        pool.Add(file)
        names.append(file.name)
    return names[::-1]


def symbol(name: str) -> ServerReflectionRequest:
    return ServerReflectionRequest(file_containing_symbol=name)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_the_services(version: str, descriptors: bytes) -> None:
    server = Server([Greeter(), Health()])
    server.add_reflection(descriptors)
    async with serve(server) as channel:
        question = ServerReflectionRequest(host="me", list_services="*")
        [reply] = await answers(channel, question, version=version)
    assert reply.list_services_response is not None
    assert [service.name for service in reply.list_services_response.service] == SERVICES


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (symbol("greeter.v1.Greeter"), "greeter.proto"),
        (symbol("greeter.v1.Greeter.SayHello"), "greeter.proto"),
        (symbol("greeter.v1.HelloReply"), "greeter.proto"),
        (symbol("grpc.health.v1.HealthCheckResponse.ServingStatus"), "grpc/health/v1/health.proto"),
        (symbol("grpc.reflection.v1.ErrorResponse"), "grpc/reflection/v1/reflection.proto"),
        (
            symbol("grpc.reflection.v1alpha.ServerReflection"),
            "grpc/reflection/v1alpha/reflection.proto",
        ),
        (symbol("greeter.v1.Missing"), "greeter.v1.Missing is unknown"),
        (symbol(""), " is unknown"),
        (symbol("\0"), "\\x00 is unknown"),
        (ServerReflectionRequest(file_by_filename="greeter.proto"), "greeter.proto"),
        (ServerReflectionRequest(file_by_filename="missing"), "the file missing is unknown"),
        (ServerReflectionRequest(), "the question is unknown"),
    ],
)
async def test_definitions_from_a_descriptor_set(
    descriptors: bytes, question: ServerReflectionRequest, expected: str
) -> None:
    server = Server([Greeter(), Health()])
    server.add_reflection(descriptors)
    async with serve(server) as channel:
        assert await files(channel, question) == [expected]


async def test_definitions_of_google_protobuf() -> None:
    code = generated()
    server = Server()
    server.add_reflection()
    code.grpc.add_GreeterServicer_to_server(code.grpc.GreeterServicer(), server)
    async with serve(server) as channel:
        assert await files(channel, symbol("standard.v1.Greeter.Chat")) == ["standard.proto"]
        question = ServerReflectionRequest(file_by_filename="standard.proto")
        assert await files(channel, question) == ["standard.proto"]
        [reply] = await answers(channel, ServerReflectionRequest(list_services=""))
        assert reply.list_services_response is not None
        assert "standard.v1.Greeter" in {s.name for s in reply.list_services_response.service}


async def test_messages_that_know_their_definition() -> None:
    """betterproto2's option `google_protobuf_descriptors` makes them, in a pool of their own."""
    pool = descriptor_pool.DescriptorPool()
    imported = descriptor_pb2.FileDescriptorProto(name="b.proto", package="own.v1")
    imported.message_type.add(name="B").extension_range.add(start=100, end=200)
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", package="own.v1")
    file.dependency.append("b.proto")
    file.message_type.add(name="A")
    file.extension.add(name="x", number=123, extendee=".own.v1.B", type="TYPE_INT32", label=1)
    for each in (imported, file):
        pool.Add(each)

    class Message:
        DESCRIPTOR = pool.FindMessageTypeByName("own.v1.A")

    class Service:
        def __mapping__(self) -> Any:
            handler = Greeter().__mapping__()["/greeter.v1.Greeter/SayHello"]
            return {"/own.v1.Service/Do": handler._replace(reply_type=Message)}

    server = Server([Service()])
    server.add_reflection()
    async with serve(server) as channel:
        assert await files(channel, symbol("own.v1.A")) == ["a.proto", "b.proto"]
        extension = ExtensionRequest(containing_type="own.v1.B", extension_number=123)
        question = ServerReflectionRequest(file_containing_extension=extension)
        assert await files(channel, question) == ["a.proto", "b.proto"]
        extension.extension_number = 124
        assert await files(channel, question) == ["the extension 124 of own.v1.B is unknown"]
        numbers = [
            ServerReflectionRequest(all_extension_numbers_of_type=name)
            for name in ("own.v1.B", "grpc.health.v1.HealthCheckRequest", "missing.A")
        ]
        found = [reply.all_extension_numbers_response for reply in await answers(channel, *numbers)]
        assert [each and each.extension_number for each in found] == [[123], [], None]


async def test_there_is_no_reflection_unless_it_is_added() -> None:
    async with serve(Server([Greeter()])) as channel:
        with pytest.raises(Exception, match="UNIMPLEMENTED"):
            await answers(channel, symbol("greeter.v1.Greeter"))


def test_wrong_uses() -> None:
    server = Server()
    with pytest.raises(ValueError, match="ends"):
        server.add_reflection(b"\x0a\x05abc")
    server.add_reflection()
    with pytest.raises(ValueError, match="already"):
        server.add_reflection()
