"""Pending orphans: what a crashed process left running, until its end is delivered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from ..model.dispatch import Dispatch
from .notices import NoticeKind

__all__ = ["PendingOrphans"]


class PendingOrphans:
    """The dispatches that the last process left running.

    One that still runs is announced like any other.  When it stops, or if it had stopped before
    this process started, its stop is kept for every receiver that is opened later: nothing else
    would stop it.  It is pending until a receiver has read a message about it.
    """

    def __init__(self) -> None:
        # As the last process left them, until they are handed over.
        self._left: dict[int, Dispatch] = {}
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

    def inherit(self, dispatches: Iterable[Dispatch], now: datetime) -> None:
        """Add the dispatches that the last process left running."""
        for dispatch in dispatches:
            self._left[dispatch.id] = dispatch
            self._pending[dispatch.id] = None
            if not dispatch.running_at(now):
                self._stopped[dispatch.id] = dispatch.sent_for(now, halted=True)

    def hand_over(
        self, type: str, dispatches: Mapping[int, Dispatch], now: datetime
    ) -> list[Dispatch]:
        """Return those of a type that have to be stopped, as the last process left them.

        Each is returned once: later, the same components may be in use again.  One that still runs
        is returned only if it has got another type or target, or become a dry run.

        Args:
          dispatches: All dispatches that are known now.
        """
        found = []
        for left in [each for each in self._left.values() if each.type == type]:
            del self._left[left.id]
            present = dispatches.get(left.id)
            goes_on = (
                present is not None
                and left.id not in self._stopped
                and present.running_at(now)
                and _what_is_on(present) == _what_is_on(left)
            )
            if not goes_on:
                found.append(left.sent_for(now, halted=True))
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


def _what_is_on(dispatch: Dispatch) -> tuple[object, ...]:
    return dispatch.type, dispatch.target, dispatch.dry_run
