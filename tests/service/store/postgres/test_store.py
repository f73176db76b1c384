"""A store in PostgreSQL: replicas, faults of the server, cancellation."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest
import trio
from psycopg import pq

from tests.helpers.cancelling import cancelled_at
from tests.helpers.postgres import PostgresServer, cutting
from tests.helpers.service import NOW, data, take
from trio_dispatch.api import wire
from trio_dispatch.api.codec import WIRE
from trio_dispatch.api.wire import Event
from trio_dispatch.service import (
    NotFoundError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    open_store,
)
from trio_dispatch.service.store.postgres.store import PostgresStore, open_postgres
from trio_dispatch.service.store.queries import Query
from trio_dispatch.service.store.rows import Change
from trio_dispatch.service.store.watchers import Watcher

CREATED, UPDATED, DELETED = Event.CREATED, Event.UPDATED, Event.DELETED


async def told(watcher: Watcher[Change], number: int) -> list[tuple[Event, int]]:
    with trio.fail_after(30):
        return [(change.event, change.row.id) for change in await take(watcher, number)]


async def ids_in(store: PostgresStore) -> list[int]:
    page = await store.list(Query(1, page_size=1000, descending=False))
    assert page.following is None
    found = [WIRE.decode(message, wire.Dispatch).metadata for message in page.messages]
    return [metadata.dispatch_id for metadata in found if metadata is not None]


# Replicas.


async def test_watchers_of_a_replica_see_the_changes_of_another(database: str) -> None:
    async with (
        open_postgres(database) as one,
        open_postgres(database) as other,
        one.watch(1) as here,
        other.watch(1) as there,
        other.watch(2) as elsewhere,
    ):
        first = await one.create(1, data(), now=NOW)
        second = await other.create(1, data(), now=NOW)
        await one.update(1, second.id, lambda content: content, now=NOW)
        await other.delete(1, first.id)
        await one.create(2, data(), now=NOW)
        events = [
            (CREATED, first.id),
            (CREATED, second.id),
            (UPDATED, second.id),
            (DELETED, first.id),
        ]
        assert await told(here, 4) == events
        assert await told(there, 4) == events
        assert len(await told(elsewhere, 1)) == 1


async def test_replicas_that_write_at_once_agree(database: str) -> None:
    """Every watcher of every replica sees every change once, and in the same order."""
    async with (
        open_postgres(database) as one,
        open_postgres(database) as two,
        open_postgres(database) as three,
    ):
        stores = [one, two, three]
        made: list[int] = []

        async def write(store: PostgresStore, seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(12):
                if rng.random() < 0.6 or not made:
                    made.append((await store.create(1, data(), now=NOW)).id)
                else:
                    try:
                        await store.update(1, rng.choice(made), lambda content: content, now=NOW)
                    except NotFoundError:
                        raise AssertionError("a dispatch that exists was not found") from None

        async with one.watch(1) as first, two.watch(1) as second, three.watch(1) as third:
            async with trio.open_nursery() as nursery:
                for seed in range(12):
                    nursery.start_soon(write, stores[seed % 3], seed)
            seen = [await told(watcher, 144) for watcher in (first, second, third)]
        assert seen[0] == seen[1] == seen[2]
        assert sorted(id_ for event, id_ in seen[0] if event is CREATED) == sorted(made)
        assert len(set(made)) == len(made)
        assert sorted(await ids_in(one)) == sorted(made)


async def test_replicas_that_start_together_set_the_tables_up_once(database: str) -> None:
    async def start() -> None:
        async with open_postgres(database) as store:
            await store.create(1, data(), now=NOW)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(start)
    async with open_postgres(database) as store:
        assert len((await store.list(Query(1))).messages) == 5


async def test_a_newer_schema_is_refused(database: str) -> None:
    async with open_postgres(database):
        pass
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE trio_dispatch_schema SET version = 99")
    with pytest.raises(
        StoreError, match="newer version of trio-dispatch: its schema has version 99"
    ):
        async with open_postgres(database):
            pass


async def test_a_page_is_continued_by_another_replica(database: str) -> None:
    async with open_postgres(database) as one, open_postgres(database) as other:
        for number in range(5):
            await one.create(1, data(), now=NOW + number)
        page = await one.list(Query(1, page_size=3))
        assert page.following is not None
        await one.create(1, data(), now=NOW + 10)
        rest = await other.list(page.following)
        assert len(page.messages + rest.messages) == 5


async def test_the_password_is_not_shown(database: str) -> None:
    with pytest.raises(StoreError) as caught:
        async with open_store("postgresql://user:geheim@127.0.0.1:1/x"):
            pass
    assert "geheim" not in str(caught.value)
    with pytest.raises(ValueError, match="invalid") as invalid:
        async with open_store("postgresql://user:geheim@host/x?what=1"):
            pass
    assert "geheim" not in str(invalid.value)


# Faults.


async def test_lost_connections_are_replaced(postgres: PostgresServer, database: str) -> None:
    async with open_postgres(database) as store, store.watch(1) as watcher:
        first = await store.create(1, data(), now=NOW)
        postgres.disconnect_all(database)
        while True:
            try:
                second = await store.create(1, data(), now=NOW)
                break
            except StoreUnavailableError:
                continue
        assert await told(watcher, 2) == [(CREATED, first.id), (CREATED, second.id)]
        # The replica listens again, too.
        async with open_postgres(database) as other:
            third = await other.create(1, data(), now=NOW)
        assert await told(watcher, 1) == [(CREATED, third.id)]


async def test_a_lost_answer_to_a_commit_is_looked_up(
    postgres: PostgresServer, database: str
) -> None:
    """Whatever byte a connection is cut at: a write that was acknowledged is there, once."""
    async with open_postgres(database) as control:
        acknowledged: list[int] = []
        failed = 0
        async with (
            cutting(postgres) as proxy,
            open_postgres(proxy.url(database)) as store,
            control.watch(1) as watcher,
        ):
            for limit in range(0, 1600, 67):
                await store.create(1, data(), now=NOW)  # with whole connections
                proxy.cut_after(limit)
                try:
                    acknowledged.append((await store.create(1, data(), now=NOW)).id)
                except StoreUnavailableError:
                    failed += 1
                proxy.cut_after(None)
                with trio.fail_after(30):
                    while True:
                        try:
                            await store.create(1, data(), now=NOW)
                            break
                        except StoreUnavailableError:
                            continue
            found = sorted(await ids_in(control))
            seen = [id_ for _, id_ in await told(watcher, len(found))]
        assert set(acknowledged) <= set(found)
        assert sorted(seen) == found
        assert len(acknowledged) > 3


async def test_a_standby_does_not_take_writes(database: str) -> None:
    async with open_postgres(database) as store:
        row = await store.create(1, data(), now=NOW)
    read_only = f"{database}&options=-c%20default_transaction_read_only%3Don"
    async with open_postgres(read_only) as standby:
        assert await standby.get(1, row.id) == row
        with pytest.raises(StoreUnavailableError, match="is a standby, which only reads"):
            await standby.create(1, data(), now=NOW)


async def test_a_suspended_replica_loses_its_locks(database: str) -> None:
    """A replica that stops within a transaction fails; the others go on."""
    options = "&options=-c%20idle_in_transaction_session_timeout%3D100ms"
    async with open_postgres(database + options) as store:
        with psycopg.connect(database + options) as suspended:
            await store.create(1, data(), now=NOW)
            suspended.execute("SELECT * FROM microgrids WHERE id = 1 FOR UPDATE")
            await store.create(1, data(), now=NOW)  # waits until the server ends the other one
            with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
                suspended.execute("SELECT 1")


async def test_a_lock_that_is_held_too_long_is_an_error(database: str) -> None:
    options = "&options=-c%20lock_timeout%3D100ms"
    async with open_postgres(database + options) as store:
        row = await store.create(1, data(), now=NOW)
        with psycopg.connect(database) as other:
            other.execute("SELECT * FROM microgrids WHERE id = 1 FOR UPDATE")
            with pytest.raises(StoreUnavailableError, match="is locked by another transaction"):
                await store.delete(1, row.id)
            # Other microgrids are not affected.
            await store.create(2, data(), now=NOW)
        await store.delete(1, row.id)


async def test_a_full_disk_refuses_writes_only(database: str) -> None:
    async with open_postgres(database) as store, store.watch(1) as watcher:
        row = await store.create(1, data(), now=NOW)
        with psycopg.connect(database, autocommit=True) as connection:
            # What the server raises when it cannot extend a file.
            connection.execute(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
                "$$BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END$$"
            )
            connection.execute(
                "CREATE TRIGGER full_disk BEFORE INSERT ON changes EXECUTE FUNCTION full_disk()"
            )
            with pytest.raises(StoreFullError, match="has no room left on its disk"):
                await store.delete(1, row.id)
            assert await store.get(1, row.id) == row
            connection.execute("DROP TRIGGER full_disk ON changes")
        await store.delete(1, row.id)
        assert await told(watcher, 2) == [(CREATED, row.id), (DELETED, row.id)]


async def test_damaged_rows_fail_only_their_own_look_ups(database: str) -> None:
    async with open_postgres(database) as store:
        first, second = [await store.create(1, data(), now=NOW) for _ in range(2)]
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "UPDATE dispatches SET start_time = 'nonsense' WHERE id = %s", [first.id]
            )
        with pytest.raises(ValueError, match="nonsense"):
            await store.get(1, first.id)
        assert await store.get(1, second.id) == second


# Cancellation.


@asynccontextmanager
async def _checked(store: PostgresStore) -> AsyncIterator[None]:
    """Check that the pool has all its connections afterwards, none within a transaction."""
    yield
    with trio.fail_after(30):
        while store._pool._limit.value < 8:
            await trio.lowlevel.checkpoint()
    for idle in store._pool._idle:
        assert idle.connection.info.transaction_status == pq.TransactionStatus.IDLE


@pytest.mark.parametrize("call", ["create", "update", "delete", "get", "list", "stamp", "watch"])
async def test_cancelling_a_call_anywhere_leaves_nothing_behind(database: str, call: str) -> None:
    async with open_postgres(database) as store:
        rows = [await store.create(1, data(), now=NOW) for _ in range(40)]

        async def watch() -> None:
            async with store.watch(random.getrandbits(40)):
                await trio.lowlevel.checkpoint()

        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "create": lambda: store.create(1, data(), now=NOW),
            "update": lambda: store.update(1, rows[0].id, lambda content: content, now=NOW),
            "delete": lambda: store.delete(1, rows.pop().id),
            "get": lambda: store.get(1, rows[0].id),
            "list": lambda: store.list(Query(1)),
            "stamp": lambda: store.raise_stamp(b"key", random.getrandbits(30)),
            "watch": watch,
        }
        for position in range(1, 30):
            async with _checked(store):
                with trio.CancelScope() as scope:
                    async with cancelled_at(position, scope):
                        await calls[call]()
            if not scope.cancelled_caught:
                break
        else:
            raise AssertionError("the call has too many checkpoints for this test")
        assert await store.get(1, rows[0].id) is not None
