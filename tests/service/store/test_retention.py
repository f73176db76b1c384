"""Runs and changes that are too old, or too many, are removed; also by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.service import data
from trio_dispatch import clock
from trio_dispatch.api.codec import time_to_nanos
from trio_dispatch.model.runs import ReportKind, RunReport
from trio_dispatch.service import Retention, Store, StoreError, open_store, purge_file
from trio_dispatch.service.store.logs import ChangeFilter, LogQuery, RunFilter
from trio_dispatch.service.store.runs import Delivery
from trio_dispatch.service.store.sqlite import TRIM_INTERVAL

DAY = timedelta(days=1)
EVERYTHING: dict[str, Any] = {"page_size": 1000}


def now() -> int:
    return time_to_nanos(clock.now())


async def add_change(store: Store) -> None:
    await store.create(1, data(), now=now())


async def add_run(store: Store, number: int, kind: ReportKind = ReportKind.COMPLETED) -> None:
    moment = clock.now()
    report = RunReport(
        sequence=number,
        dispatch_id=number,
        start_time=moment,
        kind=kind,
        time=moment,
        update_time=moment,
        type="CHARGE",
    )
    await store.runs.report(Delivery(1, "d", "r", [report], 0, "", now()))


async def counts(store: Store) -> tuple[int, int]:
    """How many runs and changes there are."""
    runs = await store.runs.list(LogQuery(1, RunFilter(), **EVERYTHING))
    changes = await store.list_changes(LogQuery(1, ChangeFilter(), **EVERYTHING))
    return len(runs.messages), len(changes.messages)


@pytest.fixture(params=["memory", "sqlite"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "dispatches.db" if request.param == "sqlite" else None


async def test_old_entries_are_removed(path: Path | None, autojump_clock: MockClock) -> None:
    async with open_store(path, retention=Retention(run_age=10 * DAY, change_age=3 * DAY)) as store:
        await add_run(store, 1)
        await add_run(store, 2, ReportKind.STARTED)
        await add_change(store)
        await trio.sleep(5 * 86_400)
        await add_change(store)
        await add_run(store, 3)
        await trio.sleep(TRIM_INTERVAL + 1)
        assert await counts(store) == (3, 1)
        await trio.sleep(7 * 86_400)
        await add_run(store, 4)
        await trio.sleep(TRIM_INTERVAL + 1)
        # The run that lasts is still there; the oldest one that has ended is not.
        page = await store.runs.list(LogQuery(1, RunFilter()))
        assert len(page.messages) == 3
        assert await store.runs.dispatchers(1) != []
        assert (await store.get(1, 1)).id == 1


async def test_the_latest_entries_are_kept(path: Path | None, autojump_clock: MockClock) -> None:
    async with open_store(path, retention=Retention(runs=10, changes=7)) as store:
        for number in range(1, 31):
            await add_run(store, number, ReportKind.STARTED)
            await add_change(store)
        await trio.sleep(TRIM_INTERVAL + 1)
        assert await counts(store) == (10, 7)
        page = await store.runs.list(LogQuery(1, RunFilter(ids=frozenset({20, 21}))))
        assert len(page.messages) == 1


@pytest.mark.parametrize(
    "limits", [{"run_age": timedelta()}, {"change_age": 5}, {"runs": 0}, {"changes": "many"}]
)
def test_an_invalid_retention_is_rejected(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(limits))} .* is not"):
        Retention(**limits)


@asynccontextmanager
async def filled(path: Path) -> AsyncIterator[Store]:
    async with open_store(path) as store:
        for number in range(1, 4):
            await add_run(store, number)
            await add_change(store)
        await trio.sleep(86_400)
        await add_run(store, 4)
        await add_change(store)
        yield store


async def test_purge_removes_old_entries_while_a_service_writes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "dispatches.db"
    async with filled(path) as store, trio.open_nursery() as nursery:
        before = clock.now() - DAY / 2

        @nursery.start_soon
        async def write() -> None:
            for number in range(5, 20):
                await add_run(store, number)
                await add_change(store)

        purged = await clock.run_in_thread(lambda: purge_file(path, before, runs=False))
        assert (purged.runs, purged.changes) == (0, 3)
        purged = await clock.run_in_thread(lambda: purge_file(path, before))
        assert (purged.runs, purged.changes) == (3, 0)
    async with open_store(path) as store:
        assert await counts(store) == (16, 16)


async def test_purge_refuses_other_files(tmp_path: Path) -> None:
    moment: datetime = clock.now()
    with pytest.raises(StoreError, match="there is no database"):
        purge_file(tmp_path / "nothing", moment)
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (x)")
    with pytest.raises(StoreError, match="not of a dispatch service"):
        purge_file(other, moment)
    async with open_store(tmp_path / "dispatches.db"):
        pass
    with closing(sqlite3.connect(tmp_path / "dispatches.db")) as connection:
        connection.execute("PRAGMA user_version = 3")
    with pytest.raises(StoreError, match="schema of another version"):
        purge_file(tmp_path / "dispatches.db", moment)
