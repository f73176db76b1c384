"""A dispatcher that follows the test service, for several test modules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from trio_dispatch import Dispatch, Dispatcher, Receiver, open_dispatcher
from trio_dispatch.testing import LocalService

__all__ = ["CancelAt", "dispatching", "waiting"]


@asynccontextmanager
async def dispatching(service: LocalService, **options: Any) -> AsyncIterator[Dispatcher]:
    """A dispatcher that follows microgrid 1 of a service."""
    async with open_dispatcher(
        microgrid_id=1, channel=service.channel, key=service.key, **options
    ) as dispatcher:
        yield dispatcher


def waiting(receiver: Receiver[Dispatch]) -> list[tuple[int, str]]:
    """What is queued in a status receiver: the dispatches, and their states now."""
    messages = []
    try:
        while True:
            message = receiver.receive_nowait()
            messages.append((message.id, message.running().name))
    except trio.WouldBlock:
        return messages


class CancelAt(trio.abc.Instrument):
    """Cancels a scope after a number of task steps, of any tasks."""

    def __init__(self, steps: int, scope: trio.CancelScope) -> None:
        self._left = steps
        self._scope = scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()
