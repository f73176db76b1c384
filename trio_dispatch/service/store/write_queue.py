"""Writes that wait for a transaction, which they share."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio
from outcome import Error, Outcome, Value

from ..errors import StoreUnavailableError
from .batch import Batch
from .edits import Edit
from .rows import Change
from .watchers import Watchers

__all__ = ["Write", "WriteQueue"]

CHANGES_AT_ONCE: Final = 500
"""A transaction has no more changes than this, unless one write alone has."""


@dataclass(eq=False, slots=True)
class Write:
    """A write that waits for its turn, then for its outcome.

    Attributes:
      work: Carries the write out in a batch, and returns its changes.
      microgrid_id: The microgrid whose watchers set the pace, if any.
      reads: The ids of the dispatches that it reads.
      outcome: What became of it, once that is known.
    """

    work: Callable[[Batch], Sequence[Change]]
    microgrid_id: int | None = None
    reads: Collection[int] = ()
    outcome: Outcome[Sequence[Change]] | None = None
    _done: trio.Event = field(default_factory=trio.Event)
    _abandoned: bool = False

    @classmethod
    def of(cls, edit: Edit) -> Write:
        """Return the write that carries an edit out."""
        return cls(lambda batch: batch.carry_out(edit), edit.microgrid_id, edit.reads)

    @property
    def size(self) -> int:
        """How many changes it may make."""
        return max(1, len(self.reads))

    @property
    def changes(self) -> Sequence[Change]:
        """The changes that it has made."""
        return self.outcome.value if isinstance(self.outcome, Value) else ()

    def attempt(self, batch: Batch) -> None:
        """Carry the write out, and set the outcome."""
        try:
            self.outcome = Value(self.work(batch))
        except Exception as exc:  # noqa: BLE001 - it is raised in the caller's task
            self.outcome = Error(exc)


class WriteQueue:
    """The writes of a store that wait.  `run` takes as many as there are for each transaction.

    Writes to a microgrid whose watchers lag wait until those have caught up; see `Watchers`.

    Args:
      name: The store, for errors.
      watchers: The watchers that set the pace.
    """

    def __init__(self, name: str, watchers: Watchers[Change]) -> None:
        self._name = name
        self._watchers = watchers
        self._waiting: list[Write] = []
        self._wakeup = trio.Event()
        self._closed = False

    async def submit(self, write: Write) -> Sequence[Change]:
        """Wait for the outcome of a write; return its changes.

        If it is cancelled before its turn, the write is withdrawn.

        Raises:
          Exception: what the write raised.
          StoreError: it could not be carried out.
        """
        if self._closed:
            raise StoreUnavailableError(f"{self._name} is closed")
        self._waiting.append(write)
        self.wake()
        try:
            await write._done.wait()
        finally:
            write._abandoned = True
        assert write.outcome is not None
        return write.outcome.unwrap()

    def wake(self) -> None:
        """Look again at what waits: the watchers of a microgrid may have caught up."""
        self._wakeup.set()
        self._wakeup = trio.Event()

    async def run(self, commit: Callable[[Sequence[Write]], Awaitable[None]]) -> None:
        """Have writes carried out, for ever.

        Args:
          commit: Carries writes out in a transaction, sets their outcomes, and publishes the
            changes; it need not wake watchers, to which they are handed over.  A write that has
            been given to it cannot be withdrawn any more.
        """
        try:
            while True:
                writes, patience = self._next()
                if writes:
                    await commit(writes)
                    for write in writes:
                        write._done.set()
                    # Watchers are served ahead of the next writes.
                    await self._watchers.hand_over()
                else:
                    with trio.move_on_after(patience):
                        await self._wakeup.wait()
        finally:
            self._closed = True
            for write in self._waiting:
                write.outcome = Error(StoreUnavailableError(f"{self._name} is closed"))
                write._done.set()
            self._waiting.clear()

    def _next(self) -> tuple[Sequence[Write], float]:
        """Take the next writes; returns them, and how long to wait for watchers without any."""
        taken: list[Write] = []
        rest: list[Write] = []
        patience: dict[int, float] = {}
        size = 0
        for write in self._waiting:
            if write._abandoned:
                continue
            microgrid_id = write.microgrid_id
            if microgrid_id is not None and microgrid_id not in patience:
                patience[microgrid_id] = self._watchers.patience(microgrid_id)
            held_up = microgrid_id is not None and patience[microgrid_id] > 0
            if held_up or (taken and size + write.size > CHANGES_AT_ONCE):
                rest.append(write)
            else:
                taken.append(write)
                size += write.size
        self._waiting = rest
        return taken, min(patience.values(), default=math.inf)
