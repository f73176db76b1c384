"""Reports in SQLite: deliveries that are refused, and commits that fail."""

from __future__ import annotations

from pathlib import Path

import pytest
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
from trio_dispatch.service.store.logs import LogQuery, RunFilter
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
