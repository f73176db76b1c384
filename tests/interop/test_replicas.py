"""Three services on one database, which are killed at random while many clients write."""

# ruff: noqa: ASYNC110 - the other processes send no event

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.helpers.effort import LONG, cases
from tests.helpers.interop.killing import KEY, MICROGRID, Known, list_all, settle, write
from tests.helpers.interop.peers import within
from tests.helpers.interop.service_runner import run_service
from tests.helpers.postgres import PostgresServer
from trio_dispatch import Dispatch, DispatchClient, ServiceError, open_client
from trio_dispatch.model.events import EventKind

REPLICAS, WRITERS = 3, 12


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may restart."""
    folder = Path(tempfile.mkdtemp(prefix="trio-dispatch-replicas-"))
    server = PostgresServer(folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Replica:
    """A service that is started again when it was killed.

    Attributes:
      client: A client of the service that runs now.
      up: Set while it serves.
    """

    client: DispatchClient

    def __init__(self, log: Path, database: str, name: str) -> None:
        self.name = name
        self.up = trio.Event()
        self._log = log
        self._database = f"{database}&application_name={name}"

    async def run(self) -> None:
        """Run the service, and start it again whenever it was killed."""
        while True:
            async with (
                run_service(self._log, "--key", KEY, "--db", self._database) as self._service,
                open_client(self._service.url, key=KEY) as self.client,
            ):
                self._killed = trio.Event()
                self.up.set()
                await self._killed.wait()

    async def kill(self) -> None:
        self.up = trio.Event()
        await self._service.kill()
        self._killed.set()


class StrictWatcher:
    """Follows the microgrid at one replica, and checks that no change comes twice.

    Attributes:
      dispatches: What exists, from a list and the changes since.
    """

    def __init__(self) -> None:
        self.dispatches: dict[int, Dispatch] = {}
        self.synced = trio.Event()
        self._since: list[tuple[EventKind, Dispatch]] = []
        self._deleted: set[int] = set()
        self._latest: dict[int, Dispatch] = {}

    async def follow(self, client: DispatchClient) -> None:
        """Follow until the stream ends."""
        try:
            async with client.stream(MICROGRID) as events, trio.open_nursery() as nursery:
                nursery.start_soon(self._list, client, events.started)
                async for event in events:
                    assert isinstance(event.dispatch, Dispatch)
                    self._check(event.kind, event.dispatch)
                    self._since.append((event.kind, event.dispatch))
                    if self.synced.is_set():
                        self._catch_up()
                nursery.cancel_scope.cancel()
        except* ServiceError:
            pass

    async def sees(self, dispatches: dict[int, Dispatch]) -> None:
        """Wait until it has seen changes that lead to these dispatches."""
        await until(lambda: self.dispatches == dispatches)

    def _check(self, kind: EventKind, dispatch: Dispatch) -> None:
        latest = self._latest.get(dispatch.id)
        assert dispatch.id not in self._deleted
        if kind is EventKind.DELETED:
            self._deleted.add(dispatch.id)
        elif latest is not None:
            assert dispatch.update_time > latest.update_time
        self._latest[dispatch.id] = dispatch

    async def _list(self, client: DispatchClient, started: trio.Event) -> None:
        await started.wait()
        self.dispatches = await list_all(client)
        self._catch_up()
        self.synced.set()

    def _catch_up(self) -> None:
        for kind, dispatch in self._since:
            old = self.dispatches.get(dispatch.id)
            if kind is EventKind.DELETED:
                self.dispatches.pop(dispatch.id, None)
            elif old is None or not old.newer_than(dispatch):
                self.dispatches[dispatch.id] = dispatch
        self._since.clear()


async def answered(known: Known, number: int) -> None:
    """Wait until this number of writes was acknowledged."""
    await until(lambda: known.acknowledged >= number)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.sleep(0.005)


async def gone(server: PostgresServer, name: str) -> None:
    """Wait until the server has noticed that a replica was killed."""
    while server.connections_of(name):
        await trio.sleep(0.01)


async def settled(known: Known, replicas: list[Replica]) -> dict[int, Dispatch]:
    """Wait until all replicas serve again, and compare what each lists."""
    lists = []
    for replica in replicas:
        await replica.up.wait()
        while True:
            try:
                lists.append(await list_all(replica.client))
                break
            except ServiceError:
                await trio.sleep(0.05)
    assert all(listed == lists[0] for listed in lists)
    settle(known, lists[0])
    return lists[0]


@asynccontextmanager
async def writing(known: Known, replicas: list[Replica], rng: random.Random) -> AsyncIterator[None]:
    """Let clients write to all replicas within the block."""
    async with trio.open_nursery() as writers:
        for number in range(WRITERS):
            writers.start_soon(write, replicas[number % REPLICAS].client, known, rng)
        yield
        known.enough = True
    known.enough = False


async def one_round(
    server: PostgresServer,
    replicas: list[Replica],
    known: Known,
    rng: random.Random,
    *,
    restart: bool,
) -> None:
    """Kill some replicas, or the database, while clients write."""
    await settled(known, replicas)
    watchers = [StrictWatcher() for _ in replicas]
    victims = [] if restart else rng.sample(range(REPLICAS), rng.randint(1, REPLICAS))
    async with trio.open_nursery() as nursery:
        for watcher, replica in zip(watchers, replicas, strict=True):
            nursery.start_soon(watcher.follow, replica.client)
            await until(watcher.synced.is_set)
        async with writing(known, replicas, rng):
            await answered(known, known.acknowledged + rng.randint(5, 200))
            if restart:
                await trio.to_thread.run_sync(server.restart)
            for number in victims:
                await replicas[number].kill()
                await gone(server, replicas[number].name)
        there = await settled(known, replicas)
        # The watchers of the replicas that live have seen everything.
        for number, watcher in enumerate(watchers):
            if number not in victims:
                await watcher.sees(there)
        nursery.cancel_scope.cancel()


@within(60 + 60 * cases(2, long=50))
async def test_replicas_and_the_database_are_killed(
    own_server: PostgresServer, tmp_path: Path
) -> None:
    """No acknowledged write is lost, and every watcher sees each change once and in order."""
    seed = random.randrange(1 << 32) if LONG else 4711
    print(f"seed {seed}")
    rng, known = random.Random(seed), Known()
    rounds = cases(2, long=50)
    with own_server.database() as database:
        replicas = [
            Replica(tmp_path / f"log{number}", database, f"replica{number}")
            for number in range(REPLICAS)
        ]
        async with trio.open_nursery() as running:
            for replica in replicas:
                running.start_soon(replica.run)
            for round_ in range(rounds):
                await one_round(own_server, replicas, known, rng, restart=round_ % 2 == 1)
            await settled(known, replicas)
            running.cancel_scope.cancel()
    assert known.acknowledged > 10 * rounds
