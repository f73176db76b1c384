"""A dispatcher on the test service, as several test modules want it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from trio_dispatch import Dispatcher, open_dispatcher
from trio_dispatch.testing import LocalService

__all__ = ["dispatching"]


@asynccontextmanager
async def dispatching(service: LocalService, **options: Any) -> AsyncIterator[Dispatcher]:
    """A dispatcher that follows microgrid 1 of a service."""
    async with open_dispatcher(
        microgrid_id=1, channel=service.channel, key=service.key, **options
    ) as dispatcher:
        yield dispatcher
