"""A client that sends bytes, keeps all frames that come back, and judges them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import hpack
import trio
from h2.errors import ErrorCodes

from tests.helpers.conformance import wire
from tests.helpers.conformance.wire import RawFrame

# Seconds for an answer; no answer within them is an observation.
PATIENCE = 1.0
_BARRIER = b"barrier!"


class Verdict(Enum):
    """What an observation says of a server."""

    EXACT = "as required"
    ALLOWED = "as allowed"
    """A connection error instead of a stream error, or an end without GOAWAY."""
    FAILED = "failed"


class Exchange:
    """A connection to a server, from the client's side.

    Attributes:
      frames: All that were received.
      closed: Whether the server has closed the connection.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.frames: list[RawFrame] = []
        self.closed = False
        self._stream = stream
        self._received = bytearray()

    async def send(self, data: bytes) -> None:
        """Send bytes; a server that does not take them any more has closed the connection."""
        with trio.move_on_after(PATIENCE):
            try:
                await self._stream.send_all(data)
            except trio.BrokenResourceError:
                # What it sent before may still be read.
                await self.until(lambda: False)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Receive until the condition holds, the connection is closed or nothing more comes."""
        while not self.closed and not condition():
            data = b""
            with trio.move_on_after(PATIENCE) as scope:
                try:
                    data = bytes(await self._stream.receive_some(65536))
                except trio.BrokenResourceError:
                    data = b""
            if scope.cancelled_caught:
                return
            self.closed = not data
            self._parse(data)

    async def settle(self) -> None:
        """Wait until the server has handled all that was sent, and has answered a PING."""
        await self.send(wire.ping(_BARRIER))
        await self.until(
            lambda: any(f.type == wire.PING and f.payload == _BARRIER for f in self.frames)
        )

    async def ended(self, stream_id: int) -> None:
        """Wait for the end of a stream."""
        await self.until(
            lambda: any(f.ends_stream or f.type == wire.RST_STREAM for f in self.of(stream_id))
        )

    def of(self, stream_id: int) -> list[RawFrame]:
        """The frames of a stream."""
        return [frame for frame in self.frames if frame.stream_id == stream_id]

    def first(self, kind: int, stream_id: int | None = None) -> RawFrame | None:
        for frame in self.frames:
            if frame.type == kind and stream_id in {None, frame.stream_id}:
                return frame
        return None

    def fields(self, stream_id: int) -> list[tuple[str, str]]:
        """The header fields of all responses up to this stream's, in the order of the frames."""
        decoder, found = hpack.Decoder(), []
        for frame in self.frames:
            if frame.type in {wire.HEADERS, wire.CONTINUATION}:
                decoded = decoder.decode(frame.payload, raw=True)
                if frame.stream_id == stream_id:
                    found += [(name.decode(), value.decode()) for name, value in decoded]
        return found

    def __str__(self) -> str:
        shown = [_shown(frame) for frame in self.frames if frame.type != wire.SETTINGS]
        return ", ".join([*filter(None, shown), *(["closed"] if self.closed else [])]) or "nothing"

    def _parse(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= 9:
            end = 9 + int.from_bytes(self._received[:3], "big")
            if len(self._received) < end:
                return
            kind, flags = self._received[3:5]
            stream_id = int.from_bytes(self._received[5:9], "big") & 0x7FFFFFFF
            self.frames.append(RawFrame(kind, flags, stream_id, bytes(self._received[9:end])))
            del self._received[:end]


def _shown(frame: RawFrame) -> str:
    name = {
        wire.DATA: f"DATA({len(frame.payload)})",
        wire.HEADERS: "HEADERS",
        wire.RST_STREAM: "RST_STREAM",
        wire.GOAWAY: "GOAWAY",
        wire.PING: "PING",
    }.get(frame.type)
    if name is None or frame.payload == _BARRIER:
        return ""
    if frame.type in {wire.RST_STREAM, wire.GOAWAY}:
        name += f"({frame.error_code.name})"
    return f"{name} on {frame.stream_id}" if frame.stream_id else name


# What a server has to do.

Step: TypeAlias = bytes | Callable[[Exchange], Awaitable[None]]
Judge: TypeAlias = Callable[[Exchange], Awaitable[Verdict]]


@dataclass(frozen=True)
class Check:
    """One requirement.

    Attributes:
      section: Of the RFC.
      title: What the client does.
      steps: What it sends and waits for, after the handshake if `greets`.
      judge: Decides what the server's reaction is worth.
      greets: Whether preface and SETTINGS are sent first, and those of the server acknowledged.
    """

    section: str
    title: str
    steps: Sequence[Step]
    judge: Judge
    greets: bool = True

    async def run(self, stream: trio.abc.Stream) -> tuple[Verdict, str]:
        """Make the exchange; the verdict, and what was seen."""
        exchange = Exchange(stream)
        if self.greets:
            await exchange.send(wire.PREFACE + wire.settings())
            await exchange.until(lambda: exchange.first(wire.SETTINGS) is not None)
            await exchange.send(wire.settings_ack())
        for step in self.steps:
            if isinstance(step, bytes):
                await exchange.send(step)
            else:
                await step(exchange)
        verdict = await self.judge(exchange)
        return verdict, str(exchange)


def section(number: str, *rows: tuple[str, bytes | Sequence[Step], Judge]) -> list[Check]:
    """The checks of a section: title, steps and judge of each."""
    return [
        Check(number, title, [steps] if isinstance(steps, bytes) else steps, judge)
        for title, steps, judge in rows
    ]


async def settled(exchange: Exchange) -> None:
    """As a step: wait until the server has handled what was sent."""
    await exchange.settle()


def ended(stream_id: int) -> Step:
    """As a step: wait for the end of a stream."""

    async def wait(exchange: Exchange) -> None:
        await exchange.ended(stream_id)

    return wait


def connection_error(*codes: ErrorCodes) -> Judge:
    """The server sends GOAWAY with one of the codes, and closes the connection."""

    async def judge(exchange: Exchange) -> Verdict:
        await exchange.until(lambda: False)
        goaway = exchange.first(wire.GOAWAY)
        if not exchange.closed:
            return Verdict.FAILED
        if goaway is None:
            return Verdict.ALLOWED
        return Verdict.EXACT if goaway.error_code in codes else Verdict.FAILED

    return judge


def stream_error(*codes: ErrorCodes, stream_id: int = 1) -> Judge:
    """The server sends RST_STREAM with one of the codes, and the connection goes on."""

    async def judge(exchange: Exchange) -> Verdict:
        await exchange.until(lambda: exchange.first(wire.RST_STREAM, stream_id) is not None)
        await exchange.settle()
        resets = [f for f in exchange.of(stream_id) if f.type == wire.RST_STREAM]
        goaway = exchange.first(wire.GOAWAY)
        if any(reset.error_code in codes for reset in resets):
            return Verdict.FAILED if exchange.closed else Verdict.EXACT
        if exchange.closed and (goaway is None or goaway.error_code in codes):
            return Verdict.ALLOWED
        return Verdict.FAILED

    return judge


async def accepted(exchange: Exchange) -> Verdict:
    """Nothing is reset, and the connection goes on."""
    await exchange.settle()
    refused = exchange.first(wire.GOAWAY) or exchange.first(wire.RST_STREAM)
    return Verdict.FAILED if exchange.closed or refused else Verdict.EXACT


def answered(stream_id: int = 1, *required: tuple[str, str]) -> Judge:
    """The server ends the stream with a response that has these fields, by default status OK."""

    async def judge(exchange: Exchange) -> Verdict:
        await exchange.ended(stream_id)
        try:
            fields = exchange.fields(stream_id)
        except hpack.HPACKError:
            return Verdict.FAILED
        wanted = required or (("grpc-status", "0"),)
        ends = any(frame.ends_stream for frame in exchange.of(stream_id))
        return Verdict.EXACT if ends and set(wanted) <= set(fields) else Verdict.FAILED

    return judge


def seen(condition: Callable[[Exchange], bool]) -> Judge:
    """The condition holds for the frames that came, and the connection goes on."""

    async def judge(exchange: Exchange) -> Verdict:
        await exchange.until(lambda: condition(exchange))
        await exchange.settle()
        good = condition(exchange) and not exchange.closed
        return Verdict.EXACT if good else Verdict.FAILED

    return judge


async def closed(exchange: Exchange) -> Verdict:
    """The server closes the connection."""
    await exchange.until(lambda: False)
    return Verdict.EXACT if exchange.closed else Verdict.FAILED


def allowed(judge: Judge) -> Judge:
    """What the judge finds right is not required, but allowed."""

    async def lower(exchange: Exchange) -> Verdict:
        verdict = await judge(exchange)
        return Verdict.ALLOWED if verdict is Verdict.EXACT else verdict

    return lower


def either(*judges: Judge) -> Judge:
    """The RFC leaves a choice; each judge looks at the same frames."""

    async def judge(exchange: Exchange) -> Verdict:
        verdicts = [await judge(exchange) for judge in judges]
        return next((v for v in Verdict if v in verdicts), Verdict.FAILED)

    return judge
