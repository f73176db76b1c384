"""Pending orphans: what a crashed process left running, until its end is delivered."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ..actors.messages import HandedOver, what_is_on
from ..model.dispatch import Dispatch
from .cache_file import SavedState
from .notices import NoticeKind

__all__ = ["LeftOn", "PendingOrphans"]


@dataclass(frozen=True, slots=True)
class LeftOn:
    """What has to be stopped if the process dies.

    Attributes:
      running: The dispatches that run, or are pending, as they are now.
      driven: What actors act on, as they were given it, and orphans as the last process left them.
    """

    running: Collection[Dispatch]
    driven: Collection[Dispatch]


class PendingOrphans:
    """The dispatches that the last process left running.

    One that still runs is announced like any other.  When it stops, or if it had stopped before
    this process started, its stop is kept for every receiver that is opened later: nothing else
    would stop it.  It is pending until a receiver has read a message about it.
    """

    def __init__(self) -> None:
        # As the last process left them, until they are handed over; one may have several contents.
        self._left: dict[Hashable, Dispatch] = {}
        self._acted_on: set[Hashable] = set()
        self._stopped: dict[int, Dispatch] = {}
        # Dicts, for their order.
        self._pending: dict[int, None] = {}

    @property
    def stopped(self) -> Collection[Dispatch]:
        """The stops of those that no longer run, as messages."""
        return self._stopped.values()

    @property
    def pending(self) -> Collection[int]:
        """The ids of those about which no receiver has read a message."""
        return self._pending.keys()

    @property
    def left(self) -> list[Dispatch]:
        """What has not been handed over and is pending, as the last process left it."""
        return [each for each in self._left.values() if each.id in self._pending]

    def inherit(self, saved: SavedState, dispatches: Mapping[int, Dispatch], now: datetime) -> None:
        """Add what the last process left running.

        Args:
          saved: What that process knew.
          dispatches: All dispatches that are known now.
        """
        self._acted_on = set(map(what_is_on, saved.left_on()))
        for dispatch in saved.left_running():
            self._left[what_is_on(dispatch)] = dispatch
            self._pending[dispatch.id] = None
            present = dispatches.get(dispatch.id)
            if present is None or not present.running_at(now):
                self._stopped[dispatch.id] = dispatch.sent_for(now, halted=True)

    def hand_over(
        self, types: Collection[str] | None, dispatches: Mapping[int, Dispatch], now: datetime
    ) -> HandedOver:
        """Return those of some types, or with None of all, as the last process left them.

        Each is returned once: later, the same components may be in use again.  One that still runs,
        but has got another type or target, or become a dry run, has to be stopped, too.

        Args:
          dispatches: All dispatches that are known now.
        """
        handed_over = HandedOver([], [])
        for key, left in [*self._left.items()]:
            if types is not None and left.type not in types:
                continue
            del self._left[key]
            present = dispatches.get(left.id)
            if (
                present is not None
                and left.id not in self._stopped
                and present.running_at(now)
                and what_is_on(present) == key
            ):
                if key in self._acted_on:
                    handed_over.going_on.append(left)
            else:
                handed_over.stopped.append(left.sent_for(now, halted=True))
        return handed_over

    def announced(self, message: Dispatch, kind: NoticeKind, now: datetime) -> None:
        """A status message was published."""
        if kind is NoticeKind.STOP and message.id in self._pending:
            self._stopped[message.id] = message.sent_for(message.sent_at or now, halted=True)
        else:
            self._stopped.pop(message.id, None)

    def received(self, message: Dispatch) -> bool:
        """A receiver has read a status message; returns whether its dispatch was pending."""
        if message.id not in self._pending:
            return False
        del self._pending[message.id]
        return True
