"""Pending orphans: what a crashed process left running, until its end is delivered."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from ..model.dispatch import Dispatch
from .notices import NoticeKind

__all__ = ["PendingOrphans"]


class PendingOrphans:
    """The dispatches that the last process left running.

    One that still runs is announced like any other.  When it stops, or if it had stopped before
    this process started, its stop is kept for every receiver that is opened later: nobody else
    would stop it.  It is pending until a receiver has read a message about it.
    """

    def __init__(self) -> None:
        self._stopped: dict[int, Dispatch] = {}
        # Dicts, for their order.
        self._pending: dict[int, None] = {}
        self._handed_over: set[int] = set()

    @property
    def stopped(self) -> Collection[Dispatch]:
        """The stops of those that no longer run, as messages."""
        return self._stopped.values()

    @property
    def pending(self) -> Collection[int]:
        """The ids of those about which no receiver has read a message."""
        return self._pending.keys()

    def inherit(self, dispatches: Iterable[Dispatch], now: datetime) -> None:
        """Add the dispatches that the last process left running."""
        for dispatch in dispatches:
            self._pending[dispatch.id] = None
            if not dispatch.running_at(now):
                self._stopped[dispatch.id] = dispatch.sent_for(now, halted=True)

    def hand_over(self, type: str) -> list[Dispatch]:
        """Return those of a type that have to be stopped, each of them once.

        Later, the same components may be in use again.
        """
        found = [
            each
            for each in self._stopped.values()
            if each.type == type and each.id not in self._handed_over
        ]
        self._handed_over.update(each.id for each in found)
        return found

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
