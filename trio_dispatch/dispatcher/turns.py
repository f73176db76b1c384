"""What the dispatchers on one channel share: turns to synchronise, and what was logged.

When the service comes back after an outage, every dispatcher on the channel wants to open its
stream and read its list.  They take turns: so many at a time, which makes them as slow as the
service is, and so many a second, however fast it answers or fails.  An outage is one warning.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import trio

if TYPE_CHECKING:
    from ..client.client import Channel

__all__ = ["Turns", "turns_of"]

_AT_A_TIME = 20
_PER_SECOND = 200


class Turns:
    """The turns of the dispatchers on one channel."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_AT_A_TIME)
        self._next_begin = float("-inf")
        self._reported: set[str] = set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, first come, first served; the turn ends with the block."""
        async with self._limiter:
            begin = max(trio.current_time(), self._next_begin)
            self._next_begin = begin + 1 / _PER_SECOND
            await trio.sleep_until(begin)
            yield

    def is_news(self, kind: str) -> bool:
        """Whether this kind of error is new since a dispatcher came back from an outage."""
        is_news = kind not in self._reported
        self._reported.add(kind)
        return is_news

    def has_contact(self) -> None:
        """A dispatcher is back from an outage."""
        self._reported.clear()


_turns: WeakKeyDictionary[Channel, Turns] = WeakKeyDictionary()


def turns_of(channel: Channel | None) -> Turns:
    """Return the turns of a channel; None is a channel that no other dispatcher uses."""
    return Turns() if channel is None else _turns.setdefault(channel, Turns())
