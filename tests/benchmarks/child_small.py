"""Contenders that make small calls: probes, and reports of runs."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.benchmarks.child_sync import KEY, MICROGRID, url_of
from tests.benchmarks.children import obey

SECONDS = 2.0
REPORTS = 100


def ours_probe(port: int) -> float:
    """Return the microseconds of CPU time of a dispatcher for each probe."""
    import trio

    from trio_dispatch import open_dispatcher

    async def run() -> float:
        async with open_dispatcher(
            MICROGRID, server_url=url_of(port), key=KEY, probe_interval=timedelta(milliseconds=1)
        ) as dispatcher:
            probes, cpu = dispatcher.statistics().probes, time.process_time()
            await trio.sleep(SECONDS)
            counters = dispatcher.statistics()
            assert counters.stale_streams == 0
            return (time.process_time() - cpu) / (counters.probes - probes) * 1e6

    return trio.run(run)


def official_list(port: int) -> float:
    """Return the same for a list of one dispatch with the official client."""
    from frequenz.client.common.microgrid import MicrogridId
    from frequenz.client.dispatch import DispatchApiClient

    async def run() -> float:
        client = DispatchApiClient(server_url=url_of(port), auth_key=KEY)
        calls, cpu, began = 0, time.process_time(), time.perf_counter()
        while time.perf_counter() < began + SECONDS:
            async for _ in client.list(microgrid_id=MicrogridId(MICROGRID), page_size=1):
                break
            calls += 1
        return (time.process_time() - cpu) / calls * 1e6

    return asyncio.run(run())


def ours_reports(port: int) -> float:
    """Return the reports a second that the service stores, each call with a hundred."""
    import trio

    from trio_dispatch import open_client
    from trio_dispatch.model.runs import ReportKind, RunReport

    async def run() -> float:
        async with open_client(url_of(port), key=KEY) as client:
            done = 0
            began = time.perf_counter()
            reporter = f"reporter-{time.time_ns()}"
            start = datetime.now(UTC)
            while time.perf_counter() < began + SECONDS:
                reports = [
                    RunReport(
                        sequence=done + number,
                        dispatch_id=1 + (done + number) // 2,
                        start_time=start,
                        kind=(ReportKind.COMPLETED, ReportKind.STARTED)[number % 2],
                        time=start,
                        update_time=start,
                        type="CHARGE",
                        actor="charge",
                        until=start + timedelta(minutes=15),
                    )
                    for number in range(1, REPORTS + 1)
                ]
                await client.report_runs(MICROGRID, reports, dispatcher="site", reporter=reporter)
                done += REPORTS
            return done / (time.perf_counter() - began)

    return trio.run(run)


def sqlite_reports(port: int) -> float:
    """Return the rows a second that SQLite stores, each commit with a hundred reports."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(f"{folder}/runs.db")
        connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE runs ("
            "number INTEGER PRIMARY KEY, microgrid INTEGER, dispatcher TEXT, dispatch INTEGER, "
            "start INTEGER, actor TEXT, state INTEGER, message BLOB, revision INTEGER, "
            "UNIQUE (microgrid, dispatcher, dispatch, start, actor))"
        )
        done = 0
        began = time.perf_counter()
        while time.perf_counter() < began + SECONDS:
            rows: list[tuple[Any, ...]] = [
                (1, "site", (done + number) // 2, 1, "charge", number % 2, bytes(120), done)
                for number in range(REPORTS)
            ]
            with connection:
                connection.executemany(
                    "INSERT INTO runs (microgrid, dispatcher, dispatch, start, actor, state, "
                    "message, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
                    "SET state = excluded.state, message = excluded.message, "
                    "revision = excluded.revision",
                    rows,
                )
            done += REPORTS
        connection.close()
        return done / (time.perf_counter() - began)


if __name__ == "__main__":
    obey(ours_probe, official_list, ours_reports, sqlite_reports)
