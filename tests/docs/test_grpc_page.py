"""The page "gRPC on Trio": its Python runs, and prints what the page says."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace as Namespace
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from h2.errors import ErrorCodes
from trio.testing import MockClock

from trio_dispatch.grpc import Channel, GRPCError, Limits, Server, Status, open_call, open_channel
from trio_dispatch.grpc._generated.grpc.health.v1 import HealthCheckRequest, HealthStub
from trio_dispatch.grpc._generated.grpc.reflection.v1 import ServerReflectionRequest
from trio_dispatch.grpc._status import error_of_http, failure_of_reset
from trio_dispatch.grpc.health import ServingStatus

PAGE = Path(__file__).parents[2] / "docs" / "grpc.md"
PACKAGES = "lib", "greeter_pb2", "greeter_pb2_grpc"
PORT = "50051"

_PART = re.compile(
    r"^#+ (?P<title>[^\n]*)$|^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass
class Block:
    """A block of Python, and what the page says that it prints."""

    line: int
    source: str
    output: str = ""


def read(page: str) -> tuple[dict[str, list[Block]], dict[str, str]]:
    """The Python of the page by section, and its blocks in other languages."""
    sections: dict[str, list[Block]] = {}
    others: dict[str, str] = {}
    title = ""
    for part in _PART.finditer(page):
        if part["title"] is not None:
            title = part["title"]
        elif part["language"] == "python":
            block = Block(page.count("\n", 0, part.start("text")), part["text"])
            sections.setdefault(title, []).append(block)
        elif part["language"] == "text":
            sections[title][-1].output = part["text"]
        else:
            others[part["language"]] = others.get(part["language"], "") + part["text"]
    return sections, others


SECTIONS, OTHERS = read(PAGE.read_text())
SERVER, CLIENT = SECTIONS.pop("A greeter")
# A mock clock does not see bytes on their way through a socket, nor a signal.
REAL_TIME = {
    "Interceptors on the client",
    "Retries",
    "Servers",
    "Standard protobuf messages",
    "Stopping",
    "TLS",
    "Tracing",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the two programs of the page, and the code generated from its `.proto`."""
    folder = tmp_path_factory.mktemp("greeter")
    (folder / "greeter.proto").write_text(OTHERS["proto"])
    (folder / "server.py").write_text(SERVER.source.replace(PORT, "0"))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in re.findall(r"^\$ (.*)$", OTHERS["console"], re.MULTILINE):
        if not command.startswith("pip "):
            subprocess.run(
                shlex.split(command), cwd=folder, env=environment, check=True, capture_output=True
            )
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
        del sys.modules[name]


async def test_the_programs(project: Path) -> None:
    server = await trio.lowlevel.open_process(
        [sys.executable, "server.py"], cwd=project, stdout=subprocess.PIPE
    )
    try:
        with trio.fail_after(30):
            assert server.stdout is not None
            line = b""
            while not line.endswith(b"\n"):
                line += await server.stdout.receive_some()
            (port,) = re.findall(r"'127\.0\.0\.1', (\d+)", line.decode())
            (project / "client.py").write_text(CLIENT.source.replace(PORT, port))
            client = await trio.run_process(
                [sys.executable, "client.py"], cwd=project, capture_stdout=True
            )
        assert client.stdout.decode() == CLIENT.output
    finally:
        server.kill()
        await server.wait()
        await server.stdout.aclose()  # type: ignore[union-attr]


def test_the_programs_are_short() -> None:
    assert len((SERVER.source + CLIENT.source).splitlines()) < 60


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section(
    title: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clock = None if title in REAL_TIME else MockClock(autojump_threshold=0)
    trio.run(run_section, title, clock, clock=clock)


async def run_section(title: str, clock: MockClock | None) -> None:
    """Run the blocks of a section one after the other, then its checks."""
    names: dict[str, Any] = {"__name__": "page"}
    for program in (SERVER, CLIENT):
        exec(program.source, names)
    greeter = names["Greeter"]()
    async with channel_to(Server([greeter])) as channel:
        names |= {"channel": channel, "stub": names["GreeterStub"](channel)}
        with trio.fail_after(20 if clock is None else 86_400):
            async with BESIDE.get(title, nothing)():
                for block in SECTIONS[title]:
                    assert await run_block(block, names) == block.output
            if title in AFTERWARDS:
                await AFTERWARDS[title](Namespace(**names))


async def run_block(block: Block, names: dict[str, Any]) -> str:
    """What a block prints, which may await at its top level."""
    printed: list[str] = []

    def note(*values: object) -> None:
        printed.append(" ".join(map(str, values)) + "\n")

    names["print"] = note
    # On its lines in the page, for tracebacks.
    source = "\n" * block.line + block.source.replace(PORT, "0")
    code = compile(source, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, names)
    if inspect.iscoroutine(running):
        await running
    return "".join(printed)


@asynccontextmanager
async def channel_to(server: Server) -> AsyncIterator[Channel]:
    """A channel to a server, in memory."""

    async def connect() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        return ours

    async with trio.open_nursery() as nursery, open_channel(connect) as channel:
        yield channel


# What happens while the blocks of a section run.


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def files_for_tls() -> AsyncIterator[None]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path("roots.pem")
    cert = authority.issue_cert("127.0.0.1")
    cert.private_key_pem.write_to_path("server.key")
    for part in cert.cert_chain_pems:
        part.write_to_path("server.pem", append=True)
    yield


@asynccontextmanager
async def sigterm() -> AsyncIterator[None]:
    async def send() -> None:
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGTERM)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        yield


@asynccontextmanager
async def descriptors() -> AsyncIterator[None]:
    shutil.copyfile(f"{sys.modules['lib'].__path__[0]}/../greeter.bin", "greeter.bin")
    yield


BESIDE = {"Reflection": descriptors, "TLS": files_for_tls, "Stopping": sigterm}


# Checks of the names that the blocks of a section define.


async def check_handlers(page: Namespace) -> None:
    async with channel_to(Server([page.FrankGreeter()])) as channel:
        request = page.HelloRequest(name="")
        metadata = {"name": "Trio"}
        with trio.fail_after(5):
            call = open_call(page.GreeterStub(channel).say_hello, request, metadata=metadata)
            async with call:
                reply = await call.recv_message()
        assert reply == page.HelloReply(message="Trio has 5.0 s left")
        assert call.initial_metadata == {"state": "thinking"}
        assert call.trailing_metadata == {"cost": "1"}


async def check_interceptors(page: Namespace) -> None:
    async with channel_to(page.server) as channel:
        stub, request = page.GreeterStub(channel), page.HelloRequest(name="Trio")
        with pytest.raises(GRPCError, match="UNAUTHENTICATED"):
            await stub.say_hello(request)
        reply = await stub.say_hello(request, metadata={"key": "secret"})
        assert reply.message == "Hello, Trio!"


async def check_health(page: Namespace) -> None:
    async with channel_to(page.server) as channel:
        request = HealthCheckRequest(service="greeter.v1.Greeter")
        reply = await HealthStub(channel).check(request)
        assert reply.status is ServingStatus.NOT_SERVING


async def check_reflection(page: Namespace) -> None:
    question = ServerReflectionRequest(file_by_filename="greeter.proto")
    method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    async with channel_to(page.server) as channel, channel.stream_stream(method).open() as call:
        await call.send_message(bytes(question))
        reply = await call.recv_message()
    assert reply is not None
    assert b"SayHellos" in reply


async def check_standard_messages(page: Namespace) -> None:
    server = Server(compression="gzip")
    page.greeter_pb2_grpc.add_GreeterServicer_to_server(page.StandardGreeter(), server)
    async with channel_to(server) as channel:
        stub, pb2 = page.greeter_pb2_grpc.GreeterStub(channel), page.greeter_pb2
        before = channel.statistics().bytes_received
        reply = await stub.SayHello(pb2.HelloRequest(name="x" * 100_000))
        assert len(reply.message) > 100_000
        assert channel.statistics().bytes_received - before < 1000
        with pytest.raises(GRPCError, match="the name is empty"):
            await stub.SayHello(pb2.HelloRequest())
        async with open_call(stub.SayHellos, pb2.HelloRequest(name="Trio")) as replies:
            async for each in replies:
                assert each.message == "Hello again, Trio!"
                break


async def check_limits(page: Namespace) -> None:
    async with channel_to(page.server) as channel:
        request = page.HelloRequest(name="x" * 5_000_000)
        with pytest.raises(GRPCError, match="RESOURCE_EXHAUSTED"):
            # The server takes it, the reply is too long for the channel.
            await page.GreeterStub(channel).say_hello(request)


async def check_testing(page: Namespace) -> None:
    await page.test_an_hour_of_hellos(trio.lowlevel.current_clock())


AFTERWARDS: dict[str, Callable[[Namespace], Awaitable[None]]] = {
    "Handlers": check_handlers,
    "Interceptors": check_interceptors,
    "Health": check_health,
    "Limits": check_limits,
    "Reflection": check_reflection,
    "Standard protobuf messages": check_standard_messages,
    "Testing": check_testing,
}


# The tables.


def table(head: str) -> list[list[str]]:
    """The cells of the table with that head."""
    rows = rf"^\| {re.escape(head)} .*\n\| ---.*\n((?:\|.*\n)+)"
    (found,) = re.findall(rows, PAGE.read_text(), re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found.splitlines()]


def test_the_table_of_limits() -> None:
    rows = {name: default and float(default) for name, default, _ in table("limit")}
    defaults = {f"`{field.name}`": field.default for field in fields(Limits)}
    assert rows == {**defaults, "`connections`": ""}


def test_the_table_of_resets_and_http_statuses() -> None:
    statuses = {
        name: Status[status]
        for names, status in table("code of RST_STREAM, or HTTP status")
        for name in names.split(", ")
    }
    for code in ErrorCodes:
        expected = statuses.get(code.name, statuses["any other code"])
        assert failure_of_reset(code).status is expected, code
    for http in (100, 204, 302, *range(400, 600)):
        error = error_of_http({":status": str(http)})
        assert error is not None
        assert error.status is statuses.get(str(http), statuses["any other HTTP status"]), http
