"""Writes of a file in worker threads, in order, although a write may be abandoned."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from .. import clock

__all__ = ["FileWrites"]

_T = TypeVar("_T")


class FileWrites:
    """Runs the writes of one file, each in a worker thread.

    A disk may hang, so a write can be abandoned when it is cancelled.  Its thread goes on, however,
    and must not undo a later write: a write that is abandoned before it has begun does nothing, and
    one that has begun delays the next one until it ends.  So the next write has to include
    everything that the abandoned one was to write.

    One task at a time calls `run`.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._latest = 0

    async def run(self, write: Callable[[], _T], *, abandon_on_cancel: bool) -> _T:
        """Run a write in a thread, and return what it returns.  A checkpoint.

        A cancellation takes effect when the write has ended, or at once with `abandon_on_cancel`.

        Raises:
          OSError: and whatever else `write` raises.
        """
        self._latest += 1
        return await clock.run_in_thread(
            partial(self._run_in_turn, self._latest, write), abandon_on_cancel=abandon_on_cancel
        )

    def _run_in_turn(self, number: int, write: Callable[[], _T]) -> _T:
        with self._turn:
            if number != self._latest:
                raise RuntimeError("abandoned before it has begun")  # nobody receives it
            return write()
