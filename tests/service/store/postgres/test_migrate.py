"""Moving a service from SQLite to PostgreSQL."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.helpers.service import NOW, data
from trio_dispatch.api import wire
from trio_dispatch.service import StoreError, open_store
from trio_dispatch.service.store.logs import ChangeFilter, LogQuery, RunFilter
from trio_dispatch.service.store.postgres.migrate import Migrated, migrate_file
from trio_dispatch.service.store.postgres.store import open_postgres
from trio_dispatch.service.store.queries import Query
from trio_dispatch.service.store.rows import Author
from trio_dispatch.service.store.sqlite import open_sqlite

HIGH = (1 << 63) + 5


async def fill(path: Path) -> None:
    async with open_sqlite(path) as store:
        for number in range(1200):
            await store.create(number % 3, data(type=f"T{number}"), now=NOW + number)
        await store.update(1, 2, lambda content: content, now=NOW, author=Author("a\0b", "peer"))
        await store.delete(0, 1)
        await store.raise_stamp(b"key", 17)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "dispatches.db"
    trio.run(fill, path)
    return path


@pytest.fixture
def source(filled: Path, tmp_path: Path) -> Path:
    """A database with some of everything."""
    return Path(shutil.copy(filled, tmp_path))


async def test_everything_is_moved(source: Path, database: str) -> None:
    moved = await migrate_file(source, database)
    assert moved == Migrated(dispatches=1199, changes=1202, runs=0)
    async with open_sqlite(source) as old, open_postgres(database) as new:
        for microgrid_id in range(3):
            query = Query(microgrid_id, page_size=1000)
            assert (await new.list(query)).messages == (await old.list(query)).messages
            changes = LogQuery(microgrid_id, ChangeFilter(), page_size=100)
            pages = await new.list_changes(changes), await old.list_changes(changes)
            assert len(pages[0].messages) == len(pages[1].messages) == 100
            assert pages[0].following == pages[1].following
            assert (await new.runs.list(LogQuery(microgrid_id, RunFilter()))).messages == []
        assert await new.latest_stamp(b"key") == 17
        assert not await new.use_nonce(b"key", b"nonce", 17)
        # Ids and changes continue where they ended.
        async with new.watch(1) as watcher:
            row = await new.create(1, data(), now=NOW)
            assert row.id == 1201
            assert [change.row.id for change in await anext(watcher)] == [1201]
        updated = await new.update(2, 3, lambda content: content, now=NOW)
        assert updated.updated_sequence > 1202


async def test_an_upper_half_id_exhausts_the_ids(tmp_path: Path, database: str) -> None:
    path = tmp_path / "x.db"
    async with open_sqlite(path) as store:
        metadata = wire.DispatchMetadata(dispatch_id=HIGH)
        await store.put(1, wire.Dispatch(metadata=metadata, data=data()))
    await migrate_file(path, database)
    async with open_postgres(database) as store:
        assert (await store.get(1, HIGH)).id == HIGH
        with pytest.raises(StoreError, match="no more ids"):
            await store.create(1, data(), now=NOW)


async def test_the_target_must_be_empty(source: Path, database: str) -> None:
    async with open_postgres(database) as store:
        await store.create(1, data(), now=NOW)
    with pytest.raises(StoreError, match="contains something already: choose an empty database"):
        await migrate_file(source, database)
    async with open_postgres(database) as store:
        assert len((await store.list(Query(1))).messages) == 1


async def test_a_source_that_cannot_be_used_is_refused(
    source: Path, tmp_path: Path, database: str
) -> None:
    async with open_sqlite(source):
        with pytest.raises(StoreError, match="another service has it open"):
            await migrate_file(source, database)
    with pytest.raises(StoreError, match="there is no database"):
        await migrate_file(tmp_path / "missing.db", database)
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(StoreError, match="last opened by another version"):
        await migrate_file(source, database)
    async with open_store(database) as store:
        assert (await store.list(Query(1))).messages == []
