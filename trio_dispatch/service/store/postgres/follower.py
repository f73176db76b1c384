"""Feeds the watchers of a replica from what is in the database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final, Generic, TypeVar

import psycopg
import trio

from ....concurrency.backoff import Backoff
from .._columns import to_signed
from ..watchers import Published, Watchers
from .connection import connect
from .errors import mapped_to_store_errors, reason_of
from .pool import Pool

__all__ = ["Feed", "Follower"]

log = logging.getLogger("trio_dispatch.service.store")

LOOK_INTERVAL: Final = 5.0
"""The database is asked after this many seconds without a notification, since one may be lost."""

_CHANGES_AT_ONCE: Final = 500

_C = TypeVar("_C", bound=Published)


@dataclass(frozen=True, slots=True)
class Feed(Generic[_C]):
    """Where the changes of one kind are.

    Attributes:
      channel: Where a notification says that there are new ones.
      position: Selects the number of the last change of a microgrid.
      changes: Selects the changes of some microgrids after a number for each, in order.
      change_of: Makes a change of selected columns.
      number_of: Returns the number of a change.
      gapless: Whether every number has a change.  If not, changes may replace earlier ones.
    """

    channel: str
    position: str
    changes: str
    change_of: Callable[[Sequence[object]], _C]
    number_of: Callable[[_C], int]
    gapless: bool


class Follower(Generic[_C]):
    """Follows the changes of those microgrids that have watchers here.

    For each it has a *position*: the number of the last change that its watchers have.  What this
    replica commits itself is published directly if it comes next; everything else is read from the
    database, in order.  A notification only says that it is time to read.

    Args:
      name: The database, for the log.
      conninfo: How to connect to it for notifications.
      pool: Connections to read with.
      feed: The kind of changes.
      watchers: The watchers to feed.
    """

    def __init__(
        self, name: str, conninfo: str, pool: Pool, feed: Feed[_C], watchers: Watchers[_C]
    ) -> None:
        self._name = name
        self._conninfo = conninfo
        self._pool = pool
        self._feed = feed
        self._watchers = watchers
        self._positions: dict[int, int] = {}
        self._lock = trio.Lock()
        watchers.follow = self._follow

    async def _follow(self, microgrid_id: int) -> None:
        """Follow a microgrid from now on, see `Watchers.follow`.

        Raises:
          StoreError: the database cannot be read.
        """
        async with self._lock:
            if microgrid_id in self._positions:
                return
            with mapped_to_store_errors(self._name):
                async with self._pool.connection() as connection:
                    values = [to_signed(microgrid_id)]
                    cursor = await connection.execute(self._feed.position, values)
                    found = await cursor.fetchone()
            self._positions[microgrid_id] = 0 if found is None else found[0]

    async def publish(self, changes: Iterable[_C]) -> None:
        """Queue changes that this replica has committed for the watchers, each in its turn.

        If the database cannot be read, those that others have made before come later.
        """
        with suppress(psycopg.Error):
            async with self._lock:
                for microgrid_id, group in groupby(changes, attrgetter("microgrid_id")):
                    position = self._positions.get(microgrid_id)
                    if position is None:
                        continue
                    new = [each for each in group if self._feed.number_of(each) > position]
                    if new and self._feed.number_of(new[0]) == position + 1:
                        self._publish(microgrid_id, new)
                    elif new:
                        await self._look([microgrid_id])

    async def run(self) -> None:
        """Read whenever there may be something new, for ever."""
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
            await connection.execute(f"LISTEN {self._feed.channel}")
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
                await cursor.execute(self._feed.changes, values)
                rows = await cursor.fetchall()
            changes = map(self._feed.change_of, rows)
            for microgrid_id, group in groupby(changes, attrgetter("microgrid_id")):
                self._publish(microgrid_id, [*group])
            await self._watchers.hand_over()
            if len(rows) < _CHANGES_AT_ONCE:
                return

    def _publish(self, microgrid_id: int, changes: Sequence[_C]) -> None:
        first, last = map(self._feed.number_of, (changes[0], changes[-1]))
        if self._feed.gapless and first != self._positions[microgrid_id] + 1:
            # The database no longer has what came before: this replica was suspended for long.
            self._watchers.disconnect_all(microgrid_id)
        self._watchers.publish(changes, wake=False)
        self._positions[microgrid_id] = last
