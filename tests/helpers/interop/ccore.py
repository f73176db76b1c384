"""Runs the dispatch service on C-core gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.helpers.interop.peers import Peer, start_script

MICROGRID = 1
KEY = "a-key"


class CCoreService:
    """A running service that takes commands, see `Control` in ``ccore_server.py``."""

    def __init__(self, peer: Peer, port: int) -> None:
        self.port = port
        self.url = f"grpc://127.0.0.1:{port}?ssl=false"
        self.ask = peer.ask
        self.kill = peer.kill

    async def create(self, count: int = 1, **data: Any) -> list[int]:
        """Create dispatches from data in protobuf's JSON format, and return their ids."""
        start = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        row = {"type": "CHARGE", "startTime": start, "duration": 60, "isActive": True}
        row["target"] = {"componentIds": {"ids": ["1", "2"]}}
        ids: list[int] = await self.ask("create", data={**row, **data}, count=count)
        return ids


@asynccontextmanager
async def start_service(
    rows: list[str] | None = None, port: int = 0
) -> AsyncIterator[CCoreService]:
    """Start a service, with the rows and on the port of an earlier one if given."""
    async with start_script("ccore_server") as peer:
        await peer.ask("load", rows=rows or [])
        yield CCoreService(peer, await peer.ask("serve", port=port))
