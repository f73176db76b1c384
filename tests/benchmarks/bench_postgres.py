"""A large database in PostgreSQL: the time of each call, and the index that each query uses.

python -m tests.benchmarks.bench_postgres [--microgrids N] [--dispatches N]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Awaitable, Callable

import psycopg
import trio

from tests.helpers.postgres import PostgresServer
from tests.helpers.service import NOW, data
from trio_dispatch.service.store.logs import ChangeFilter, LogQuery, RunFilter
from trio_dispatch.service.store.postgres import log_sql, sql
from trio_dispatch.service.store.postgres.store import PostgresStore, open_postgres
from trio_dispatch.service.store.queries import Filter, Query, SortKey, TimeRange

_SECOND = 10**9
# Copies of one dispatch, with other ids, times and types.
_FILL = """
    INSERT INTO dispatches
    SELECT number, 1 + number %% %(microgrids)s, 'TYPE' || number %% 7, target, active, dry_run,
           recurring, to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS') || '.000000000Z',
           to_char(moment + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS') || '.000000000Z',
           to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS') || '.000000000Z',
           to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS') || '.000000000Z',
           number, number, message
    FROM dispatches,
         LATERAL (SELECT number, timestamp '2026-01-01' + number * interval '13 seconds' AS moment
                  FROM generate_series(2, %(dispatches)s) AS number) AS made
    WHERE id = 1
"""

# For the queries' plans: the content does not matter.
_FILL_LOGS = """
    INSERT INTO changes
    SELECT microgrid_id, id, id, 1, id, 'key ' || id % 3, '', NULL, message FROM dispatches;
    INSERT INTO former
    SELECT microgrid_id, id, id, id, id, start_time, update_time FROM dispatches WHERE id % 10 = 0;
    INSERT INTO runs
    SELECT microgrid_id, id, id, 'site', id, start_time, '', NULL, type, 2, message, id
    FROM dispatches
"""


async def timed(what: str, number: int, call: Callable[[int], Awaitable[object]]) -> None:
    """Print the median and the 99th percentile of a call."""
    times = []
    for index in range(number):
        began = time.perf_counter()
        await call(index)
        times.append((time.perf_counter() - began) * 1e3)
    times.sort()
    high = times[int(len(times) * 0.99)]
    print(f"{what:44} median {statistics.median(times):8.2f} ms   99 % {high:8.2f} ms")


async def measure(store: PostgresStore, microgrids: int, dispatches: int) -> None:
    def microgrid(index: int) -> int:
        return 1 + index * 7919 % microgrids

    later = Filter(start_time=TimeRange(NOW, None))
    typed = Filter(queried_ids=frozenset(), queried_types=("TYPE3",))
    await timed("get", 500, lambda n: store.find(1 + n * 104_729 % dispatches))
    await timed("first page", 200, lambda n: store.list(Query(microgrid(n))))
    await timed(
        "first page, by start time, from now on",
        200,
        lambda n: store.list(
            Query(microgrid(n), filter=later, sort_key=SortKey.START_TIME, descending=False)
        ),
    )
    await timed("first page, by type", 200, lambda n: store.list(Query(microgrid(n), filter=typed)))

    async def walk(n: int) -> None:
        query: Query | None = Query(microgrid(n), page_size=50)
        while query is not None:
            query = (await store.list(query)).following

    await timed(f"all {dispatches // microgrids} of one microgrid, 50 at a time", 200, walk)
    await timed("create", 200, lambda n: store.create(microgrid(n), data(), now=NOW))


def explain(connection: psycopg.Connection, what: str, statement: sql.Statement) -> None:
    """Print which indexes a query reads."""
    text, values = statement
    rows = connection.execute(f"EXPLAIN (COSTS off) {text}", values).fetchall()
    plan = [line.strip(" ->") for (line,) in rows]
    used = [line for line in plan if " on " in line and not line.startswith("Subquery")]
    print(f"{what:44} {'; '.join(used)}")


def explain_all(url: str) -> None:
    """Print which indexes the queries of a store read."""
    filtered = Filter(start_time=TimeRange(NOW, NOW + 86_400 * _SECOND), active=True)
    with psycopg.connect(url, autocommit=True) as connection:
        for name, query in (
            ("first page", Query(1)),
            (
                "a page by start time",
                Query(1, sort_key=SortKey.START_TIME, snapshot=9, total=1, after=(NOW, 5)),
            ),
            (
                "a page by update time",
                Query(1, sort_key=SortKey.UPDATE_TIME, snapshot=9, total=1, after=(NOW, 5)),
            ),
            ("a filtered page", Query(1, filter=filtered, sort_key=SortKey.START_TIME)),
            ("a page of some ids", Query(1, filter=Filter(ids=frozenset({1, 2, 3})))),
        ):
            for statement in sql.pages_of(query, 9):
                explain(connection, name, statement)
        explain(connection, "count", sql.count_of(Query(1)))
        explain(connection, "get", (sql.FIND_ALL, [[1]]))
        explain(
            connection,
            "changes of a dispatch",
            log_sql.changes_page(LogQuery(1, ChangeFilter(ids=frozenset({1})))),
        )
        explain(connection, "changes for watchers", (sql.CHANGES_AFTER, [[1, 2], [0, 0], 500]))
        explain(
            connection,
            "runs of a type",
            log_sql.runs_page(LogQuery(1, RunFilter(types=frozenset({"A"})))),
        )


async def main(microgrids: int, dispatches: int) -> None:
    with PostgresServer().database() as url:
        async with open_postgres(url) as store:
            await store.create(1, data(), now=NOW)
        began = time.perf_counter()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_FILL, {"microgrids": microgrids, "dispatches": dispatches})
            connection.execute("SELECT setval('dispatch_ids', %s)", [dispatches])
            connection.execute("VACUUM ANALYZE")
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        size = 0 if row is None else row[0]
        took = time.perf_counter() - began
        print(
            f"{dispatches:,} dispatches in {microgrids:,} microgrids: {size / 2**20:,.0f} MiB, "
            f"made in {took:.0f} s"
        )
        async with open_postgres(url) as store:
            await measure(store, microgrids, dispatches)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DELETE FROM changes")
            connection.execute(_FILL_LOGS)
            connection.execute("VACUUM ANALYZE")
        explain_all(url)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--microgrids", type=int, default=10_000)
    parser.add_argument("--dispatches", type=int, default=1_000_000)
    options = parser.parse_args()
    trio.run(main, options.microgrids, options.dispatches)
