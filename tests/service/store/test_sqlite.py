"""The store in an SQLite file."""

# ruff: noqa: ASYNC220, ASYNC240 - nothing else wants to run meanwhile

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers.service import NOW, create, data, listed, wired
from trio_dispatch.api import wire
from trio_dispatch.api.codec import payload_to_wire
from trio_dispatch.client.errors import ServiceError
from trio_dispatch.grpc import Status
from trio_dispatch.service import (
    NotFoundError,
    Store,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    open_store,
)
from trio_dispatch.service.store import _lookups, _schema
from trio_dispatch.service.store._sql_lists import count_of, pages_of
from trio_dispatch.service.store._transaction import find_all
from trio_dispatch.service.store.logs import ChangeFilter, LogQuery, RunFilter
from trio_dispatch.service.store.queries import Filter, Query, SortKey, TimeRange
from trio_dispatch.service.store.rows import Row
from trio_dispatch.service.store.sqlite import _Interrupter, open_sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dispatches.db"


async def refuse_to_open(path: Path, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        async with open_store(path):
            raise AssertionError("the store was opened")
    assert str(path) in str(caught.value)
    assert not path.with_name(f"{path.name}-lock").exists()


async def test_a_file_that_is_not_a_database_is_refused(path: Path) -> None:
    path.write_bytes(b"This is a text, and not a short one. " * 100)
    before = path.read_bytes()
    await refuse_to_open(path, "is not an SQLite database")
    assert path.read_bytes() == before


async def test_a_database_of_another_application_is_refused(path: Path) -> None:
    for statement in ("CREATE TABLE cookies (x)", "PRAGMA application_id = 5"):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
        connection.close()
        before = path.read_bytes()
        await refuse_to_open(path, "not of a dispatch service")
        assert path.read_bytes() == before


async def test_a_newer_schema_is_refused(path: Path) -> None:
    async with open_store(path):
        pass
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version = 4711")
    connection.close()
    await refuse_to_open(path, "newer version.*4711")


async def test_a_missing_directory_is_an_error(path: Path) -> None:
    await refuse_to_open(path / "deeper", "its directory does not exist")


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    await refuse_to_open(tmp_path, "cannot be opened")


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    async with open_store(path) as store:
        assert (await store.create(1, data(), now=NOW)).id == 1


async def test_a_migration_runs_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(path) as store:
        await store.create(1, data(), now=NOW)

    def further(connection: sa.Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE counters ADD COLUMN extra INTEGER DEFAULT 5")

    monkeypatch.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, further))
    version = len(_schema.MIGRATIONS)
    for _ in range(2):
        async with open_store(path) as store:
            assert (await store.get(1, 1)).id == 1
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
        assert connection.execute("SELECT extra FROM counters").fetchall() == [(5,)]
    connection.close()


@pytest.mark.parametrize("version", range(1, len(_schema.MIGRATIONS)))
async def test_a_file_of_an_older_version_is_migrated(path: Path, version: int) -> None:
    async with open_store(path) as store:
        row = await store.create(1, data(), now=NOW)
    with closing(sqlite3.connect(path)) as connection:
        columns = connection.execute("SELECT * FROM dispatches").fetchone()
    path.unlink()
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as old:
        for migrate in _schema.MIGRATIONS[:version]:
            migrate(old)
        places = ", ".join("?" * len(columns))
        old.exec_driver_sql(f"INSERT INTO dispatches VALUES ({places})", columns)
        old.exec_driver_sql("DELETE FROM counters")
        old.exec_driver_sql("INSERT INTO counters VALUES (1, 1)")
        old.exec_driver_sql(f"PRAGMA application_id = {_schema.APPLICATION_ID}")
        old.exec_driver_sql(f"PRAGMA user_version = {version}")
    engine.dispose()
    async with open_store(path) as store:
        assert await store.get(1, row.id) == row
        assert (await store.list(Query(1))).messages == [row.message]
        assert await store.latest_stamp(b"key") is None
        await store.raise_stamp(b"key", 5)
        assert (await store.create(1, data(), now=NOW)).updated_sequence == 2
        assert len((await store.list_changes(LogQuery(1, ChangeFilter()))).messages) == 1
        assert (await store.runs.list(LogQuery(1, RunFilter()))).messages == []
    async with open_store(path) as store:
        assert await store.latest_stamp(b"key") == 5


async def test_a_migration_that_fails_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(connection: sa.Connection) -> None:
        connection.exec_driver_sql("DROP TABLE former")
        raise ZeroDivisionError

    async with open_store(path):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, half))
        with pytest.raises(ZeroDivisionError):
            async with open_store(path):
                pass
    async with open_store(path) as store:
        await store.create(1, data(), now=NOW)


async def test_a_file_is_open_in_one_store_at_a_time(path: Path) -> None:
    async with open_store(path):
        with pytest.raises(StoreError, match="another service has it open"):
            async with open_store(path):
                pass
        with pytest.raises(StoreError, match="another service has it open"):
            async with open_store(path):
                pass
    async with open_store(path) as store:
        await store.create(1, data(), now=NOW)


async def test_a_link_shares_the_lock_of_its_file(path: Path) -> None:
    link = path.with_name("link.db")
    async with open_store(path):
        link.symlink_to(path)
        with pytest.raises(StoreError, match="another service has it open"):
            async with open_store(link):
                pass


async def test_a_file_named_like_a_memory_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_store(":memory:") as store:
        await store.create(1, data(), now=NOW)
    assert (tmp_path / ":memory:").exists()


async def test_commits_are_synced(path: Path) -> None:
    async with open_sqlite(path, busy_timeout=1) as store:
        with store._engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


async def test_a_closed_store_is_unavailable(path: Path) -> None:
    async with open_store(path) as store:
        pass
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.get(1, 1)
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.create(1, data(), now=NOW)


async def test_many_writes_share_a_commit(path: Path) -> None:
    commits = 0
    async with open_sqlite(path) as store:

        @sa.event.listens_for(store._engine, "commit")
        def committed(_: sa.Connection) -> None:
            nonlocal commits
            commits += 1

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(lambda: store.create(1, data(), now=NOW))
        assert commits <= 3
        assert (await store.list(Query(1))).total == 200


async def test_many_look_ups_share_a_statement_and_fail_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged row fails only the look-ups of it."""
    found: list[int] = []
    statements = 0

    def counting(connection: sa.Connection, ids: Iterable[int]) -> dict[int, Row]:
        nonlocal statements
        statements += 1
        return find_all(connection, ids)

    async def look_up(id_: int) -> None:
        found.append((await store.get(1, id_)).id)

    async def fail_to_look_up(id_: int) -> None:
        with pytest.raises(ValueError, match="isoformat"):
            await store.get(1, id_)

    async with open_sqlite(path) as store:
        for _ in range(100):
            await store.create(1, data(), now=NOW)

        monkeypatch.setattr(_lookups, "find_all", counting)
        async with trio.open_nursery() as nursery:
            for id_ in range(1, 101):
                nursery.start_soon(look_up, id_)
        assert sorted(found) == [*range(1, 101)]
        assert statements <= 2
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE dispatches SET start_time = 'soon' WHERE id = 7")
        found.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_to_look_up, 7)
            for id_ in (6, 8):
                nursery.start_soon(look_up, id_)
        assert sorted(found) == [6, 8]


# Slow reads.

ENDLESS = sa.text(
    "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) "
    "SELECT count(*) FROM numbers"
)


@pytest.fixture
def endless_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_dispatch.service.store.sqlite.count_of", lambda query: ENDLESS)


@pytest.mark.usefixtures("endless_lists")
async def test_slow_lists_do_not_delay_look_ups_and_end_when_they_are_cancelled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.fail_after(60):
        async with open_store(path) as store:
            row = await store.create(1, data(), now=NOW)
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(store.list, Query(1))
                for _ in range(10):
                    await trio.testing.wait_all_tasks_blocked()
                    assert await store.get(1, row.id) == row
                    await store.raise_stamp(b"key", 5)
                    assert await store.latest_stamp(b"key") == 5
                nursery.cancel_scope.cancel()
            monkeypatch.undo()
            # Their connections are free again.
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(store.list, Query(1))
        async with open_store(path) as store:
            assert (await store.list(Query(1))).total == 1


@pytest.mark.usefixtures("endless_lists")
async def test_a_client_that_leaves_ends_its_list(path: Path, autojump_clock: MockClock) -> None:
    async with (
        open_store(path) as store,
        wired(store) as service,
        service.client() as client,
        trio.open_nursery() as nursery,
    ):
        for _ in range(4):
            nursery.start_soon(listed, client)
        await trio.testing.wait_all_tasks_blocked()
        await create(client)
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("endless_lists")
async def test_a_list_that_takes_too_long_is_stopped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_dispatch.service.store.sqlite.LIST_TIMEOUT", 0.05)
    async with open_store(path) as store, wired(store) as service, service.client() as client:
        with pytest.raises(StoreBusyError, match="took too long"):
            await store.list(Query(1))
        with pytest.raises(ServiceError, match="the list took too long") as caught:
            await listed(client)
        assert caught.value.status is Status.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("moment", ["before", "between", "during"])
async def test_a_read_is_interrupted_at_any_moment(path: Path, moment: str) -> None:
    interrupter = _Interrupter()
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        if moment == "before":
            interrupter.interrupt()
        with interrupter.watching(connection):
            if moment == "between":
                interrupter.interrupt()
            async with trio.open_nursery() as nursery:
                if moment == "during":

                    async def interrupt() -> None:
                        interrupter.interrupt()

                    nursery.start_soon(interrupt)
                with pytest.raises(sqlite3.OperationalError, match="interrupted"):
                    await trio.to_thread.run_sync(connection.execute, str(ENDLESS))
        interrupter.interrupt()  # Too late: the connection is used for something else now.
        assert connection.execute("SELECT 1").fetchone() == (1,)


# Files.


async def test_files_are_readable_by_their_owner_only(path: Path) -> None:
    before = os.umask(0o022)
    try:
        async with open_store(path) as store:
            await store.create(1, data(), now=NOW)
            await store.backup(path.with_name("copy.db"))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert len(modes) == 5
    assert set(modes.values()) == {0o600}


async def test_a_readable_database_is_reported(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.touch(mode=0o600)
    async with open_store(path):
        assert not caplog.records
    path.chmod(0o644)
    async with open_store(path):
        [record] = caplog.records
    assert record.getMessage() == f"{path} can be read by everyone: change its mode to 600"


OPEN = """
import os, sys, trio
from trio_dispatch.service import StoreError, open_store
import trio_dispatch.service.store.sqlite

if os.geteuid() == 0:  # No mode keeps root from writing.
    os.setgid(65534)
    os.setuid(65534)

async def main():
    async with open_store(sys.argv[1]):
        pass

try:
    trio.run(main)
except StoreError as exc:
    print(exc)
"""


@pytest.mark.parametrize("directory_mode", [0o777, 0o555])
async def test_a_database_that_cannot_be_written_is_refused(directory_mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "dispatches.db")
        async with open_store(path):
            pass
        path.chmod(0o444 if directory_mode == 0o777 else 0o666)
        path.parent.chmod(directory_mode)
        process = await trio.run_process([sys.executable, "-c", OPEN, path], capture_stdout=True)
    said = process.stdout.decode()
    assert "dispatches.db" in said
    assert "Permission denied" in said


@pytest.mark.parametrize(
    ("code", "opens"), [(sqlite3.SQLITE_FULL, True), (sqlite3.SQLITE_READONLY, False)]
)
async def test_a_full_disk_does_not_prevent_reading(
    path: Path, code: int, opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(path) as store:
        row = await store.create(1, data(), now=NOW)

    def fail(connection: sa.Connection) -> None:
        error = sqlite3.OperationalError("cannot write")
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr("trio_dispatch.service.store.sqlite.check_writable", fail)
    if opens:
        async with open_store(path) as store:
            assert await store.get(1, row.id) == row
    else:
        await refuse_to_open(path, "it is read-only")


async def test_a_database_that_becomes_read_only_is_unavailable(
    path: Path, autojump_clock: MockClock
) -> None:
    async with open_sqlite(path) as store:
        row = await store.create(1, data(), now=NOW)

        @sa.event.listens_for(store._engine, "begin")
        def forbid_writing(connection: sa.Connection) -> None:
            connection.exec_driver_sql("PRAGMA query_only = ON")

        with pytest.raises(StoreUnavailableError, match="it is read-only"):
            await store.delete(1, row.id)
        assert await store.get(1, row.id) == row


# When the database fails.


async def test_a_locked_database(path: Path, autojump_clock: MockClock) -> None:
    async with (
        open_sqlite(path, busy_timeout=0.05) as store,
        wired(store) as service,
        service.client() as client,
    ):
        made = await create(client)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with store.watch(1) as changes:
            for call in (create(client), client.delete(1, made.id)):
                with pytest.raises(ServiceError) as caught:
                    await call
                assert caught.value.status is Status.UNAVAILABLE
                assert str(path) not in str(caught.value)
            # Reads continue.
            assert await client.get(1, made.id) == made
            assert len(changes) == 0
        other.execute("ROLLBACK")
        other.close()
        again = await create(client)
        assert again.id == made.id + 1
        assert await listed(client) == [2, 1]


async def test_a_full_database(path: Path, autojump_clock: MockClock) -> None:
    async with open_sqlite(path) as store, wired(store) as service, service.client() as client:
        made = await create(client)
        async with store.watch(1) as changes:
            with _no_more_pages(store):
                with pytest.raises(ServiceError) as caught:
                    [await create(client, payload={"x": "y" * 20_000}) for _ in range(1000)]
                assert caught.value.status is Status.RESOURCE_EXHAUSTED
                kept = await listed(client)
                assert len(changes) == len(kept) - 1
                assert await client.get(1, made.id) == made
        last = await create(client, payload={"x": "y" * 20_000})
        assert await listed(client) == [last.id, *kept]


class _no_more_pages:  # noqa: N801
    """Keep a database from growing by more than some pages, like a full disk."""

    def __init__(self, store: Store) -> None:
        self._engine = store._engine  # type: ignore[attr-defined]

    def __enter__(self) -> None:
        sa.event.listen(self._engine, "begin", self._limit)

    def __exit__(self, *_: object) -> None:
        sa.event.remove(self._engine, "begin", self._limit)
        sa.event.listen(self._engine, "begin", self._free)

    @staticmethod
    def _limit(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 40")

    @staticmethod
    def _free(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")


async def test_small_writes_succeed_on_a_full_disk(path: Path) -> None:
    """A write that is too large does not make those fail that share its transaction."""
    outcomes: list[str] = []

    async def write(store: Store, size: int) -> None:
        payload = payload_to_wire({"x": "y" * size})
        try:
            await store.create(1, data(payload=payload), now=NOW)
        except StoreFullError:
            outcomes.append("full")
        else:
            outcomes.append("done")

    async with open_sqlite(path) as store:
        await write(store, 1)
        with _no_more_pages(store):
            async with trio.open_nursery() as nursery:
                for size in (10, 240_000, 10, 240_000, 10):
                    nursery.start_soon(write, store, size)
    assert sorted(outcomes) == ["done"] * 4 + ["full"] * 2


async def test_a_damaged_file_is_data_loss(path: Path, autojump_clock: MockClock) -> None:
    async with open_store(path) as store:
        for _ in range(50):
            await store.create(1, data(payload=payload_to_wire({"x": "y" * 500})), now=NOW)
    content = bytearray(path.read_bytes())
    # The schema, the counters and the first of the dispatches stay readable.
    begin = 4096 * 27
    content[begin:] = os.urandom(len(content) - begin)
    path.write_bytes(content)
    async with open_store(path) as store, wired(store) as service, service.client() as client:
        with pytest.raises(ServiceError) as caught:
            await listed(client)
        assert caught.value.status is Status.DATA_LOSS


# Backups.


async def test_backup_of_an_open_store(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with open_store(path) as store:
        await store.create(1, data(), now=NOW)
        await store.backup(copy)
        await store.create(1, data(), now=NOW)
        with pytest.raises(FileExistsError):
            await store.backup(copy)
        with pytest.raises(StoreError, match="cannot be written"):
            await store.backup(tmp_path / "nowhere" / "copy.db")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.db", "dispatches.db"]
    async with open_store(copy) as store:
        assert (await store.get(1, 1)).id == 1
        with pytest.raises(NotFoundError):
            await store.get(1, 2)
        assert (await store.create(1, data(), now=NOW)).id == 2


async def test_memory_has_no_backup(tmp_path: Path) -> None:
    async with open_store(None) as store:
        with pytest.raises(StoreError, match="a store in memory has no backup"):
            await store.backup(tmp_path / "copy.db")


# How lists are read.


INDEXES = {
    SortKey.START_TIME: "dispatches_by_starts",
    SortKey.CREATE_TIME: "dispatches_by_created",
    SortKey.UPDATE_TIME: "dispatches_by_updated",
}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("key", list(SortKey))
async def test_lists_use_an_index(path: Path, key: SortKey, descending: bool) -> None:
    async with open_sqlite(path) as store:
        first = Query(1, sort_key=key, descending=descending)
        later = Query(1, sort_key=key, descending=descending, after=(NOW, 5), snapshot=7)
        present = Filter(end_time=TimeRange(NOW, None), update_time=TimeRange(NOW, None))
        for query in (first, later, replace(first, filter=present), replace(later, filter=present)):
            selects = [*pages_of(query, 7)]
            assert len(selects) == (1 if query.after is None else 2)
            for number, select in enumerate(selects):
                plan = _plan(store._engine, select)
                assert f"USING INDEX {INDEXES[key]} (microgrid_id=?" in plan
                assert "SCAN dispatches" not in plan
                # The few dispatches that have moved meanwhile may be sorted.
                assert "TEMP B-TREE" not in plan.partition("former")[0]
                if len(selects) == 2 and number == 0:
                    assert "id" in plan.partition("(microgrid_id=? AND ")[2].partition(")")[0]
        if key is not SortKey.CREATE_TIME:
            assert "USING INTEGER PRIMARY KEY (rowid>?)" in plan


async def test_a_count_by_end_time_reads_only_an_index(path: Path) -> None:
    async with open_sqlite(path) as store:
        query = Query(1, filter=Filter(end_time=TimeRange(NOW, None)))
        assert "COVERING INDEX dispatches_by_ends" in _plan(store._engine, count_of(query))


@pytest.mark.parametrize(
    "wanted", [Filter(ids=frozenset({1, 2})), Filter(queried_ids=frozenset({1, 2}))]
)
async def test_ids_in_a_filter_are_looked_up(path: Path, wanted: Filter) -> None:
    async with open_sqlite(path) as store:
        query = Query(1, filter=wanted)
        for select in (*pages_of(query, 7), count_of(query)):
            plan = _plan(store._engine, select)
            assert "SEARCH dispatches USING INTEGER PRIMARY KEY (rowid=?)" in plan


def _plan(
    engine: sa.Engine,
    select: sa.Select[*tuple[object, ...]] | sa.CompoundSelect[*tuple[object, ...]],
) -> str:
    compiled = select.compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")
        return "\n".join(row[-1] for row in rows)


# Kills.

WRITER = """
import sys, trio
from trio_dispatch.service import open_store
from tests_data import data

async def write(store, worker):
    while True:
        row = await store.create(worker, data(), now=1)
        print("+", row.id, flush=True)
        if row.id % 3 == 0:
            await store.delete(worker, row.id)
            print("-", row.id, flush=True)

async def main():
    async with open_store(sys.argv[1]) as store, trio.open_nursery() as nursery:
        for worker in range(5):
            nursery.start_soon(write, store, worker)

trio.run(main)
"""

DATA = """
from trio_dispatch.api import wire
from datetime import UTC, datetime

def data():
    target = wire.TargetComponents(component_ids=wire.TargetComponentsIdSet(ids=[1]))
    return wire.DispatchData(type="x", start_time=datetime(2026, 1, 1, tzinfo=UTC), target=target)
"""


@pytest.mark.parametrize("lines", [1, 7, 50, 301])
async def test_acknowledged_writes_survive_a_kill(path: Path, tmp_path: Path, lines: int) -> None:
    (tmp_path / "tests_data.py").write_text(DATA)
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert process.stdout is not None
    said = [process.stdout.readline().split() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    said += [line.split() for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    created = {int(id_) for sign, id_ in said if sign == "+"}
    deleted = {int(id_) for sign, id_ in said if sign == "-"}
    assert created
    async with open_store(path) as store:
        there = set()
        for worker in range(5):
            page = await store.list(Query(worker, page_size=1000))
            assert page.following is None
            there |= {_id(message) for message in page.messages}
        # Multiples of three may have been deleted without an acknowledgement.
        assert created - {id_ for id_ in created if id_ % 3 == 0} <= there
        assert not there & deleted
        assert (await store.create(1, data(), now=NOW)).id > max(created | there)
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def _id(message: bytes) -> int:
    from trio_dispatch.api.codec import WIRE

    metadata = WIRE.decode(message, wire.Dispatch).metadata
    assert metadata is not None
    return metadata.dispatch_id
