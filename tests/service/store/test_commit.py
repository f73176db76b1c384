"""A COMMIT that fails, with or without effect: replies and events agree with the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio
from trio.testing import MockClock

from tests.helpers.failing_store import failing_commit, io_error
from tests.helpers.service import NOW, data, take
from trio_dispatch.api.wire import Event
from trio_dispatch.service import (
    NotFoundError,
    StoreFullError,
    StoreUnavailableError,
)
from trio_dispatch.service.store.queries import Query
from trio_dispatch.service.store.rows import Change
from trio_dispatch.service.store.sqlite import SqliteStore, open_sqlite
from trio_dispatch.service.store.watchers import Watcher


@contextmanager
def unreachable(store: SqliteStore) -> Iterator[None]:
    """Make every writing transaction fail."""

    @sa.event.listens_for(store._engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("begin") == "BEGIN IMMEDIATE":
            raise io_error()

    try:
        yield
    finally:
        sa.event.remove(store._engine, "begin", begin)


async def told(changes: Watcher[Change]) -> list[tuple[Event, int]]:
    """Return the changes that wait for a watcher."""
    return [(change.event, change.row.id) for change in await take(changes, len(changes))]


async def ids_in(store: SqliteStore) -> int:
    return (await store.list(Query(1))).total


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dispatches.db"


async def test_a_failed_commit_that_took_effect_is_acknowledged(
    path: Path, autojump_clock: MockClock
) -> None:
    async with open_sqlite(path) as store, store.watch(1) as changes:
        with failing_commit(store, takes_effect=True):
            row = await store.create(1, data(), now=NOW)
        assert await told(changes) == [(Event.CREATED, row.id)]
        assert await store.get(1, row.id) == row
        with failing_commit(store, takes_effect=True):
            await store.delete(1, row.id)
        assert await told(changes) == [(Event.DELETED, row.id)]
        assert (await store.create(1, data(), now=NOW)).id == 2
        assert await told(changes) == [(Event.CREATED, 2)]
    async with open_sqlite(path) as store:
        assert await ids_in(store) == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (sqlite3.SQLITE_IOERR, StoreUnavailableError),
        (sqlite3.SQLITE_FULL, StoreFullError),
    ],
)
async def test_a_failed_commit_without_effect_is_refused(
    path: Path, code: int, error: type[Exception], autojump_clock: MockClock
) -> None:
    async with open_sqlite(path) as store:
        first = await store.create(1, data(), now=NOW)
        async with store.watch(1) as changes:
            with failing_commit(store, takes_effect=False, code=code), pytest.raises(error):
                await store.create(1, data(), now=NOW)
            with failing_commit(store, takes_effect=False, code=code), pytest.raises(error):
                await store.delete(1, first.id)
            assert len(changes) == 0
            assert await store.get(1, first.id) == first
            with pytest.raises(NotFoundError):
                await store.get(1, 2)
            assert (await store.create(1, data(), now=NOW)).id == 2
            assert await told(changes) == [(Event.CREATED, 2)]


@pytest.mark.parametrize("takes_effect", [False, True])
async def test_an_uncertain_commit_disconnects_watchers(
    path: Path, takes_effect: bool, autojump_clock: MockClock
) -> None:
    """The caller gets UNAVAILABLE; watchers connect again and list what there is."""
    async with open_sqlite(path) as store:
        async with store.watch(1) as changes:
            with (
                failing_commit(store, takes_effect=takes_effect),
                # The commit that asks for the sequence number fails, too.
                failing_commit(store, takes_effect=False)
                if takes_effect
                else _unreachable_after_commit(store),
                pytest.raises(StoreUnavailableError),
            ):
                await store.create(1, data(), now=NOW)
            with pytest.raises(StoreUnavailableError, match="may have been missed"):
                await anext(changes)
        assert store.watchers.statistics().watchers == 0
        async with store.watch(1) as changes:
            assert await ids_in(store) == int(takes_effect)
            row = await store.create(1, data(), now=NOW)
            assert row.id == 1 + takes_effect
            assert await told(changes) == [(Event.CREATED, row.id)]


@contextmanager
def _unreachable_after_commit(store: SqliteStore) -> Iterator[None]:
    """Make every writing transaction but the first one fail."""
    begun = 0

    @sa.event.listens_for(store._engine, "begin")
    def begin(connection: sa.Connection) -> None:
        nonlocal begun
        begun += connection.get_execution_options().get("begin") == "BEGIN IMMEDIATE"
        if begun == 2:
            raise io_error()

    try:
        yield
    finally:
        sa.event.remove(store._engine, "begin", begin)


async def test_writes_that_share_a_commit_have_the_same_outcome(
    path: Path, autojump_clock: MockClock
) -> None:
    for takes_effect in (True, False):
        outcomes: list[int | str] = []

        async def create(store: SqliteStore, outcomes: list[int | str] = outcomes) -> None:
            try:
                outcomes.append((await store.create(1, data(), now=NOW)).id)
            except StoreUnavailableError:
                outcomes.append("unavailable")

        async with open_sqlite(path) as store:
            before = await ids_in(store)
            async with store.watch(1) as changes:
                with failing_commit(store, takes_effect=takes_effect):
                    async with trio.open_nursery() as nursery:
                        for _ in range(20):
                            nursery.start_soon(create, store)
                done = [id_ for id_ in outcomes if id_ != "unavailable"]
                assert [id_ for _, id_ in await told(changes)] == sorted(map(int, done))
            assert await ids_in(store) - before == len(done)
            assert len(done) == (20 if takes_effect else 0)


async def test_reads_continue_while_writes_fail(path: Path, autojump_clock: MockClock) -> None:
    async with open_sqlite(path) as store:
        row = await store.create(1, data(), now=NOW)
        with unreachable(store):
            with pytest.raises(StoreUnavailableError):
                await store.delete(1, row.id)
            assert await store.get(1, row.id) == row
        await store.delete(1, row.id)
