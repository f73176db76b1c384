"""Benchmark of the log of changes and of runs in SQLite: sizes, pages, and purging while serving.

It writes changes by three keys, a third of them updates, and reports runs; then it reads pages
through the store, so without gRPC, and removes half of everything while dispatches are created.

    python -m tests.benchmarks.bench_log [CHANGES] [RUNS]
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import trio

from trio_dispatch.api import wire
from trio_dispatch.api.codec import payload_to_wire, time_to_nanos
from trio_dispatch.model.runs import ReportKind, RunReport
from trio_dispatch.service import open_store
from trio_dispatch.service.store import Store
from trio_dispatch.service.store.logs import ChangeFilter, LogQuery, RunFilter
from trio_dispatch.service.store.queries import TimeRange
from trio_dispatch.service.store.rows import Author
from trio_dispatch.service.store.runs import Delivery

START = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = tuple(Author(name, "192.0.2.7:51234") for name in ("desk", "ems", "ops"))
AT_A_TIME, REPORTS_AT_ONCE = 500, 500
SECOND = 10**9


def content(rng: random.Random) -> wire.DispatchData:
    ids = wire.TargetComponentsIdSet(ids=[1, 2, 3])
    return wire.DispatchData(
        type="CHARGE",
        start_time=START,
        duration=3600,
        target=wire.TargetComponents(component_ids=ids),
        is_active=True,
        payload=payload_to_wire({"power_kw": rng.random(), "site": "north"}),
    )


async def write_changes(store: Store, count: int) -> float:
    """Write changes, one second of the log apart; return their number per second."""
    rng = random.Random(1)
    begin = time_to_nanos(START)

    async def write(number: int) -> None:
        now, author = begin + number * SECOND, KEYS[number % 3]
        if number % 3 == 2 and number >= AT_A_TIME:
            id_ = number % (number // 3) + 1
            await store.update(1, id_, lambda _: content(rng), now=now, author=author)
        else:
            await store.create(1, content(rng), now=now, author=author)

    began = time.perf_counter()
    for first in range(0, count, AT_A_TIME):
        async with trio.open_nursery() as nursery:
            for number in range(first, min(first + AT_A_TIME, count)):
                nursery.start_soon(write, number)
    return count / (time.perf_counter() - began)


async def report_runs(store: Store, count: int) -> float:
    """Report runs that start and complete; return their number per second."""
    began = time.perf_counter()
    for first in range(0, count, REPORTS_AT_ONCE // 2):
        reports = []
        for number in range(first, min(first + REPORTS_AT_ONCE // 2, count)):
            start = START + timedelta(seconds=number)
            for kind, sequence in (
                (ReportKind.STARTED, 2 * number + 1),
                (ReportKind.FAILED if number % 100 == 0 else ReportKind.COMPLETED, 2 * number + 2),
            ):
                reports.append(
                    RunReport(
                        sequence=sequence,
                        dispatch_id=number % 500 + 1,
                        start_time=start,
                        kind=kind,
                        time=start,
                        update_time=START,
                        type="CHARGE",
                        actor="charger",
                        component=number % 20 + 1,
                        attempt=1,
                        until=start + timedelta(minutes=1),
                    )
                )
        now = time_to_nanos(START + timedelta(seconds=first))
        await store.runs.report(Delivery(1, f"site-{first % 5}", "queue", reports, 0, "1", now))
    return count / (time.perf_counter() - began)


async def timed(what: str, read: Callable[[], Awaitable[object]], repeats: int = 20) -> None:
    """Print the median and the longest time of a read, in milliseconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        await read()
        times.append((time.perf_counter() - began) * 1000)
    print(f"  {what:<52} {statistics.median(times):7.1f} ms  (longest {max(times):.1f})")


async def read_pages(store: Store, changes: int) -> None:
    middle = time_to_nanos(START) + changes // 2 * SECOND
    print("pages of 100, read from the store:")
    for what, wanted in (
        ("changes, the latest", ChangeFilter()),
        ("changes of one dispatch", ChangeFilter(ids=frozenset({5}))),
        ("changes of one of three keys", ChangeFilter(key_names=frozenset({"desk"}))),
        ("changes of an unknown key", ChangeFilter(key_names=frozenset({"nobody"}))),
        ("changes before the middle", ChangeFilter(within=TimeRange(None, middle))),
    ):
        query = LogQuery(1, wanted)
        await timed(what, partial(store.list_changes, query))
    deep = LogQuery(1, ChangeFilter(), after=(middle, changes // 2))
    await timed("changes, a page in the middle", partial(store.list_changes, deep))
    for what, chosen in (
        ("runs, the latest", RunFilter()),
        ("runs of one dispatch", RunFilter(ids=frozenset({5}))),
        ("runs of two components", RunFilter(components=frozenset({3, 4}))),
        ("failed runs (1 %)", RunFilter(states=frozenset({4}))),
        ("missed runs (none)", RunFilter(states=frozenset({5}))),
        ("runs of an unknown type", RunFilter(types=frozenset({"OTHER"}))),
        ("runs of two dispatchers", RunFilter(dispatchers=frozenset({"site-0", "site-1"}))),
    ):
        run_query = LogQuery(1, chosen)
        await timed(what, partial(store.runs.list, run_query))
    began, count = time.perf_counter(), 0
    walk: LogQuery[ChangeFilter] | None = LogQuery(1, ChangeFilter(), page_size=1000)
    while walk is not None:
        page = await store.list_changes(walk)
        count += len(page.messages)
        walk = page.following
    print(f"  a walk over all {count:,} changes: {time.perf_counter() - began:.2f} s")


async def purge_while_serving(store: Store, path: Path, changes: int) -> None:
    """Remove the older half with the command, while dispatches are created one after the other."""
    middle = START + timedelta(seconds=changes // 2)
    age = f"{int((datetime.now(UTC) - middle).total_seconds())}s"
    command = [Path(sys.executable).with_name("trio-dispatch"), "purge", "--db", path]
    began = time.perf_counter()
    quiet = await create_for(store, lambda: time.perf_counter() > began + 3)
    ended: list[str] = []

    async def purge() -> None:
        done = await trio.run_process(
            [*map(str, command), "--older-than", age], capture_stdout=True, stderr=subprocess.STDOUT
        )
        ended.append(done.stdout.decode().strip())

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(purge)
        latencies = await create_for(store, lambda: bool(ended))
    seconds = time.perf_counter() - began
    print(f"purge while serving: {ended[0]} in {seconds:.1f} s")
    for what, found in (("before", quiet), ("meanwhile", latencies)):
        found.sort()
        print(
            f"  {len(found):,} creates {what}, one at a time: median "
            f"{statistics.median(found) * 1000:.1f} ms, 99 % within "
            f"{found[int(len(found) * 0.99)] * 1000:.1f} ms, longest {found[-1] * 1000:.1f} ms"
        )


async def create_for(store: Store, ends: Callable[[], bool]) -> list[float]:
    rng = random.Random(2)
    latencies = []
    while not ends():
        began = time.perf_counter()
        await store.create(2, content(rng), now=time_to_nanos(datetime.now(UTC)), author=KEYS[0])
        latencies.append(time.perf_counter() - began)
    return latencies


def size_of(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.0f} MiB"


async def main() -> None:
    changes = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dispatches.db"
        async with open_store(path) as store:
            rate = await write_changes(store, changes)
            print(f"{changes:,} changes written: {rate:,.0f} per second, {AT_A_TIME} at a time")
        print(f"database with {changes:,} changes: {size_of(path)}")
        async with open_store(path) as store:
            rate = await report_runs(store, runs)
            print(f"{runs:,} runs reported, each started and ended: {rate:,.0f} per second")
        print(f"database with {runs:,} runs as well: {size_of(path)}")
        async with open_store(path) as store:
            await read_pages(store, changes)
            await purge_while_serving(store, path, changes)
        print(f"database afterwards: {size_of(path)}")


if __name__ == "__main__":
    trio.run(main)
