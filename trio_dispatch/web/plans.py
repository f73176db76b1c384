"""The computed plans of a view: pages that ask for the same share one computation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from .plan import PlanMemory, PlanQuery

__all__ = ["Plans"]

_KEPT: Final = 16
"""The most plans that are kept."""

_MEMORIES: Final = 4
"""The most queries of which more than the plan is kept."""

Encoded = tuple[bytes, bytes]


class Plans:
    """The plans that were asked for last.

    Args:
      revision: Returns a number that is another one after each change of what plans show.

    Attributes:
      limiter: Lets one plan be computed at a time.
    """

    def __init__(self, revision: Callable[[], int]) -> None:
        self.limiter = trio.CapacityLimiter(1)
        self._revision = revision
        self._known: dict[PlanQuery, tuple[int, Encoded]] = {}
        self._locks: dict[PlanQuery, trio.Lock] = {}
        self._memories: dict[PlanQuery, PlanMemory] = {}

    def memory(self, query: PlanQuery) -> PlanMemory:
        """Return what was computed for a query, for one computation at a time to use."""
        memory = self._memories.pop(query, PlanMemory())
        self._memories[query] = memory
        while len(self._memories) > _MEMORIES:
            del self._memories[next(iter(self._memories))]
        return memory

    async def get(self, query: PlanQuery, compute: Callable[[], Awaitable[Encoded]]) -> Encoded:
        """Return a plan that has every change so far, computing it if necessary."""
        lock = self._locks.setdefault(query, trio.Lock())
        revision = self._revision()
        try:
            async with lock:
                known = self._known.get(query)
                if known is not None and known[0] >= revision:
                    return known[1]
                revision = self._revision()
                plan = await compute()
                self._known.pop(query, None)
                self._known[query] = revision, plan
                while len(self._known) > _KEPT:
                    del self._known[next(iter(self._known))]
                return plan
        finally:
            statistics = lock.statistics()
            if not statistics.locked and not statistics.tasks_waiting:
                self._locks.pop(query, None)
