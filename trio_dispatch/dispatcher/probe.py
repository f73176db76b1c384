"""Whether what is known agrees with the last updates and the total of the service's list.

Every change that the stream did not deliver shows in one of them.  A deletion changes the total.
If the stream has changed `n` dispatches since the last probe, the `n + 1` that were updated last
are asked for: what was created or updated without a word of the stream is among them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from ..model.dispatch import Dispatch
from ..model.events import Created, Deleted, LifecycleEvent, Updated
from ..model.undecodable import Undecodable
from .mirror import Mirror

__all__ = ["Changes", "Comparison"]

_STATES_LIMIT = 100


class Changes:
    """The dispatches that changed since the mirror last agreed with the service."""

    def __init__(self) -> None:
        self._ids: set[int] = set()

    def add(self, events: Iterable[LifecycleEvent]) -> None:
        """The mirror has changed."""
        for event in events:
            if isinstance(event, Created | Updated):
                self._ids.add(event.dispatch.id)
            else:
                self._ids.discard(event.dispatch.id)

    def clear(self) -> None:
        """The mirror agrees with the service."""
        self._ids.clear()

    @property
    def probe_size(self) -> int:
        """How many of the last updates to ask for."""
        return len(self._ids) + 1


class Comparison:
    """Compares the answer to a probe with the states of the mirror since the probe was sent.

    While the answer is on its way the mirror moves on, and it may agree with any of its states.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        # The last states in order: each total, and the events that led to it.
        self._states: deque[tuple[int, Sequence[LifecycleEvent]]] = deque(maxlen=_STATES_LIMIT)
        self._states.append((mirror.total, ()))

    @property
    def is_quiet(self) -> bool:
        """Whether the mirror has not changed."""
        return len(self._states) == 1

    def add(self, events: Sequence[LifecycleEvent]) -> None:
        """The mirror has changed."""
        self._states.append((self._mirror.total, events))

    def explains(self, total: int, last_updates: Sequence[Dispatch | Undecodable]) -> bool:
        """Whether the mirror agrees with an answer, or did while the answer was on its way."""
        earlier: dict[int, Dispatch | None] = {}

        def has(item: Dispatch | Undecodable) -> bool:
            if item.id in earlier:
                return earlier[item.id] == item
            return self._mirror.has(item)

        for state_total, events in reversed(self._states):
            if state_total == total and all(map(has, last_updates)):
                return True
            for event in reversed(events):
                earlier[event.dispatch.id] = _before(event)
        return False


def _before(event: LifecycleEvent) -> Dispatch | None:
    """The content of a dispatch before an event, None if it was not known."""
    match event:
        case Updated(previous=previous) | Deleted(_previous=previous):
            return previous
        case Created():
            return None
