"""The other end of a connection, driven step by step with h2."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio
import trio.testing
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
)
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame

from trio_dispatch.grpc import Channel, Server, open_channel

E = TypeVar("E", bound=Event)

REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/greeter.v1.Greeter/SayHello"),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
RESPONSE = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]


def frame(payload: bytes, compressed: bool = False) -> bytes:
    return struct.pack(">BI", compressed, len(payload)) + payload


def hello(name: str) -> bytes:
    """A request or a reply of the greeter: both have a string in field 1."""
    text = name.encode()
    return frame(bytes([0x0A, len(text)]) + text)


def parse(data: bytes) -> list[Frame]:
    """The frames in these bytes."""
    frames = []
    while data:
        head, length = Frame.parse_frame_header(memoryview(data[:9]))
        head.parse_body(memoryview(data[9 : 9 + length]))
        frames.append(head)
        data = data[9 + length :]
    return frames


class Peer:
    """An h2 connection on a stream; only what h2 answers is answered automatically."""

    def __init__(
        self, stream: trio.abc.Stream, *, client_side: bool, settings: dict[SettingCodes, int]
    ) -> None:
        self.stream = stream
        self.h2 = H2Connection(
            H2Configuration(
                client_side=client_side,
                header_encoding="utf-8",
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        if settings:
            self.h2.local_settings = Settings(client=client_side, initial_values=settings)
        self.h2.initiate_connection()
        self.events: list[Event] = []
        self.closed = False

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def send(self, data: bytes) -> None:
        """Send raw bytes, after those that h2 has queued."""
        await self.stream.send_all(self.h2.data_to_send() + data)

    async def expect(self, kind: type[E]) -> E:
        """The next event of this kind; earlier ones are skipped."""
        await self.flush()
        while True:
            while self.events:
                event = self.events.pop(0)
                if isinstance(event, kind):
                    return event
            if self.closed:
                raise EOFError(f"no {kind.__name__} came")
            await self.receive()

    async def receive(self) -> None:
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            self.closed = True
            return
        self.events += self.h2.receive_data(data)
        await self.flush()

    async def goaway(self) -> ConnectionTerminated:
        """The GOAWAY that ends the connection; nothing comes after it."""
        event = await self.expect(ConnectionTerminated)
        while not self.closed:
            assert await self.stream.receive_some() == b""
            self.closed = True
        return event

    async def request(self) -> int:
        """As a server: receive the next whole request."""
        await self.expect(RequestReceived)
        event = await self.expect(StreamEnded)
        assert event.stream_id is not None
        return event.stream_id

    async def respond(
        self, stream_id: int, data: bytes = b"", trailers: Any = OK, headers: Any = RESPONSE
    ) -> None:
        """As a server: send a whole response."""
        self.h2.send_headers(stream_id, headers)
        if data:
            self.h2.send_data(stream_id, data)
        if trailers is None:
            self.h2.end_stream(stream_id)
        else:
            self.h2.send_headers(stream_id, trailers, end_stream=True)
        await self.flush()


class PlayedServer:
    """A connector for our channel, and the server ends of its connections."""

    def __init__(self, **settings: int) -> None:
        self._settings = {SettingCodes[name]: value for name, value in settings.items()}
        self._sender, self.connections = trio.open_memory_channel[Peer](100)

    async def connect(self) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        peer = Peer(theirs, client_side=False, settings=self._settings)
        await peer.flush()
        await self._sender.send(peer)
        return ours


@asynccontextmanager
async def played_server(
    *, settings: dict[str, int] | None = None, **options: Any
) -> AsyncIterator[tuple[Channel, PlayedServer]]:
    server = PlayedServer(**(settings or {}))
    async with open_channel(server.connect, **options) as channel:
        yield channel, server


async def played_client(
    server: Server, nursery: trio.Nursery, *, settings: dict[SettingCodes, int] | None = None
) -> Peer:
    """Open a connection to our server, which has sent its settings."""
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(server.serve_stream, theirs)
    peer = Peer(ours, client_side=True, settings=settings or {})
    await peer.expect(RemoteSettingsChanged)
    return peer
