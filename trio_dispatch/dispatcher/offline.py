"""Stops all runs when the service has been out of reach for too long."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from trio_util import AsyncValue

from .state import SyncState

__all__ = ["limit_offline"]

log = logging.getLogger("trio_dispatch.dispatcher")


async def limit_offline(
    limit: timedelta,
    state: AsyncValue[SyncState],
    *,
    microgrid_id: int,
    suspend: Callable[[], None],
    resume: Callable[[], None],
) -> None:
    """Suspend the schedule while there has been no contact for `limit`; until cancelled."""
    while True:
        await state.wait_value(_is_offline, held_for=limit.total_seconds())
        log.error(
            "microgrid %d: the service has been out of reach for %s; all runs are stopped",
            microgrid_id,
            limit,
        )
        suspend()
        await state.wait_value(lambda state: not _is_offline(state))
        log.warning("microgrid %d: the service is back; the schedule goes on", microgrid_id)
        resume()


def _is_offline(state: SyncState) -> bool:
    return state.offline_since is not None
