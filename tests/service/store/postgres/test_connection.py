"""Connections of psycopg that wait on Trio, and their pool."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
import trio
import trio.testing
from psycopg import pq

from tests.helpers.cancelling import cancelled_at
from tests.helpers.postgres import PostgresServer, cutting
from trio_dispatch.service.store.postgres.connection import TrioConnection, connect
from trio_dispatch.service.store.postgres.pool import IDLE_CHECK, LIFETIME, Pool

IDLE, INTRANS = pq.TransactionStatus.IDLE, pq.TransactionStatus.INTRANS


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[TrioConnection]:
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def value(connection: TrioConnection, query: str) -> object:
    row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return row[0]


def test_the_internals_of_psycopg_are_as_assumed() -> None:
    for name in ("wait", "_connect_gen", "_cancel_gen", "_should_cancel"):
        assert hasattr(psycopg.AsyncConnection, name)
    assert list(inspect.signature(psycopg.AsyncConnection.wait).parameters)[:2] == ["self", "gen"]
    assert psycopg.capabilities.has_cancel_safe()


async def test_long_values_go_both_ways(database: str) -> None:
    async with connected(database) as connection:
        text = "x" * 3_000_000
        cursor = await connection.execute("SELECT %s::text, length(%s::text)", [text, text])
        assert await cursor.fetchall() == [(text, len(text))]


async def test_virtual_time_stands_while_the_server_works(
    database: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected(database) as connection:
        before = trio.current_time()
        with trio.fail_after(0.001):
            await connection.execute("SELECT pg_sleep(0.05)")
        assert trio.current_time() == before


async def test_cancelling_a_call_cancels_the_statement(database: str) -> None:
    async with connected(database) as connection, connected(database) as other:
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.execute, "SELECT pg_sleep(60)")
            while await value(other, running) == 0:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert connection.info.transaction_status == IDLE
        running += " AND state = 'active'"
        assert await value(other, running) == 0
        assert await value(connection, "SELECT 5") == 5


async def test_a_cancelled_call_does_not_reach_the_server(database: str) -> None:
    async with connected(database) as connection:
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.execute("CREATE TABLE t ()")
        assert scope.cancelled_caught
        assert await value(connection, "SELECT to_regclass('t')") is None


async def test_notifications_arrive(database: str) -> None:
    async with connected(database) as listening, connected(database) as other:
        await listening.execute("LISTEN news")
        await other.execute("NOTIFY news")
        with trio.fail_after(30):
            assert await listening.wait_for_notifications() == {"news"}


async def test_a_lost_connection_is_an_error(postgres: PostgresServer, database: str) -> None:
    async with connected(database) as connection:
        pid = await value(connection, "SELECT pg_backend_pid()")
        with postgres.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(psycopg.OperationalError):
            await value(connection, "SELECT 1")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://127.0.0.1:1/x", "refused"),
        ("postgresql://unknown.invalid/x", "failed to resolve host 'unknown.invalid'"),
    ],
)
async def test_an_unreachable_server_is_an_error(url: str, message: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=message):
        await connect(url)


async def test_each_address_is_tried(postgres: PostgresServer) -> None:
    folder = postgres.socket_folder
    url = f"host=127.0.0.1,{folder} port=1,5432 user=postgres dbname=postgres"
    async with connected(url) as connection:
        assert await value(connection, "SELECT 1") == 1


async def test_cuts_at_every_byte_are_errors(postgres: PostgresServer, database: str) -> None:
    """A connection that is cut somewhere raises an error, and never hangs or returns nonsense."""
    async with cutting(postgres) as proxy:
        for limit in range(0, 900, 41):
            proxy.cut_after(limit)
            with trio.fail_after(30):
                try:
                    async with connected(proxy.url(database)) as connection:
                        assert await value(connection, "SELECT 5") == 5
                        assert await value(connection, "SELECT repeat('x', 500)") == "x" * 500
                except psycopg.OperationalError:
                    continue
    assert limit > 800


# The pool.


async def test_a_connection_is_used_again(database: str) -> None:
    pool = Pool(database, size=2)
    async with pool.connection() as first:
        pass
    async with pool.connection() as second, pool.connection() as third:
        assert first is second is not third
    await pool.close()
    assert second.closed
    assert third.closed


async def test_a_transaction_left_open_is_rolled_back(database: str) -> None:
    pool = Pool(database, size=1)
    async with pool.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("CREATE TABLE t ()")
    assert connection.info.transaction_status == IDLE
    async with pool.connection() as again:
        assert again is connection
        assert await value(again, "SELECT to_regclass('t')") is None
    await pool.close()


async def test_lost_and_old_connections_are_replaced(
    postgres: PostgresServer, database: str, autojump_clock: trio.testing.MockClock
) -> None:
    pool = Pool(database, size=1)
    async with pool.connection() as first:
        pid = await value(first, "SELECT pg_backend_pid()")
    with postgres.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
    await trio.sleep(IDLE_CHECK + 1)
    async with pool.connection() as second:
        assert second is not first
        assert await value(second, "SELECT 1") == 1
    await trio.sleep(LIFETIME + 1)
    async with pool.connection() as third:
        assert third is not second
    assert second.closed
    await pool.close()


async def test_cancelling_anywhere_loses_no_connection(database: str) -> None:
    """After a cancellation at any checkpoint the pool has its connection, and it works."""
    pool = Pool(database, size=1)
    position = 0
    while True:
        position += 1
        with trio.CancelScope() as scope:
            async with cancelled_at(position, scope), pool.connection() as connection:
                await connection.execute("BEGIN")
                await value(connection, "SELECT pg_sleep(0.001)")
                await connection.execute("COMMIT")
        with trio.fail_after(30):
            async with pool.connection() as connection:
                assert connection.info.transaction_status == IDLE
                assert await value(connection, "SELECT 1") == 1
        if not scope.cancelled_caught:
            break
    assert position > 5
    await pool.close()
