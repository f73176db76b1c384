"""Which dispatches start and stop running: for people to see, so that nothing is announced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import trio

from .. import clock
from ..dispatcher.agenda import Agenda
from ..dispatcher.notices import Notice, NoticeKind
from ..model.dispatch import Dispatch
from ..model.events import Deleted, LifecycleEvent

__all__ = ["Statuses"]

_TRANSITIONS_AT_ONCE: Final = 100
"""The number of transitions after which other tasks have their turn."""


class Statuses:
    """The starts and stops of a microgrid's dispatches.  What was over before is not of interest.

    Args:
      take: Takes a dispatch that starts or stops running, or changes while it runs.
    """

    def __init__(self, take: Callable[[Dispatch], None]) -> None:
        self._take = take
        self._agenda = Agenda(history=timedelta(), opened=clock.now())
        self._nap = trio.CancelScope()
        self._wakes_at: datetime | None = None

    def apply(self, events: Iterable[LifecycleEvent], expired: Iterable[int]) -> None:
        """Take changes of dispatches, and the ids of expired ones; not a checkpoint."""
        now = clock.now()
        for event in events:
            if isinstance(event, Deleted):
                self._pass_on(self._agenda.remove(event.dispatch, now))
            else:
                self._pass_on(self._agenda.upsert(event.dispatch, now, limit=_TRANSITIONS_AT_ONCE))
        for id_ in expired:
            self._agenda.forget(id_)
        due = self._agenda.next_due
        if due is not None and (self._wakes_at is None or due < self._wakes_at):
            self._nap.cancel()

    async def run(self) -> None:
        """Take what is due, and sleep until the next transition; until cancelled."""
        while True:
            now = clock.now()
            self._pass_on(self._agenda.advance(now, _TRANSITIONS_AT_ONCE))
            self._nap, self._wakes_at = trio.CancelScope(), self._agenda.next_due
            if self._wakes_at is not None and self._wakes_at <= now:
                await trio.lowlevel.checkpoint()
            else:
                await clock.sleep_towards(self._wakes_at, self._nap)

    def _pass_on(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if isinstance(notice.message, Dispatch) and notice.kind is not NoticeKind.REPLACE:
                self._take(notice.message)
