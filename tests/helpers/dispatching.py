"""A dispatcher on the test service, as several test modules want it."""

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
    """What a status receiver was told and has not read: which dispatch, and its state now."""
    messages = []
    try:
        while True:
            message = receiver.receive_nowait()
            messages.append((message.id, message.running().name))
    except trio.WouldBlock:
        return messages


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when so many steps of tasks have been made, whichever they are."""

    def __init__(self, steps: int, scope: trio.CancelScope) -> None:
        self._left = steps
        self._scope = scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()
