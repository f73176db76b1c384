"""Writes that wait for a transaction, which they share."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

import trio
from outcome import Error, Outcome, Value

from ... import clock
from ..errors import StoreUnavailableError
from .batch import Batch
from .edits import Edit
from .rows import Change
from .watchers import Watchers

__all__ = ["Write", "WriteQueue"]

CHANGES_AT_ONCE: Final = 500
"""A transaction has no more changes than this, unless one write alone has."""


_AWAY: Final = 0.1
"""After this number of seconds a thread returns, although further writes wait."""

_R = TypeVar("_R")


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

    def take_outcome(self) -> Outcome[Sequence[Change]]:
        """Remove the outcome: the traceback of an error refers to the write."""
        outcome, self.outcome = self.outcome, None
        assert outcome is not None
        return outcome

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
    """The writes of a store that wait; as many as there are share a transaction.

    Writes to a microgrid whose watchers lag wait until those have caught up; see `Watchers`.

    Args:
      name: The store, for errors.
      watchers: The watchers that set the pace.
    """

    def __init__(self, name: str, watchers: Watchers[Change]) -> None:
        self._name = name
        self._watchers = watchers
        # Writes that are held up by watchers, and those whose turn has come.
        self._held: list[Write] = []
        self._ready: deque[Write] = deque()
        self._patience = math.inf
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
        self._held.append(write)
        self.wake()
        try:
            await write._done.wait()
        finally:
            write._abandoned = True
        return write.take_outcome().unwrap()

    def wake(self) -> None:
        """Look again at what is held up: the watchers of a microgrid may have caught up."""
        self._release()
        self._wakeup.set()
        self._wakeup = trio.Event()

    async def run(self, commit: Callable[[Sequence[Write]], Awaitable[None]]) -> None:
        """Have writes carried out, for ever.

        Args:
          commit: Carries writes out in a transaction, sets their outcomes, and publishes the
            changes; it need not wake watchers, to which they are handed over.  A write that has
            been given to it cannot be withdrawn any more.
        """
        with self._closing():
            while True:
                await self._wait()
                if writes := self._take():
                    await commit(writes)
                    self._finish(writes)
                    # Watchers are served ahead of the next writes.
                    await self._watchers.hand_over()

    async def run_in_thread(
        self,
        transact: Callable[[Sequence[Write]], _R],
        publish: Callable[[Sequence[Write], _R], None],
        limiter: trio.CapacityLimiter,
    ) -> None:
        """Have writes carried out in a worker thread, for ever.

        The thread goes on with the writes that have arrived meanwhile, unless they are fewer than
        in its last transaction, or watchers are behind.  Otherwise the disk would be idle from each
        transaction until the event loop has time to begin the next one.  With fewer writes that
        time is well spent: more of them share the next transaction.

        Args:
          transact: Carries writes out in a transaction and sets their outcomes, in the thread.
          publish: Publishes the changes; it need not wake watchers.  It is called in the event loop
            with what `transact` returned, in the order of the transactions.
        """
        token = trio.lowlevel.current_trio_token()

        # An error in a callback would end the event loop, so the owner of the thread raises it.
        errors: list[Exception] = []

        def finish(writes: Sequence[Write], result: _R) -> None:
            try:
                publish(writes, result)
            except Exception as exc:  # noqa: BLE001
                errors.append(exc)
            self._finish(writes)
            self._watchers.hand_over_some()

        def work() -> None:
            end = time.perf_counter() + _AWAY
            while writes := self._take():
                token.run_sync_soon(finish, writes, transact(writes))
                fewer = len(self._ready) < len(writes)
                if fewer or self._watchers.due or time.perf_counter() >= end:
                    break

        with self._closing():
            while True:
                await self._wait()
                await clock.run_in_thread(work, limiter=limiter)
                if errors:
                    raise errors[0]
                await self._watchers.hand_over()

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """Refuse all writes at the end of the block."""
        try:
            yield
        finally:
            self._closed = True
            for write in (*self._held, *self._ready):
                write.outcome = Error(StoreUnavailableError(f"{self._name} is closed"))
                write._done.set()
            self._held.clear()
            self._ready.clear()

    async def _wait(self) -> None:
        """Wait until it is the turn of a write."""
        self._release()
        while not self._ready:
            with trio.move_on_after(self._patience):
                await self._wakeup.wait()
            self._release()

    def _release(self) -> None:
        """Move the writes whose turn has come."""
        held: list[Write] = []
        patience: dict[int, float] = {}
        for write in self._held:
            if write._abandoned:
                continue
            microgrid_id = write.microgrid_id
            if microgrid_id is not None and microgrid_id not in patience:
                patience[microgrid_id] = self._watchers.patience(microgrid_id)
            if microgrid_id is not None and patience[microgrid_id] > 0:
                held.append(write)
            else:
                self._ready.append(write)
        self._held = held
        self._patience = min(patience.values(), default=math.inf) if held else math.inf

    def _take(self) -> list[Write]:
        """Take the next writes; may be called in a thread."""
        taken: list[Write] = []
        size = 0
        while self._ready:
            write = self._ready[0]
            if taken and size + write.size > CHANGES_AT_ONCE:
                break
            self._ready.popleft()
            if not write._abandoned:
                taken.append(write)
                size += write.size
        return taken

    @staticmethod
    def _finish(writes: Sequence[Write]) -> None:
        for write in writes:
            write._done.set()
