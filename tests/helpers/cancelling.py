"""Cancel a task at a given checkpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class _CancelAt(trio.abc.Instrument):
    def __init__(self, position: int, scope: trio.CancelScope, task: trio.lowlevel.Task) -> None:
        self._left, self._scope, self._task = position, scope, task

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


@asynccontextmanager
async def cancelled_at(position: int, scope: trio.CancelScope) -> AsyncIterator[None]:
    """Cancel a scope when this task stops for the n-th time within the block."""
    instrument = _CancelAt(position, scope, trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(instrument)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(instrument)
