"""A greeter and a channel to it, for all tests of gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from tests.helpers.greeting import Greeter, memory_connector
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
