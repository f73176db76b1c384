"""Feeds the watchers of a replica from the log of changes in the database."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

import psycopg
import trio

from ....concurrency.backoff import Backoff
from .._columns import to_signed
from ..batch import LoggedChange
from ..rows import Change
from ..watchers import Watchers
from . import sql
from .connection import connect
from .errors import reason_of
from .pool import Pool

__all__ = ["Follower"]

log = logging.getLogger("trio_dispatch.service.store")

LOOK_INTERVAL: Final = 5.0
"""The log is read after this many seconds even if no notification came, since one may be lost."""

_CHANGES_AT_ONCE: Final = 500


class Follower:
    """Follows the changes of those microgrids that have watchers here.

    For each it has a *position*: the number of the last change that its watchers have.  What this
    replica commits itself is published directly if it comes next; everything else is read from the
    log, in order.  A notification only says that it is time to read.

    Args:
      name: The database, for the log.
      conninfo: How to connect to it for notifications.
      pool: Connections to read with.
      watchers: The watchers to feed.
    """

    def __init__(self, name: str, conninfo: str, pool: Pool, watchers: Watchers[Change]) -> None:
        self._name = name
        self._conninfo = conninfo
        self._pool = pool
        self._watchers = watchers
        self._positions: dict[int, int] = {}
        self._lock = trio.Lock()

    async def follow(self, microgrid_id: int) -> None:
        """Follow a microgrid from now on; begin to watch it before the next checkpoint.

        Raises:
          psycopg.Error: the database cannot be read.
        """
        async with self._lock:
            if microgrid_id in self._positions:
                return
            async with self._pool.connection() as connection:
                cursor = await connection.execute(sql.SEQUENCE, [to_signed(microgrid_id)])
                found = await cursor.fetchone()
            self._positions[microgrid_id] = 0 if found is None else found[0]

    async def publish(self, changes: Iterable[LoggedChange]) -> None:
        """Queue changes that this replica has committed for the watchers, each in its turn."""
        async with self._lock:
            for microgrid_id, group in groupby(changes, attrgetter("microgrid_id")):
                position = self._positions.get(microgrid_id)
                if position is None:
                    continue
                new = [each for each in group if each.sequence > position]
                if new and new[0].sequence == position + 1:
                    self._publish(microgrid_id, new)
                elif new:
                    await self._look([microgrid_id])

    async def run(self) -> None:
        """Read the log whenever there may be something new, for ever."""
        backoff = Backoff()
        while True:
            began = trio.current_time()
            try:
                await self._listen()
            except psycopg.Error as exc:
                log.warning("%s: changes are delayed: %s", self._name, reason_of(exc))
            await trio.sleep(backoff.delay(trio.current_time() - began))

    async def _listen(self) -> None:
        connection = await connect(self._conninfo)
        try:
            await connection.execute(sql.LISTEN)
            while True:
                async with self._lock:
                    await self._look([*self._positions])
                with trio.move_on_after(LOOK_INTERVAL):
                    await connection.wait_for_notifications()
        finally:
            with trio.CancelScope(shield=True):
                await connection.close()

    async def _look(self, microgrid_ids: list[int]) -> None:
        """Read what is new in microgrids, and publish it; with the lock."""
        for microgrid_id in [*microgrid_ids]:
            if not self._watchers.watched(microgrid_id):
                del self._positions[microgrid_id]
                microgrid_ids.remove(microgrid_id)
        while microgrid_ids:
            positions = [self._positions[id_] for id_ in microgrid_ids]
            values = [[*map(to_signed, microgrid_ids)], positions, _CHANGES_AT_ONCE]
            async with self._pool.connection() as connection:
                cursor = connection.cursor(binary=True)
                await cursor.execute(sql.CHANGES, values)
                rows = await cursor.fetchall()
            changes = map(sql.change_of_columns, rows)
            for microgrid_id, group in groupby(changes, attrgetter("microgrid_id")):
                self._publish(microgrid_id, [*group])
            await self._watchers.hand_over()
            if len(rows) < _CHANGES_AT_ONCE:
                return

    def _publish(self, microgrid_id: int, changes: Sequence[LoggedChange]) -> None:
        if changes[0].sequence != self._positions[microgrid_id] + 1:
            # The log no longer has what came before: this replica was suspended for long.
            self._watchers.disconnect_all(microgrid_id)
        self._watchers.publish([each.change for each in changes], wake=False)
        self._positions[microgrid_id] = changes[-1].sequence
