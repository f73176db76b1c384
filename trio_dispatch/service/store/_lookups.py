"""Reads of single dispatches from a database.

A change of threads costs more than such a read.  So one task reads for all: it takes the look-ups
that wait, carries them out in a worker thread with one statement, and continues with those that
have arrived meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
import trio
from outcome import Error, Outcome, Value

from ... import clock
from ..errors import StoreUnavailableError, copy_of
from ._sql_errors import mapped_to_store_errors
from ._transaction import find_all
from .rows import Row

__all__ = ["Lookups"]

_AT_ONCE = 500


@dataclass(eq=False, slots=True)
class _Lookup:
    id: int
    outcome: Outcome[Row | None] | None = None
    done: trio.Event = field(default_factory=trio.Event)

    def take_outcome(self) -> Outcome[Row | None]:
        """Remove the outcome: the traceback of an error refers to the look-up."""
        outcome, self.outcome = self.outcome, None
        assert outcome is not None
        return outcome


class Lookups:
    """Looks dispatches up by their ids; `run` does the work."""

    def __init__(self, path: Path, engine: sa.Engine) -> None:
        self._path = path
        self._engine = engine
        self._limiter = trio.CapacityLimiter(1)
        self._waiting: list[_Lookup] = []
        self._arrival = trio.lowlevel.ParkingLot()

    async def find(self, dispatch_id: int) -> Row | None:
        """Return the dispatch with an id, whatever its microgrid."""
        lookup = _Lookup(dispatch_id)
        self._waiting.append(lookup)
        self._arrival.unpark_all()
        await lookup.done.wait()
        return lookup.take_outcome().unwrap()

    async def run(self) -> None:
        """Carry out look-ups for ever."""
        try:
            while True:
                if not self._waiting:
                    await self._arrival.park()
                batch = self._waiting[:_AT_ONCE]
                await clock.run_in_thread(self._read, batch, limiter=self._limiter)
                del self._waiting[: len(batch)]
                for lookup in batch:
                    lookup.done.set()
        finally:
            for lookup in self._waiting:
                lookup.outcome = Error(StoreUnavailableError(f"{self._path} is closed"))
                lookup.done.set()
            self._waiting.clear()

    def _read(self, batch: Sequence[_Lookup]) -> None:
        """Set the outcomes, in a worker thread; a damaged row fails only its own look-ups."""
        try:
            # A single statement needs no transaction.
            with mapped_to_store_errors(self._path), self._engine.connect() as connection:
                rows = find_all(connection, {lookup.id for lookup in batch})
        except StoreUnavailableError as error:
            for lookup in batch:
                lookup.outcome = Error(copy_of(error))
        except Exception as exc:  # noqa: BLE001 - it is raised in the caller's task
            if len(batch) == 1:
                batch[0].outcome = Error(exc)
            else:
                for lookup in batch:
                    self._read([lookup])
        else:
            for lookup in batch:
                lookup.outcome = Value(rows.get(lookup.id))
