"""What ran when the last process died, until somebody is told to stop it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from ..model.dispatch import Dispatch
from .notices import NoticeKind


class Orphans:
    """Keeps what the last process has left running.

    What still runs is told to whoever comes, as anything that runs.  When it stops, or if it had
    stopped before this process began, and nobody has heard of it yet, it is kept for those who
    come later: nobody else would stop it.
    """

    def __init__(self) -> None:
        self._stopped: dict[int, Dispatch] = {}
        # Dicts for their order.
        self._untold: dict[int, None] = {}
        self._handed_over: set[int] = set()

    @property
    def stopped(self) -> Collection[Dispatch]:
        """What is to be stopped, as the message that says so."""
        return self._stopped.values()

    @property
    def untold(self) -> Collection[int]:
        """The ids of what was left running, and of which nobody has been told."""
        return self._untold.keys()

    def hand_over(self, type: str) -> list[Dispatch]:
        """Those of a type that are to be stopped and were not yet handed to anybody for that.

        Later the same components may be in use again.
        """
        found = [
            each
            for each in self._stopped.values()
            if each.type == type and each.id not in self._handed_over
        ]
        self._handed_over.update(each.id for each in found)
        return found

    def inherit(self, dispatches: Iterable[Dispatch], now: datetime) -> None:
        """These ran when the last process died."""
        for dispatch in dispatches:
            self._untold[dispatch.id] = None
            if not dispatch.running_at(now):
                self._stopped[dispatch.id] = dispatch.sent_for(now, halted=True)

    def announced(self, message: Dispatch, kind: NoticeKind, *, heard: bool) -> None:
        """A status message was published, and heard by somebody or by nobody."""
        self._stopped.pop(message.id, None)
        if heard:
            self._untold.pop(message.id, None)
        elif kind is NoticeKind.STOP and message.id in self._untold:
            moment = message.sent_at or message.update_time
            self._stopped[message.id] = message.sent_for(moment, halted=True)

    def told(self, message: Dispatch, type: str | None) -> bool:
        """A new receiver begins with this message; whether nobody was told of it before."""
        if type not in {None, message.type} or message.id not in self._untold:
            return False
        del self._untold[message.id]
        return True
