"""A store in a PostgreSQL database, which any number of services share.

Theory of operation.  Each service is a *replica*; replicas know of each other only through the
database.  The changes of a microgrid are ordered by its row in the table ``microgrids``: a
transaction that writes locks the rows of its microgrids and gives each change the next number.
Every change is also in the table ``changes``, from which each replica feeds its watchers, see
`Follower`.  As on SQLite, the writes that wait share a transaction.

A COMMIT whose answer is lost may have taken effect.  Then the server is asked by the number of the
transaction.  If it was committed, its changes are acknowledged and published like any others; if
not, the writes fail.  If that cannot be determined, the writes fail as unavailable, which promises
nothing.  Watchers need no care then: they are fed from what is in the database.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from os import PathLike
from typing import Final

import psycopg
import trio
from outcome import Error
from psycopg.conninfo import conninfo_to_dict

from .... import clock
from ....api.codec import time_to_nanos
from ....concurrency.nursery import open_service_nursery
from ...errors import StoreBusyError, StoreError, StoreUnavailableError, copy_of
from .._columns import from_signed, to_signed
from ..base import Store
from ..batch import Batch
from ..edits import Counters, Edit
from ..logs import ChangeFilter, LogPage, LogQuery, log_page
from ..queries import REMEMBERED_CHANGES, Page, PageBuilder, Query
from ..retention import DEFAULT_RETENTION, TRIMMED_AT_ONCE, Retention
from ..rows import Change, Row
from ..statistics import StoreStatistics
from ..watchers import Watchers
from ..write_queue import Write, WriteQueue
from . import log_sql, sql
from .connection import TrioConnection
from .errors import mapped_to_store_errors
from .follower import Feed, Follower
from .pool import Pool
from .runs import PostgresRuns
from .schema import prepare

__all__ = ["PostgresStore", "database_name", "open_postgres"]

log = logging.getLogger("trio_dispatch.service.store")

LIST_TIMEOUT: Final = 10.0
"""A list that takes more seconds is stopped."""

TRIM_INTERVAL: Final = 600.0
"""Old runs and changes are removed at intervals of this number of seconds."""

COMMIT_TIMEOUT: Final = 30.0
"""A transaction that writes has this many seconds."""

_CONNECTIONS: Final = 8
# The server ends what takes longer, and the transaction of a replica that was suspended in it, so
# that its locks do not stop the others.
_SETTINGS: Final = (
    "-c statement_timeout=15s -c lock_timeout=5s -c idle_in_transaction_session_timeout=10s"
    " -c timezone=UTC"
)
_NONCES_KEPT: Final = 3600  # longer than a signature is accepted
_FORGET_EVERY: Final = 1000
MAX_SEQUENCE: Final = (1 << 63) - 1
_OUTCOME_TIMEOUT: Final = 10.0
_CLOSE_TIMEOUT: Final = 5.0


_FEED = Feed(
    channel="trio_dispatch_changes",
    position=sql.SEQUENCE,
    changes=sql.CHANGES_AFTER,
    change_of=sql.change_of_columns,
    number_of=lambda change: change.sequence,
    gapless=True,
)


@asynccontextmanager
async def open_postgres(
    url: str, *, watcher_limit: int = 1000, retention: Retention = DEFAULT_RETENTION
) -> AsyncIterator[PostgresStore]:
    """Open a store in a database, whose tables are created if they do not exist.

    Any number of services may have the same database open.

    Args:
      url: ``postgresql://[user[:password]@]host[:port]/database[?parameters]``.
      watcher_limit: How many changes may wait for one watcher before it is disconnected.
      retention: How long runs and changes are kept.

    Raises:
      StoreError: the database cannot be reached or written, or it belongs to a newer version of
        this package.
      ValueError: the URL is invalid.
    """
    store = PostgresStore(url, watcher_limit=watcher_limit, retention=retention)
    try:
        await store._open()
        async with open_service_nursery() as nursery:
            nursery.start_soon(store._queue.run, store._commit)
            nursery.start_soon(store._follower.run)
            nursery.start_soon(store._runs.follower.run)
            nursery.start_soon(store._trim)
            yield store
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            await store._pool.close()


class PostgresStore(Store):
    """A store in a PostgreSQL database, see `open_postgres`."""

    def __init__(self, url: str, *, watcher_limit: int, retention: Retention) -> None:
        self.name = database_name(url)
        super().__init__(self.name, watcher_limit=watcher_limit)
        params = _params(url)
        options = str(params.get("options") or "")
        conninfo = psycopg.conninfo.make_conninfo(
            url,
            options=f"{_SETTINGS} {options}".strip(),
            application_name=str(params.get("application_name") or "trio-dispatch"),
        )
        self._queue = WriteQueue(self.name, self.watchers)
        self._pool = Pool(conninfo, size=_CONNECTIONS)
        self._follower = Follower(self.name, conninfo, self._pool, _FEED, self.watchers)
        self.runs = self._runs = PostgresRuns(
            self.name,
            conninfo,
            self._pool,
            Watchers(watcher_limit, self._wake),
            self._wait_for_watchers,
        )
        self._retention = retention

    async def _open(self) -> None:
        try:
            with mapped_to_store_errors(self.name):
                async with self._pool.connection() as connection:
                    await prepare(connection)
        except StoreUnavailableError as exc:
            raise StoreError(str(exc)) from exc

    # Reads.

    async def find(self, dispatch_id: int) -> Row | None:
        with mapped_to_store_errors(self.name):
            async with self._pool.connection() as connection:
                rows = await _find_all(connection, [dispatch_id])
        row = rows.get(dispatch_id)
        if isinstance(row, Exception):
            raise row
        return row

    async def list(self, query: Query) -> Page:
        with trio.move_on_after(LIST_TIMEOUT), mapped_to_store_errors(self.name):
            async with self._pool.connection() as connection:
                # All statements see the same state.
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                page = await _read_page(connection, query)
                await connection.execute("COMMIT")
                return page
        raise StoreBusyError("the list took too long: use a simpler filter")

    async def list_changes(self, query: LogQuery[ChangeFilter]) -> LogPage[ChangeFilter]:
        builder = PageBuilder(query.page_size)
        with mapped_to_store_errors(self.name):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(binary=True)
                await cursor.execute(*log_sql.changes_page(query))
                rows = await cursor.fetchall()
        for row in map(sql.change_row, rows):
            if not builder.add(*row.place, row.message):
                break
        return log_page(query, builder)

    async def statistics(self) -> StoreStatistics:
        with trio.move_on_after(LIST_TIMEOUT), mapped_to_store_errors(self.name):
            async with self._pool.connection() as connection:
                found = await (await connection.execute(sql.STATISTICS)).fetchone()
                assert found is not None
                dispatches, oldest, size = found
                return StoreStatistics(
                    kind="postgresql", dispatches=dispatches, oldest_change=oldest, size=size
                )
        raise StoreBusyError("to count the dispatches took too long")

    async def latest_stamp(self, key: bytes) -> int | None:
        with mapped_to_store_errors(self.name):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(sql.STAMP, [key])
                found = await cursor.fetchone()
        return None if found is None else int(found[0])

    async def use_nonce(self, key: bytes, nonce: bytes, second: int) -> bool:
        """Keep a nonce for all replicas, see `trio_dispatch.service.auth.SharedNonces`."""
        with mapped_to_store_errors(self.name):
            async with self._pool.connection() as connection:
                values = [key, nonce, second, key, second]
                cursor = await connection.execute(sql.USE_NONCE, values)
        return cursor.rowcount == 1

    async def backup(self, path: str | PathLike[str]) -> None:
        raise StoreError(f"{path}: back {self.name} up with pg_dump")

    # Writes.

    async def write(self, edit: Edit) -> Sequence[Change]:
        return await self._queue.submit(Write.of(edit))

    async def raise_stamp(self, key: bytes, second: int) -> None:
        def work(batch: Batch) -> Sequence[Change]:
            batch.raise_stamp(key, second)
            return ()

        await self._queue.submit(Write(work))

    def _wake(self) -> None:
        super()._wake()
        self._queue.wake()

    async def _commit(self, writes: Sequence[Write]) -> None:
        """Carry out writes in a transaction, and publish their changes."""
        began = trio.current_time()
        # A caller must learn what became of its write, also when the store is being closed.
        known = False
        with trio.move_on_after(COMMIT_TIMEOUT, shield=True):
            changes = await self._transact(writes)
            known = True
            await self._follower.publish(changes)
        if not known:
            reason = f"{self.name} did not answer: it is unknown whether the write took effect"
            for write in writes:
                write.outcome = Error(StoreUnavailableError(reason))
        if self.on_commit is not None:
            self.on_commit(len(writes), trio.current_time() - began)

    async def _trim(self) -> None:
        """Remove old runs and changes for ever, now and then, in small transactions."""
        while True:
            await trio.sleep(TRIM_INTERVAL)
            with suppress(StoreError), mapped_to_store_errors(self.name):
                now = time_to_nanos(clock.now())
                async with self._pool.connection() as connection:
                    forgotten = now // 10**9 - _NONCES_KEPT
                    await connection.execute(sql.FORGET_NONCES, [forgotten])
                while await self._trim_some(now):
                    pass

    async def _trim_some(self, now: int) -> int:
        """Remove some of what is too old; return how many entries that were."""
        kept = self._retention
        async with self._pool.connection() as connection:

            async def remove(trim: str, oldest: str, number: int, age_limit: int) -> int:
                limit = await _single(connection, oldest, number - 1)
                before = max(age_limit, limit) if isinstance(limit, int) else age_limit
                return (await connection.execute(trim, [before, TRIMMED_AT_ONCE])).rowcount

            old_change, old_run = kept.oldest_change(now), kept.oldest_run(now)
            await connection.execute(log_sql.TRIM_REPORTERS, [old_run])
            await connection.execute(log_sql.TRIM_DISPATCHERS, [old_run])
            return await remove(
                log_sql.TRIM_CHANGES, log_sql.OLDEST_KEPT_CHANGE, kept.changes, old_change
            ) + await remove(log_sql.TRIM_RUNS, log_sql.OLDEST_KEPT_RUN, kept.runs, old_run)

    async def _transact(self, writes: Sequence[Write]) -> Sequence[Change]:
        """Carry out writes in one transaction, and set their outcomes; return the changes.

        If the database refuses it, each write is tried in a transaction of its own.
        """
        try:
            with mapped_to_store_errors(self.name):
                return await self._transact_all(writes)
        except StoreError as error:
            if len(writes) > 1 and not isinstance(error, StoreUnavailableError):
                return [each for write in writes for each in await self._transact([write])]
            for write in writes:
                write.outcome = Error(copy_of(error))
            return []

    async def _transact_all(self, writes: Sequence[Write]) -> Sequence[Change]:
        async with self._pool.connection() as connection:
            transaction = await _begin(connection)
            batches = await _read_batches(connection, writes)
            before = {id_: batch.counters.sequence for id_, batch in batches.items()}
            for write in writes:
                write.attempt(batches[write.microgrid_id])
            await _write_batches(connection, batches, before)
            changes = [each for batch in batches.values() for each in batch.changes]
            if changes:
                rows = [sql.change_columns(each) for each in changes]
                await connection.execute(sql.INSERT_CHANGES, sql.transposed(rows))
            try:
                await connection.execute(sql.NOTIFY_AND_COMMIT if changes else "COMMIT")
            except psycopg.OperationalError:
                await connection.close()
                if not await self._took_effect(transaction):
                    raise
        return changes

    async def _took_effect(self, transaction: str) -> bool:
        """Whether a COMMIT whose answer was lost has taken effect.

        Raises:
          psycopg.Error: that cannot be determined.
        """
        await self._pool.close_idle()
        deadline = trio.current_time() + _OUTCOME_TIMEOUT
        pause = 0.1
        while True:
            try:
                async with self._pool.connection() as connection:
                    query = "SELECT pg_xact_status(%s::text::xid8)"
                    status = await _single(connection, query, transaction)
            except psycopg.OperationalError:
                status = None
                if trio.current_time() > deadline:
                    raise
            if status in {"committed", "aborted"}:
                return status == "committed"
            if trio.current_time() > deadline:
                raise psycopg.OperationalError("it is unknown whether a commit took effect")
            # The server restarts, or has not noticed yet that the connection was lost.
            await trio.sleep(pause)
            pause = min(2 * pause, 1.0)


def database_name(url: str) -> str:
    """Return what errors and the log call a database: no password.

    Raises:
      ValueError: the URL is invalid.
    """
    params = _params(url)
    host, database = params.get("host") or "localhost", params.get("dbname") or "postgres"
    port = f":{params['port']}" if params.get("port") else ""
    return f"postgresql://{host}{port}/{database}"


def _params(url: str) -> Mapping[str, object]:
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError as exc:
        raise ValueError(f"the URL of the database is invalid: {exc}") from None


async def _single(connection: TrioConnection, query: str, *values: object) -> object:
    """Return the single value of a query."""
    row = await (await connection.execute(query, values)).fetchone()
    return None if row is None else row[0]


async def _find_all(connection: TrioConnection, ids: Iterable[int]) -> dict[int, Row | Exception]:
    """Return the dispatches with these ids; an exception stands for a damaged one."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(sql.FIND_ALL, [[*map(to_signed, ids)]])
    found: dict[int, Row | Exception] = {}
    for columns in await cursor.fetchall():
        try:
            row = sql.row_of_columns(columns)
        except ValueError as exc:
            found[from_signed(columns[0])] = exc
        else:
            found[row.id] = row
    return found


async def _read_page(connection: TrioConnection, query: Query) -> Page:
    sequence = await _single(connection, sql.SEQUENCE, to_signed(query.microgrid_id))
    snapshot = query.snapshot_at(sequence if isinstance(sequence, int) else 0)
    total: object = query.total
    if total is None:
        text, values = sql.count_of(query)
        total = await _single(connection, text, *values)
    assert isinstance(total, int)
    builder = PageBuilder(query.page_size)
    for text, values in sql.pages_of(query, snapshot):
        cursor = connection.cursor(binary=True)
        await cursor.execute(text, values)
        if not all(builder.add(*sql.page_row(row)) for row in await cursor.fetchall()):
            break
    return builder.page(query, snapshot=snapshot, total=total)


async def _begin(connection: TrioConnection) -> str:
    """Begin a transaction; return its number."""
    cursor = await connection.execute("BEGIN; SELECT pg_current_xact_id()::text")
    cursor.nextset()
    [number] = await cursor.fetchone() or [""]
    return str(number)


async def _lock(connection: TrioConnection, microgrids: Iterable[int]) -> dict[int, int]:
    """Lock microgrids; return the numbers of their last changes."""
    ids = sorted(map(to_signed, microgrids))
    cursor = await connection.execute(sql.LOCK_MICROGRIDS, [ids])
    rows = await cursor.fetchall()
    if len(rows) < len(ids):
        await connection.execute(sql.ADD_MICROGRIDS, [ids])
        cursor = await connection.execute(sql.LOCK_MICROGRIDS, [ids])
        rows = await cursor.fetchall()
    return {from_signed(id_): sequence for id_, sequence in rows}


async def _new_ids(connection: TrioConnection, number: int) -> list[int]:
    """Return new ids, in descending order."""
    if number == 0:
        return []
    cursor = await connection.execute(sql.NEW_IDS, [number])
    return sorted((id_ for (id_,) in await cursor.fetchall()), reverse=True)


async def _read_batches(
    connection: TrioConnection, writes: Sequence[Write]
) -> dict[int | None, Batch]:
    """Lock the microgrids of writes, and read what the writes need: a batch for each microgrid."""
    creations: defaultdict[int, int] = defaultdict(int)
    for write in writes:
        if write.microgrid_id is not None:
            creations[write.microgrid_id] += not write.reads
    sequences = await _lock(connection, creations)
    new_ids = await _new_ids(connection, sum(creations.values()))
    ids = {id_ for write in writes for id_ in write.reads}
    stored = await _find_all(connection, ids) if ids else {}
    batches: dict[int | None, Batch] = {None: Batch(Counters(), {})}
    for microgrid_id, number in creations.items():
        given = [new_ids.pop() for _ in range(number)]
        counters = Counters(sequence=sequences[microgrid_id])
        batches[microgrid_id] = Batch(counters, stored, given[::-1])
    return batches


async def _write_batches(
    connection: TrioConnection,
    batches: Mapping[int | None, Batch],
    before: Mapping[int | None, int],
) -> None:
    """Write down what has changed in batches.

    Args:
      before: The number of the last change of each microgrid, before the writes.
    """
    removed: list[int] = []
    replaced: list[tuple[object, ...]] = []
    added: list[tuple[object, ...]] = []
    former: list[tuple[object, ...]] = []
    for batch in batches.values():
        removed += map(to_signed, batch.removed())
        replaced += map(sql.columns_of, batch.replaced())
        added += map(sql.columns_of, batch.added())
        former += map(sql.former_columns, batch.former)
    if removed:
        await connection.execute(sql.REMOVE, [removed])
    for statement, rows in (
        (sql.REPLACE, replaced),
        (sql.INSERT, added),
        (sql.INSERT_FORMER, former),
    ):
        if rows:
            await connection.execute(statement, sql.transposed(rows))
    imported = max((id_ for batch in batches.values() for id_ in batch.imported()), default=0)
    if imported:
        # Ids that are given later are higher.  A sequence has no unsigned numbers.
        last_id = min(imported, MAX_SEQUENCE)
        await connection.execute(sql.RAISE_IDS, [last_id, last_id])
    sequences = [
        (to_signed(id_), batch.counters.sequence)
        for id_, batch in batches.items()
        if id_ is not None and batch.changes
    ]
    if sequences:
        await connection.execute(sql.SET_SEQUENCES, sql.transposed(sequences))
    # Now and then, which is enough.
    forgotten = [
        (id_, sequence - REMEMBERED_CHANGES)
        for id_, sequence in sequences
        if sequence // _FORGET_EVERY > before[from_signed(id_)] // _FORGET_EVERY
    ]
    if forgotten:
        await connection.execute(sql.FORGET_FORMER, sql.transposed(forgotten))
    for batch in batches.values():
        for key, second in batch.stamps.items():
            await connection.execute(sql.RAISE_STAMP, [key, second])
