"""Runs in a PostgreSQL database.

Each delivery of reports is a transaction, which locks the counters of its microgrid.  If it fails,
the dispatcher sends the reports again, and those that were stored are ignored then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ....model.dispatchers import DispatcherInfo
from .._columns import from_signed, text_of_nanos, to_signed
from ..logs import LogPage, LogQuery, RunFilter, log_page
from ..queries import PageBuilder
from ..runs import (
    REMEMBERED_REPORTERS,
    Delivery,
    Reporter,
    RunCounters,
    RunKey,
    RunRow,
    RunStore,
    ToldStatus,
    check_room,
    dispatcher_of,
    fold,
)
from ..watchers import Watchers
from . import log_sql, sql
from .connection import TrioConnection
from .errors import mapped_to_store_errors
from .follower import Feed, Follower
from .pool import Pool

__all__ = ["PostgresRuns"]

_FEED = Feed(
    channel="trio_dispatch_runs",
    position=log_sql.REVISION,
    changes=log_sql.RUNS_AFTER,
    change_of=log_sql.run_row,
    number_of=lambda row: row.revision,
    gapless=False,
)


class PostgresRuns(RunStore):
    """Keeps runs in a PostgreSQL database.

    Attributes:
      follower: Feeds the watchers; its `run` has to run.

    Args:
      name: The database, for errors.
      conninfo: How to connect to it for notifications.
      pool: Connections to it.
      watchers: The watchers of runs.
      wait_for_watchers: Waits while the watchers of a microgrid lag.
    """

    def __init__(
        self,
        name: str,
        conninfo: str,
        pool: Pool,
        watchers: Watchers[RunRow],
        wait_for_watchers: Callable[[Watchers[RunRow], int], Awaitable[None]],
    ) -> None:
        self.watchers = watchers
        self.follower = Follower(name, conninfo, pool, _FEED, watchers)
        self._name = name
        self._pool = pool
        self._wait_for_watchers = wait_for_watchers

    async def report(self, delivery: Delivery) -> int:
        await self._wait_for_watchers(self.watchers, delivery.microgrid_id)
        with mapped_to_store_errors(self._name):
            async with self._pool.connection() as connection:
                await connection.execute("BEGIN")
                last_sequence, rows = await _store(connection, delivery)
                await connection.execute(log_sql.NOTIFY_AND_COMMIT)
        await self.follower.publish(rows)
        await self.watchers.hand_over()
        return last_sequence

    async def list(self, query: LogQuery[RunFilter]) -> LogPage[RunFilter]:
        builder = PageBuilder(query.page_size)
        with mapped_to_store_errors(self._name):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(binary=True)
                await cursor.execute(*log_sql.runs_page(query))
                rows = await cursor.fetchall()
        for row in map(log_sql.run_row, rows):
            if not builder.add(*row.place, row.message):
                break
        return log_page(query, builder)

    async def note_statuses(self, told: Sequence[ToldStatus]) -> None:
        columns = sql.transposed(
            [
                (to_signed(each.microgrid_id), each.dispatcher, each.time, each.status)
                for each in told
            ]
        )
        with mapped_to_store_errors(self._name):
            async with self._pool.connection() as connection:
                await connection.execute(log_sql.NOTE_STATUSES, columns)

    async def list_dispatchers(
        self, microgrid_id: int | None = None
    ) -> Mapping[int, Sequence[DispatcherInfo]]:
        wanted = None if microgrid_id is None else to_signed(microgrid_id)
        with mapped_to_store_errors(self._name):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(log_sql.DISPATCHERS, [wanted, wanted])
                rows = await cursor.fetchall()
        found: defaultdict[int, list[DispatcherInfo]] = defaultdict(list)
        for id_, *row in rows:
            found[from_signed(id_)].append(dispatcher_of(row))
        return found


async def _store(connection: TrioConnection, delivery: Delivery) -> tuple[int, list[RunRow]]:
    """Store reports; return the last one's sequence number, and the runs that have changed.

    Raises:
      InvalidRequestError: too many dispatchers report to the microgrid.
    """
    microgrid_id = to_signed(delivery.microgrid_id)
    before = await _lock(connection, microgrid_id)
    values = [microgrid_id, delivery.dispatcher, delivery.reporter]
    known = await (await connection.execute(log_sql.REPORTER, values)).fetchone()
    reporter = Reporter() if known is None else Reporter(*known)
    keys = delivery.keys_after(reporter.last_sequence)
    found = await _find(connection, microgrid_id, keys)
    rows = fold(delivery, reporter.last_sequence, found, before)
    after = reporter.after(delivery)
    await _note(connection, delivery, reporter, after)
    if rows:
        columns = sql.transposed([log_sql.run_columns(row) for row in rows])
        await connection.execute(log_sql.UPSERT_RUNS, [delivery.now, *columns])
        counters = before.after(rows)
        await connection.execute(
            log_sql.SET_COUNTERS, [counters.last_number, counters.revision, microgrid_id]
        )
    return after.last_sequence, rows


async def _lock(connection: TrioConnection, microgrid_id: int) -> RunCounters:
    """Lock the counters of a microgrid, and return them."""
    row = await (await connection.execute(log_sql.LOCK_COUNTERS, [microgrid_id])).fetchone()
    if row is None:
        await connection.execute(log_sql.ADD_COUNTERS, [microgrid_id])
        row = await (await connection.execute(log_sql.LOCK_COUNTERS, [microgrid_id])).fetchone()
    assert row is not None
    return RunCounters(*row)


async def _find(
    connection: TrioConnection, microgrid_id: int, keys: set[RunKey]
) -> dict[RunKey, RunRow]:
    if not keys:
        return {}
    occurrences = sorted({(to_signed(id_), text_of_nanos(start)) for _, id_, start, _, _ in keys})
    cursor = connection.cursor(binary=True)
    await cursor.execute(log_sql.FIND_RUNS, [*sql.transposed(occurrences), microgrid_id])
    rows = map(log_sql.run_row, await cursor.fetchall())
    return {row.key: row for row in rows if row.key in keys}


async def _note(
    connection: TrioConnection, delivery: Delivery, before: Reporter, after: Reporter
) -> None:
    """Remember the dispatcher and its reporter, and forget reporters that are long gone."""
    values = {
        "microgrid_id": to_signed(delivery.microgrid_id),
        "dispatcher": delivery.dispatcher,
        "name": delivery.reporter,
        "version": delivery.version,
        "now": delivery.now,
        "lost": after.lost - before.lost,
    }
    known = await connection.execute(log_sql.UPDATE_DISPATCHER, values)
    if not known.rowcount:
        cursor = await connection.execute(
            log_sql.COUNT_DISPATCHERS, [to_signed(delivery.microgrid_id)]
        )
        [count] = await cursor.fetchone() or [0]
        check_room(delivery, count)
        await connection.execute(log_sql.ADD_DISPATCHER, values)
    values |= {"last_sequence": after.last_sequence, "lost": after.lost}
    await connection.execute(log_sql.NOTE_REPORTER, values)
    await connection.execute(log_sql.FORGET_REPORTERS, values | {"kept": REMEMBERED_REPORTERS})
