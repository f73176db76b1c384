"""A C-core gRPC client whose messages are bytes.

It runs in the environment of the peers and takes commands from the tests, see `Control`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc

from tests.helpers.interop.programs.commands import obey
from tests.helpers.interop.programs.payloads import some_bytes

Metadata: TypeAlias = Sequence[tuple[str, str]]


class Control:
    """The commands."""

    def __init__(self) -> None:
        self.channel: Any = None
        self.under_way: asyncio.Future[dict[str, Any]] | None = None

    async def connect(self, port: int, options: dict[str, int], gzip: bool = False) -> None:
        self.channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{port}",
            options=list(options.items()),
            compression=grpc.Compression.Gzip if gzip else None,
        )

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Make a call of `interop.Bytes`, and wait for its end.

        Args:
          sizes: Of the messages to send.
          metadata: To send; bytes are written in hex.
          seconds: That it may take.
          take: Cancel when so many messages have come.
        """
        answer: dict[str, Any] = await getattr(self, f"_{name.lower()}")(**arguments)
        return answer

    async def begin(self, name: str, **arguments: Any) -> None:
        """Begin such a call; `end` waits for its end."""
        self.under_way = asyncio.ensure_future(self.call(name, **arguments))

    async def end(self) -> dict[str, Any]:
        assert self.under_way is not None
        return await self.under_way

    async def cancel(self) -> None:
        assert self.under_way is not None
        self.under_way.cancel()

    async def many(self, count: int) -> int:
        """Make `count` calls at once, and return how many succeeded."""
        calls = [self.call("Echo", sizes=[number]) for number in range(count)]
        return sum([answer["intact"] for answer in await asyncio.gather(*calls)])

    async def _echo(
        self, sizes: tuple[int, ...] = (1,), metadata: Metadata = (), seconds: float | None = None
    ) -> dict[str, Any]:
        method = self.channel.unary_unary("/interop.Bytes/Echo")
        message = some_bytes(sizes[0])
        call = method(message, metadata=decoded(metadata), timeout=seconds)
        return await outcome(call, [message], unary=True)

    async def _repeat(
        self,
        sizes: tuple[int, ...] = (1,),
        metadata: Metadata = (),
        seconds: float | None = None,
        take: int | None = None,
    ) -> dict[str, Any]:
        method = self.channel.unary_stream("/interop.Bytes/Repeat")
        message = some_bytes(sizes[0])
        call = method(message, metadata=decoded(metadata), timeout=seconds)
        count = int(dict(metadata).get("count", "1"))
        return await outcome(call, [message] * count, take=take)

    async def _join(self, sizes: tuple[int, ...] = (), metadata: Metadata = ()) -> dict[str, Any]:
        messages = list(map(some_bytes, sizes))
        call = self.channel.stream_unary("/interop.Bytes/Join")(
            iter(messages), metadata=decoded(metadata)
        )
        return await outcome(call, [b"".join(messages)], unary=True)

    async def _chat(self, sizes: tuple[int, ...] = (), metadata: Metadata = ()) -> dict[str, Any]:
        messages = list(map(some_bytes, sizes))
        call = self.channel.stream_stream("/interop.Bytes/Chat")(
            iter(messages), metadata=decoded(metadata)
        )
        return await outcome(call, messages)


async def outcome(
    call: Any, expected: list[bytes], *, unary: bool = False, take: int | None = None
) -> dict[str, Any]:
    """Return the outcome of a call, and whether its messages are the expected ones."""
    got: list[bytes] = []
    try:
        if unary:
            got.append(await call)
        else:
            async for message in call:
                got.append(message)
                if len(got) == take:
                    call.cancel()
    except (grpc.aio.AioRpcError, asyncio.CancelledError):
        if not call.done():
            raise
    return {
        "status": (await call.code()).name,
        "details": await call.details(),
        "count": len(got),
        "intact": got == expected,
        "initial": encoded(await call.initial_metadata()),
        "trailing": encoded(await call.trailing_metadata()),
    }


def decoded(metadata: Metadata) -> list[tuple[str, str | bytes]]:
    return [
        (name, bytes.fromhex(value) if name.endswith("-bin") else value) for name, value in metadata
    ]


def encoded(metadata: Any) -> Metadata:
    return [
        (name, value.hex() if isinstance(value, bytes) else value)
        for name, value in metadata
        if name.startswith("echo-")
    ]


if __name__ == "__main__":
    asyncio.run(obey(Control))
