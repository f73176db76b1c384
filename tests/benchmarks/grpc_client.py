"""One contender of `rows_grpc.py`: makes calls as fast as possible, on request.

    python -m tests.benchmarks.grpc_client CONTENDER PORT

It runs in the environment of the benchmarks.  Each line of its stdin is a measurement to make, as
JSON, and gets a line on its stdout: see `Contender.measure`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import betterproto2
import grpc
import grpclib.client
import hpack
import trio
from grpclib.encoding.base import CodecBase
from hyperframe import frame

from trio_dispatch.grpc import MessageCodec, open_channel

HOST = "127.0.0.1"
MESSAGES_OF_A_STREAM = 1000


@dataclass(eq=False, repr=False)
class Sample(betterproto2.Message):
    """A typical message with a few fields of different types."""

    id: int = betterproto2.field(1, betterproto2.TYPE_UINT64)
    name: str = betterproto2.field(2, betterproto2.TYPE_STRING)
    values: list[float] = betterproto2.field(3, betterproto2.TYPE_DOUBLE, repeated=True)  # noqa: RUF009
    at: Point | None = betterproto2.field(4, betterproto2.TYPE_MESSAGE, optional=True)  # noqa: RUF009


@dataclass(eq=False, repr=False)
class Point(betterproto2.Message):
    x: float = betterproto2.field(1, betterproto2.TYPE_DOUBLE)
    y: float = betterproto2.field(2, betterproto2.TYPE_DOUBLE)


class BytesCodec(CodecBase):
    """Leaves messages as bytes."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


@dataclass(frozen=True)
class Kind:
    """The message, and its codec, which is the same for all contenders."""

    message: Any
    codec: CodecBase

    @property
    def type(self) -> type:
        return type(self.message)


KINDS = {
    "bytes": Kind(b"x" * 100, BytesCodec()),
    "betterproto2": Kind(
        Sample(id=12345, name="battery 7", values=[1.5, 2.5, 3.5, 4.5], at=Point(x=47.1, y=8.5)),
        MessageCodec(),
    ),
}


class Contender(ABC):
    """Makes calls with one library and one kind of message.

    A measurement is a number of tasks that do the same over and over until the time is up.
    """

    kind: Kind
    end: float

    async def measure(self, work: str, tasks: int, seconds: float) -> tuple[float, float]:
        """Return the calls or messages per second, and the CPU seconds for each."""
        began, cpu = time.perf_counter(), time.process_time()
        self.end = began + seconds
        done = await self.together(partial(self.repeat, getattr(self, work)), tasks)
        return done / (time.perf_counter() - began), (time.process_time() - cpu) / done

    async def repeat(self, work: Callable[[], Any]) -> int:
        done = 0
        while time.perf_counter() < self.end:
            done += await work()
        return done

    @abstractmethod
    async def together(self, work: Callable[[], Any], tasks: int) -> int:
        """Run the work in several tasks at a time, and return the sum of their results."""

    @abstractmethod
    async def call(self) -> int:
        """Make a call with a single reply, and return 1."""

    @abstractmethod
    async def stream(self) -> int:
        """Make a call with a stream of replies, and return their number."""


class OnTrio(Contender):
    async def together(self, work: Callable[[], Any], tasks: int) -> int:
        results: list[int] = []

        async def one() -> None:
            results.append(await work())

        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(one)
        return sum(results)


class OnAsyncio(Contender):
    async def together(self, work: Callable[[], Any], tasks: int) -> int:
        return sum(await asyncio.gather(*(work() for _ in range(tasks))))


class Grpclib(Contender):
    """Uses the classes that the stubs of grpclib and betterproto2 consist of."""

    def __init__(self, channel: grpclib.client.Channel, kind: Kind) -> None:
        self.kind = kind
        types = kind.type, kind.type
        self.unary: grpclib.client.UnaryUnaryMethod[Any, Any] = grpclib.client.UnaryUnaryMethod(
            channel, "/bench.Bench/Echo", *types
        )
        self.unary_stream: grpclib.client.UnaryStreamMethod[Any, Any] = (
            grpclib.client.UnaryStreamMethod(channel, "/bench.Bench/Repeat", *types)
        )
        self.metadata = {"count": str(MESSAGES_OF_A_STREAM)}

    async def call(self) -> int:
        await self.unary(self.kind.message)
        return 1

    async def stream(self) -> int:
        received = 0
        async with self.unary_stream.open(metadata=self.metadata) as call:
            await call.send_message(self.kind.message, end=True)
            async for _ in call:
                received += 1
        return received


class Ours(OnTrio, Grpclib):
    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int, kind: Kind) -> AsyncIterator[Contender]:
        async with open_channel(f"grpc://{HOST}:{port}?ssl=false", codec=kind.codec) as channel:
            yield cls(channel, kind)


class GrpclibOnAsyncio(OnAsyncio, Grpclib):
    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int, kind: Kind) -> AsyncIterator[Contender]:
        async with grpclib.client.Channel(HOST, port, codec=kind.codec) as channel:
            yield cls(channel, kind)


class GrpclibOnTrioAsyncio(OnTrio, Grpclib):
    """Like a Trio program: each step of a call goes through the bridge."""

    def __init__(self, channel: grpclib.client.Channel, kind: Kind) -> None:
        super().__init__(channel, kind)
        self.bridge = bridge().aio_as_trio

    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int, kind: Kind) -> AsyncIterator[Contender]:
        channel = grpclib.client.Channel(HOST, port, codec=kind.codec)
        yield cls(channel, kind)
        channel.close()

    async def call(self) -> int:
        await self.bridge(self.unary)(self.kind.message)
        return 1

    async def stream(self) -> int:
        received = 0
        call = self.unary_stream.open(metadata=self.metadata)
        async with self.bridge(call):
            await self.bridge(call.send_message)(self.kind.message, end=True)
            async for _ in self.bridge(call):
                received += 1
        return received


def bridge() -> Any:
    """Import trio-asyncio, only here, because it replaces the event loop of asyncio."""
    import trio_asyncio

    return trio_asyncio


class GrpcAio(OnAsyncio):
    def __init__(self, channel: grpc.aio.Channel, kind: Kind) -> None:
        self.kind = kind
        codecs = (
            lambda message: kind.codec.encode(message, kind.type),
            lambda data: kind.codec.decode(data, kind.type),
        )
        self.unary = channel.unary_unary("/bench.Bench/Echo", *codecs)
        self.unary_stream = channel.unary_stream("/bench.Bench/Repeat", *codecs)
        self.metadata = (("count", str(MESSAGES_OF_A_STREAM)),)

    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int, kind: Kind) -> AsyncIterator[Contender]:
        async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
            yield cls(channel, kind)

    async def call(self) -> int:
        await self.unary(self.kind.message)
        return 1

    async def stream(self) -> int:
        received = 0
        async for _ in self.unary_stream(self.kind.message, metadata=self.metadata):
            received += 1
        return received


class Prepared(Contender):
    """Sends prepared frames, and counts those that come back: what the server allows."""

    _HEADER = struct.Struct(">BHBBL")

    def __init__(self, connection: socket.socket, kind: Kind) -> None:
        message = kind.codec.encode(kind.message, kind.type)
        self.message = b"\0" + len(message).to_bytes(4, "big") + message
        self.connection = connection
        self.encoder = hpack.Encoder()
        self.stream_id = -1
        self.received = bytearray()
        settings = frame.SettingsFrame(
            settings={frame.SettingsFrame.INITIAL_WINDOW_SIZE: 2**31 - 1}
        )
        window = frame.WindowUpdateFrame(0, 2**30)
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings.serialize())
        connection.sendall(window.serialize())

    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int, kind: Kind) -> AsyncIterator[Contender]:
        with socket.create_connection((HOST, port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield cls(connection, kind)

    async def measure(self, work: str, tasks: int, seconds: float) -> tuple[float, float]:
        self.counts_messages = work == "stream"
        return await super().measure(work, tasks, seconds)

    async def together(self, _work: Callable[[], Any], tasks: int) -> int:
        done, running = 0, tasks
        self.begin(tasks)
        while running:
            messages, ended = self.receive()
            done += messages if self.counts_messages else ended
            running -= ended
            if ended and time.perf_counter() < self.end:
                self.begin(ended)
                running += ended
        return done

    def begin(self, calls: int) -> None:
        """Send so many requests."""
        path = "/bench.Bench/Repeat" if self.counts_messages else "/bench.Bench/Echo"
        fields = [
            *((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", HOST)),
            *(("te", "trailers"), ("content-type", "application/grpc")),
            ("count", str(MESSAGES_OF_A_STREAM)),
        ]
        requests = []
        for _ in range(calls):
            self.stream_id += 2
            headers = frame.HeadersFrame(self.stream_id, self.encoder.encode(fields))
            headers.flags.add("END_HEADERS")
            data = frame.DataFrame(self.stream_id, self.message, flags=["END_STREAM"])
            requests += [headers.serialize(), data.serialize()]
        self.connection.sendall(b"".join(requests))

    def receive(self) -> tuple[int, int]:
        """Return the number of messages that have come, and that of calls that have ended."""
        self.received += self.connection.recv(65536)
        begin = messages = ended = 0
        while begin + self._HEADER.size <= len(self.received):
            high, low, kind, flags, _ = self._HEADER.unpack_from(self.received, begin)
            end = begin + self._HEADER.size + (high << 16 | low)
            if end > len(self.received):
                break
            if kind == frame.DataFrame.type:
                messages += 1
            elif kind == frame.HeadersFrame.type:
                ended += flags & 1
            elif kind == frame.PingFrame.type and not flags & 1:
                data = bytes(self.received[begin + self._HEADER.size : end])
                self.connection.sendall(frame.PingFrame(0, data, flags=["ACK"]).serialize())
            elif kind == frame.SettingsFrame.type and not flags & 1:
                # Without it, C-core ends the connection after a while.
                self.connection.sendall(frame.SettingsFrame(flags=["ACK"]).serialize())
            begin = end
        del self.received[:begin]
        return messages, ended

    async def call(self) -> int:
        raise NotImplementedError

    async def stream(self) -> int:
        raise NotImplementedError


def run_on_asyncio(main: Callable[..., Any], *args: Any) -> None:
    asyncio.run(main(*args))


def run_on_both(main: Callable[..., Any], *args: Any) -> None:
    async def beside_a_loop() -> None:
        async with bridge().open_loop():
            await main(*args)

    trio.run(beside_a_loop)


CONTENDERS: dict[str, tuple[Any, Callable[..., None]]] = {
    "trio-dispatch": (Ours, trio.run),
    "grpclib on asyncio": (GrpclibOnAsyncio, run_on_asyncio),
    "grpclib through trio-asyncio": (GrpclibOnTrioAsyncio, run_on_both),
    "grpc.aio": (GrpcAio, run_on_asyncio),
    "prepared frames": (Prepared, trio.run),
}


async def obey(contender: Any, port: int) -> None:
    async with (
        contender.connected(port, KINDS["bytes"]) as with_bytes,
        contender.connected(port, KINDS["betterproto2"]) as with_betterproto2,
    ):
        by_kind = {"bytes": with_bytes, "betterproto2": with_betterproto2}
        # Nothing else runs in this process while it waits, so it may block.
        for line in sys.stdin:
            order = json.loads(line)
            result = await by_kind[order.pop("kind")].measure(**order)
            print(json.dumps(result), flush=True)


def main() -> None:
    contender, run = CONTENDERS[sys.argv[1]]
    run(obey, contender, int(sys.argv[2]))


if __name__ == "__main__":
    main()
