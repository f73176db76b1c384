"""The pulses that were announced to nobody."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta

from ..model.dispatch import Dispatch


class UnheardPulses:
    """Keeps pulses that were announced lately, until somebody comes whom they concern.

    Args:
      keep_for: A pulse is not told later than so long after it was due.
    """

    def __init__(self, keep_for: timedelta) -> None:
        self._keep_for = keep_for
        self._pulses: OrderedDict[int, Dispatch] = OrderedDict()

    def put(self, message: Dispatch, now: datetime) -> None:
        """Keep the message about a pulse; a later one about the same dispatch takes its place."""
        self._pulses[message.id] = message
        self._pulses.move_to_end(message.id)
        while self._pulses and self._is_old(next(iter(self._pulses.values())), now):
            self._pulses.popitem(last=False)

    def withdraw(self, dispatch: Dispatch) -> None:
        """Forget the pulse of a dispatch that is not to be acted upon."""
        self._pulses.pop(dispatch.id, None)

    def take(self, type: str | None, now: datetime) -> Iterator[Dispatch]:
        """The pulses that concern a type, or any; they are then no longer kept."""
        for dispatch in list(self._pulses.values()):
            if self._is_old(dispatch, now):
                del self._pulses[dispatch.id]
            elif type in {None, dispatch.type}:
                yield self._pulses.pop(dispatch.id)

    def _is_old(self, dispatch: Dispatch, now: datetime) -> bool:
        return dispatch.pulse is None or now - dispatch.pulse > self._keep_for
