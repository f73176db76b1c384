"""A service that is killed again and again, at random moments, while many clients write."""

# ruff: noqa: ASYNC110 - there is nobody to tell

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import trio

from tests.helpers.effort import LONG, cases
from tests.helpers.interop.killing import KEY, Known, Watcher, list_all, settle, write
from tests.helpers.interop.peers import within
from tests.helpers.interop.service_runner import run_service
from trio_dispatch import DispatchClient, open_client

WRITERS = 12


@asynccontextmanager
async def two_clients(url: str) -> AsyncIterator[tuple[DispatchClient, DispatchClient]]:
    async with open_client(url, key=KEY) as one, open_client(url, key=KEY) as other:
        yield one, other


async def kill_again_and_again(db: Path, times: int, seed: int) -> Known:
    # The order of the writers differs from run to run, so only the moments have their own seed.
    rng, moments = random.Random(seed), random.Random(seed)
    known, watcher = Known(), Watcher()
    for round_ in range(times + 1):
        async with (
            run_service(db.with_name("log"), "--key", KEY, "--db", db) as service,
            two_clients(service.url) as (one, other),
        ):
            there = await list_all(one)
            settle(known, there)
            async with trio.open_nursery() as nursery:
                watcher.synced = trio.Event()
                nursery.start_soon(watcher.follow, other)
                await until(watcher.synced.is_set)
                assert watcher.dispatches == there
                async with trio.open_nursery() as writers:
                    for number in range(WRITERS):
                        writers.start_soon(write, (one, other)[number % 2], known, rng)
                    # Kill at the first calls, or in the middle of many.
                    answers = known.acknowledged + int(math.exp(moments.uniform(0, math.log(150))))
                    while known.acknowledged < answers:
                        await trio.sleep(0.001)
                    await trio.sleep(moments.uniform(0, 0.01))
                    known.enough = round_ == times
                    if not known.enough:
                        await service.kill()
                if known.enough:
                    there = await list_all(one)
                    while watcher.dispatches != there:
                        await trio.sleep(0.005)
                    settle(known, there)
                    await service.stop()
    assert watcher.came_again == times + 1
    return known


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.sleep(0.005)


@within(300)
async def test_acknowledged_writes_survive_repeated_kills(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32) if LONG else 4711
    db = tmp_path / "dispatches.db"
    known = await kill_again_and_again(db, cases(4, long=50), seed)
    assert known.acknowledged > 100
    with closing(sqlite3.connect(db)) as connection, connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
