"""Handlers of `interop.Bytes` for our server; ``programs/bytes_server.py`` has those for C-core."""

from __future__ import annotations

import math
from typing import Any

import trio
from grpclib.const import Handler

from tests.helpers.interop.raw import KINDS
from trio_dispatch.grpc import ServerStream, Status

Call = ServerStream[bytes, bytes]


class Calls:
    """The four kinds of call, which behave like those in ``bytes_server.py``."""

    def __init__(self) -> None:
        self.sleeping = trio.Event()
        self.cancelled = trio.Event()
        self.timeout = math.inf

    async def echo(self, call: Call) -> None:
        await self._begin(call)
        request = await call.recv_message()
        await self._sleep(call)
        assert request is not None
        await call.send_message(request)
        await self._end(call)

    async def repeat(self, call: Call) -> None:
        await self._begin(call)
        request = await call.recv_message()
        assert request is not None
        try:
            for _ in range(int(call.metadata.get("count", "1"))):
                await call.send_message(request)
        except trio.Cancelled:
            self.cancelled.set()
            raise
        await self._sleep(call)
        await self._end(call)

    async def join(self, call: Call) -> None:
        await self._begin(call)
        await call.send_message(b"".join([request async for request in call]))
        await self._end(call)

    async def chat(self, call: Call) -> None:
        await self._begin(call)
        async for request in call:
            await call.send_message(request)
        await self._sleep(call)
        await self._end(call)

    async def _begin(self, call: Call) -> None:
        if call.deadline is not None:
            self.timeout = call.deadline.time_remaining()
        await call.send_initial_metadata(metadata=echoed(call))

    async def _sleep(self, call: Call) -> None:
        if seconds := float(call.metadata.get("sleep", "0")):
            self.sleeping.set()
            try:
                await trio.sleep(seconds)
            except trio.Cancelled:
                self.cancelled.set()
                raise

    async def _end(self, call: Call) -> None:
        status = Status(int(call.metadata.get("status", "0")))
        message = f"100 % wröng: {status.value}" if status is not Status.OK else None
        await call.send_trailing_metadata(
            status=status, status_message=message, metadata=echoed(call)
        )

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"/interop.Bytes/{name}": Handler(getattr(self, name.lower()), kind, bytes, bytes)
            for name, kind in KINDS.items()
        }


def echoed(call: Call) -> list[tuple[str, Any]]:
    return [item for item in call.metadata.items() if item[0].startswith("echo-")]
