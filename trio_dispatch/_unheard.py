"""The pulses that were announced to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from .dispatch import Dispatch


class UnheardPulses:
    """Keeps pulses that were announced lately, until somebody comes whom they concern.

    Args:
      keep_for: A pulse is not told later than so long after it was due.
    """

    def __init__(self, keep_for: timedelta) -> None:
        self._keep_for = keep_for
        self._pulses: dict[int, Dispatch] = {}

    def put(self, message: Dispatch, now: datetime) -> None:
        """Keep the message about a pulse; a later one about the same dispatch takes its place."""
        self._forget_old(now)
        self._pulses[message.id] = message

    def withdraw(self, dispatch: Dispatch) -> None:
        """Forget the pulse of a dispatch that is not to be acted upon."""
        self._pulses.pop(dispatch.id, None)

    def take(self, type: str | None, now: datetime) -> Iterator[Dispatch]:
        """The pulses that concern a type, or any; they are then no longer kept."""
        self._forget_old(now)
        for dispatch in list(self._pulses.values()):
            if type in {None, dispatch.type}:
                yield self._pulses.pop(dispatch.id)

    def _forget_old(self, now: datetime) -> None:
        self._pulses = {
            id_: dispatch
            for id_, dispatch in self._pulses.items()
            if dispatch.pulse is not None and now - dispatch.pulse <= self._keep_for
        }
