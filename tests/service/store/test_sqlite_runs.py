"""Reports in SQLite: deliveries that are refused, and commits that fail."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio
from trio.testing import MockClock

from tests.helpers.failing_store import failing_commit
from tests.helpers.reporting import report_about, store_reports
from trio_dispatch.model.runs import ReportKind
from trio_dispatch.service import (
    InvalidRequestError,
    StoreUnavailableError,
)
from trio_dispatch.service.store import runs
from trio_dispatch.service.store.logs import ChangeFilter, LogQuery, RunFilter
from trio_dispatch.service.store.queries import TimeRange
from trio_dispatch.service.store.runs import Delivery
from trio_dispatch.service.store.sqlite import SqliteStore, open_sqlite
from trio_dispatch.testing import make_dispatch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dispatches.db"


async def count(store: SqliteStore) -> int:
    return len((await store.runs.list(LogQuery(1, RunFilter()))).messages)


@pytest.mark.parametrize("takes_effect", [True, False])
async def test_reports_of_a_failed_commit_can_be_repeated(
    path: Path, takes_effect: bool, autojump_clock: MockClock
) -> None:
    delivery = Delivery(1, "site-7", "queue", [report_about(make_dispatch())], 0, "", 1)
    async with open_sqlite(path) as store:
        with store.runs.watchers.watch(1) as watcher:
            with (
                failing_commit(store, takes_effect=takes_effect),
                pytest.raises(StoreUnavailableError),
            ):
                await store.runs.report(delivery)
            # It may have missed a change.
            with pytest.raises(StoreUnavailableError, match="may have been missed"):
                await anext(watcher)
        assert await count(store) == int(takes_effect)
        with store.runs.watchers.watch(1) as watcher:
            last = await store.runs.report(delivery)
            assert last == delivery.reports[0].sequence
            assert len(watcher) == int(not takes_effect)
        assert await count(store) == 1
    async with open_sqlite(path) as store:
        assert await count(store) == 1


async def test_a_refused_delivery_harms_no_other_one(
    path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MAX_DISPATCHERS", 2)
    async with open_sqlite(path) as store:
        refused: list[str] = []

        async def report(dispatcher: str) -> None:
            made = report_about(make_dispatch())
            try:
                await store_reports(store, made, dispatcher=dispatcher)
            except InvalidRequestError:
                refused.append(dispatcher)

        # They share a transaction.
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(report, f"site-{number}")
        assert await count(store) == 2
        known = {info.name for info in await store.runs.dispatchers(1)}
        assert known | {*refused} == {f"site-{number}" for number in range(4)}
        assert len(known) == 2


async def test_a_closed_store_takes_no_reports(path: Path) -> None:
    async with open_sqlite(path) as store:
        pass
    with pytest.raises(StoreUnavailableError, match="is closed"):
        await store_reports(store, report_about(make_dispatch(), ReportKind.MISSED))


_RANGE = TimeRange(1, 10**18)
_AFTER = (10**18, 5)


@pytest.mark.parametrize(
    "query",
    [
        LogQuery(1, wanted, after=after)
        for after in (None, _AFTER)
        for wanted in (
            RunFilter(),
            RunFilter(within=_RANGE),
            RunFilter(ids=frozenset({1, 2}), types=frozenset({"A"})),
            RunFilter(components=frozenset({1}), within=_RANGE),
            RunFilter(states=frozenset({4, 5})),
            RunFilter(types=frozenset({"A", "B"}), states=frozenset({2})),
            RunFilter(dispatchers=frozenset({"a"}), within=_RANGE),
        )
    ]
    + [
        LogQuery(1, wanted, after=after)
        for after in (None, _AFTER)
        for wanted in (
            ChangeFilter(),
            ChangeFilter(within=_RANGE),
            ChangeFilter(ids=frozenset({1, 2}), key_names=frozenset({"desk"})),
            ChangeFilter(key_names=frozenset({"desk"}), within=_RANGE),
        )
    ],
)
async def test_lists_read_an_index_in_its_order(
    path: Path, query: LogQuery[RunFilter] | LogQuery[ChangeFilter]
) -> None:
    async with open_sqlite(path) as store:
        plans: list[str] = []

        @sa.event.listens_for(store._engine, "before_cursor_execute")
        def explain(
            _: object, cursor: sqlite3.Cursor, sql: str, values: tuple[object], *__: object
        ) -> None:
            found = cursor.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
            plans.extend(row[3] for row in found)

        if isinstance(query.filter, RunFilter):
            await store.runs.list(LogQuery(1, query.filter, after=query.after))
        else:
            await store.list_changes(LogQuery(1, query.filter, after=query.after))
    assert plans
    assert all(" USING INDEX " in plan and "microgrid_id=?" in plan for plan in plans), plans
