"""Messages that were announced and that no receiver has read yet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from .. import clock
from ..model.dispatch import Dispatch
from ..model.events import MissedRun

__all__ = ["UndeliveredMissedRuns", "UndeliveredPulses"]

M = TypeVar("M", Dispatch, MissedRun)
_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class _Kept(Generic[M]):
    message: M
    occurrence: datetime
    until: datetime


class _Undelivered(Generic[M]):
    """Keeps the last message about each dispatch, for a time, until a receiver has read it.

    Every receiver that is opened meanwhile starts with it.
    """

    def __init__(self, keep_for: timedelta) -> None:
        self._keep_for = keep_for
        self._kept: OrderedDict[int, _Kept[M]] = OrderedDict()

    def _keep(self, id_: int, message: M, occurrence: datetime, since: datetime) -> None:
        self._kept[id_] = _Kept(message, occurrence, since + self._keep_for)
        self._kept.move_to_end(id_)
        while self._kept:
            first = next(iter(self._kept.values()))
            if first.until >= since and len(self._kept) <= _LIMIT:
                break
            self._kept.popitem(last=False)

    def _read(self, id_: int, occurrence: datetime) -> None:
        kept = self._kept.get(id_)
        if kept is not None and kept.occurrence <= occurrence:
            del self._kept[id_]

    def _messages(self) -> Iterator[M]:
        now = clock.now()
        for kept in self._kept.values():
            if now <= kept.until:
                yield kept.message


class UndeliveredPulses(_Undelivered[Dispatch]):
    """The pulses that no receiver has read, each for `keep_for` after it was due."""

    def announced(self, message: Dispatch) -> None:
        """A status message was published, or replaces a queued one."""
        if message.pulse is not None:
            self._keep(message.id, message, message.pulse, message.pulse)
        elif message.deleted or not message.active:
            self._kept.pop(message.id, None)

    def received(self, message: Dispatch) -> None:
        """A receiver has read a status message."""
        if message.pulse is not None:
            self._read(message.id, message.pulse)

    def snapshot(self, type: str | None) -> Iterator[Dispatch]:
        """Iterate over the pulses of a type, or of all types."""
        return (each for each in self._messages() if type in {None, each.type})


class UndeliveredMissedRuns(_Undelivered[MissedRun]):
    """The last missed run of each dispatch, unless a receiver has read it."""

    def announced(self, missed: MissedRun, now: datetime) -> None:
        """A missed run was published."""
        self._keep(missed.dispatch.id, missed, missed.start, now)

    def received(self, missed: MissedRun) -> None:
        """A receiver has read about a missed run."""
        self._read(missed.dispatch.id, missed.start)

    def snapshot(self, type: str | None) -> Iterator[MissedRun]:
        """Iterate over the missed runs of a type, or of all types."""
        return (each for each in self._messages() if type in {None, each.dispatch.type})
