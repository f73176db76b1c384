"""The last status of each dispatcher, which is stored a little later, together with others.

A dispatcher tells its status every half minute or so.  To lose the last one does no harm, so it is
kept in memory and stored within `STORE_DELAY`, at most once in that time.  What must not be lost,
the reports themselves and how many were lost, is stored at once.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeAlias

import trio

from .. import clock
from ..api.codec import time_to_nanos
from ..api.dispatchers import decode_status
from ..model.dispatchers import DispatcherInfo
from ..model.times import time_from_nanos
from .errors import StoreError
from .store.runs import Delivery, RunStore, ToldStatus

__all__ = ["STORE_DELAY", "Statuses"]

log = logging.getLogger("trio_dispatch.service.statuses")

STORE_DELAY: Final = 30.0
"""A status is stored at most this number of seconds later."""

_LAST_STORE_TIMEOUT: Final = 2.0
_TRUSTED: Final = 600 * 10**9  # nanoseconds

_Name: TypeAlias = tuple[int, str]  # microgrid, dispatcher


class Statuses:
    """Takes what dispatchers deliver; `run` has to run.

    Args:
      runs: Where everything is stored.
    """

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs
        # The last delivery of each dispatcher that has reported recently, without its reports.
        self._delivered: dict[_Name, Delivery] = {}
        self._unstored: dict[_Name, ToldStatus] = {}
        self._arrived = trio.Event()

    async def report(self, delivery: Delivery, status: bytes | None) -> int:
        """Store reports, and take the status; return as `RunStore.report` does.

        If there is nothing but a status, it is stored later, and 0 is returned.
        """
        name = delivery.microgrid_id, delivery.dispatcher
        rest = replace(delivery, reports=())
        last = 0
        if delivery.reports or status is None or self._differs(rest):
            last = await self._runs.report(delivery)
            if status is not None:
                self._delivered[name] = rest
        else:
            await trio.lowlevel.checkpoint()
        if status is not None:
            self._unstored[name] = ToldStatus(*name, delivery.now, status)
            self._arrived.set()
        return last

    async def dispatchers(self, microgrid_id: int, now: datetime) -> list[DispatcherInfo]:
        """Return the dispatchers that have reported to a microgrid, by name."""
        before = self._unstored.copy()
        stored = await self._runs.dispatchers(microgrid_id)
        told = before | self._unstored
        return [_latest(info, told.get((microgrid_id, info.name)), now) for info in stored]

    async def all_dispatchers(self, now: datetime) -> dict[int, list[DispatcherInfo]]:
        """Return the dispatchers that have reported, by microgrid, by name."""
        before = self._unstored.copy()
        stored = await self._runs.list_dispatchers()
        told = before | self._unstored
        return {
            id_: [_latest(info, told.get((id_, info.name)), now) for info in found]
            for id_, found in stored.items()
        }

    async def run(self) -> None:
        """Store new statuses until cancelled; then those that are left."""
        try:
            while True:
                await self._arrived.wait()
                await trio.sleep(STORE_DELAY)
                self._arrived = trio.Event()
                self._forget()
                await self._store()
        finally:
            with trio.move_on_after(_LAST_STORE_TIMEOUT, shield=True):
                await self._store()

    def _differs(self, delivery: Delivery) -> bool:
        """Whether a delivery without reports has something that is not stored."""
        known = self._delivered.get((delivery.microgrid_id, delivery.dispatcher))
        return (
            known is None
            or replace(known, now=delivery.now) != delivery
            # It may have been removed, since it had been silent for long.
            or delivery.now - known.now > _TRUSTED
        )

    def _forget(self) -> None:
        """Forget the deliveries that are no longer trusted."""
        now = time_to_nanos(clock.now())
        self._delivered = {
            name: known for name, known in self._delivered.items() if now - known.now <= _TRUSTED
        }

    async def _store(self) -> None:
        some = [*self._unstored.values()]
        if not some:
            return
        try:
            await self._runs.note_statuses(some)
        except StoreError as exc:
            what = f"{len(some)} dispatcher{'' if len(some) == 1 else 's'}"
            log.warning("the status of %s is not stored: %s", what, exc)
            return
        for told in some:
            if self._unstored.get(told.name) is told:
                del self._unstored[told.name]


def _latest(info: DispatcherInfo, told: ToldStatus | None, now: datetime) -> DispatcherInfo:
    """Return what is stored about a dispatcher, with the status that it has told since."""
    if told is not None and (heard := time_from_nanos(told.time)) >= info.last_report_time:
        info = replace(info, last_report_time=heard, status=decode_status(told.status))
    since = info.last_report_time if info.is_silent(now) else None
    return replace(info, offline_since=since)
