"""A value that tasks can look at and wait for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

__all__ = ["Observable"]

T_co = TypeVar("T_co", covariant=True)


class Observable(Protocol[T_co]):
    """A value that changes, to look at and to wait for: a read-only view of an `AsyncValue`.

    ::

        state = await dispatcher.sync_state.wait_value(lambda s: s.phase is SyncPhase.LIVE)

        async for state in dispatcher.sync_state.eventual_values():
            print(state)
    """

    @property
    def value(self) -> T_co:
        """The present value."""

    async def wait_value(self, predicate: Callable[[T_co], bool]) -> T_co:
        """Wait for a value that satisfies the predicate, and return it.

        The present value counts.  A value that was replaced before this task ran again is returned
        all the same.  A checkpoint.
        """

    def eventual_values(self) -> AsyncIterator[T_co]:
        """Iterate over the present value and those that follow.

        A value that is replaced while the body of the loop runs is skipped, unless it is the last.
        """
