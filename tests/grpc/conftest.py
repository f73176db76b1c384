"""A greeter and the ways to reach it, for all tests of gRPC."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

# Test modules share what is in `greeter` and `wire`.
sys.path.insert(0, str(Path(__file__).parent))

from greeting import Greeter, memory_connector

from trio_dispatch.grpc import Channel, Server, open_channel


@pytest.fixture
def greeter() -> Greeter:
    return Greeter()


@pytest.fixture
async def channel(greeter: Greeter, nursery: trio.Nursery) -> AsyncIterator[Channel]:
    server = Server([greeter])
    async with open_channel(memory_connector(server, nursery)) as channel:
        yield channel
    server.stop(grace=0)
