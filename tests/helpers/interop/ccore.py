"""The dispatch service on C-core gRPC, as the tests see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.helpers.interop.peers import Peer, start_script

MICROGRID = 1
KEY = "a-key"


class CCoreService:
    """A service that runs and can be told what to do, see `Control` in ``ccore_server.py``."""

    def __init__(self, peer: Peer, port: int) -> None:
        self.port = port
        self.url = f"grpc://127.0.0.1:{port}?ssl=false"
        self.ask = peer.ask
        self.kill = peer.kill

    async def create(self, count: int = 1, **data: Any) -> list[int]:
        """Have it create dispatches, with data as in protobuf's JSON; for their ids."""
        start = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        row = {"type": "CHARGE", "startTime": start, "duration": 60, "isActive": True}
        row["target"] = {"componentIds": {"ids": ["1", "2"]}}
        ids: list[int] = await self.ask("create", data={**row, **data}, count=count)
        return ids


@asynccontextmanager
async def start_service(
    rows: list[str] | None = None, port: int = 0
) -> AsyncIterator[CCoreService]:
    """Start a service with what another one has dumped, on that one's port."""
    async with start_script("ccore_server") as peer:
        await peer.ask("load", rows=rows or [])
        yield CCoreService(peer, await peer.ask("serve", port=port))
