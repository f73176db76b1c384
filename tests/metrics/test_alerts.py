"""The alert rules and the dashboard: they fire for what goes wrong in the real system, only then,
and name only metrics that it has.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from prometheus_client import CollectorRegistry, generate_latest

from tests.helpers.prometheus import (
    Scrape,
    all_names,
    check_with_promtool,
    firing,
    names_in,
    promtool,
    read_rules,
    scrape_of,
)
from trio_dispatch import ActorRun, Dispatcher, TargetIds, clock, open_dispatcher
from trio_dispatch.cli.serving.keys import TlsFiles
from trio_dispatch.grpc import Interceptor, Status, open_channel
from trio_dispatch.metrics import DispatcherCollector
from trio_dispatch.service import DispatchService, Metrics, observing, open_service, open_store
from trio_dispatch.service.backups import BackupStatistics
from trio_dispatch.testing import make_dispatch
from trio_dispatch.testing.faults import Faults

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations"
RULES = OPERATIONS / "alerts.yaml"
INTERVAL = 30


class Plant:
    """A service, a dispatcher of it, and what Prometheus has scraped of both."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.metrics = Metrics()
        self.scrapes: list[Scrape] = []
        self.service: DispatchService
        self.dispatcher: Dispatcher
        self.is_cut = False
        self._streams: list[trio.abc.Stream] = []
        self._nursery: trio.Nursery
        self._registry = CollectorRegistry()

    @asynccontextmanager
    async def running(self, db: Path | None) -> AsyncIterator[None]:
        interceptors: list[Interceptor] = [observing(self.metrics.observe_call), self.faults]
        async with (
            open_store(db) as store,
            open_service(store, interceptors=interceptors) as self.service,
            trio.open_nursery() as self._nursery,
            open_channel(self._connect) as channel,
            open_dispatcher(1, channel=channel, key="k", name="site-7") as self.dispatcher,
        ):
            self.metrics.watch(self.service)
            self._registry.register(DispatcherCollector(self.dispatcher))
            yield
            self._nursery.cancel_scope.cancel()

    async def _connect(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if self.is_cut:
            raise ConnectionRefusedError
        ours, theirs = trio.testing.memory_stream_pair()
        self._streams.append(theirs)
        self._nursery.start_soon(self.service.server.serve_stream, theirs)
        return ours

    async def cut(self) -> None:
        """Cut the network between the dispatcher and the service."""
        self.is_cut = True
        for stream in self._streams:
            await trio.aclose_forcefully(stream)

    async def put(self, id_: int, **fields: Any) -> None:
        """Store a dispatch that starts in ten seconds."""
        start = clock.now().replace(microsecond=0) + timedelta(seconds=10)
        values = {"start_time": start, "duration": timedelta(minutes=1), "target": TargetIds(1)}
        await self.service.store.put(1, make_dispatch(id_, **{**values, **fields}))

    def run_actor(self, actor: Callable[[ActorRun[None]], Awaitable[None]]) -> None:
        run_actors = partial(self.dispatcher.run_actors, payload=parse)
        self._nursery.start_soon(run_actors, "CHARGE", actor)

    async def scrape(
        self, minutes: float, each: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Let time pass, and scrape all the while."""
        for _ in range(round(minutes * 60 / INTERVAL)):
            if each is not None:
                await each()
            await trio.sleep(INTERVAL)
            text = await self.metrics.text() + generate_latest(self._registry)
            self.scrapes.append(scrape_of(clock.now().timestamp(), text.decode()))


@asynccontextmanager
async def plant(db: Path | None = None) -> AsyncIterator[Plant]:
    made = Plant()
    async with made.running(db):
        yield made


def check(scrapes: list[Scrape], folder: Path, *expected: str) -> None:
    """Check which alerts fire at the last scrape."""
    assert {rule.name for rule in read_rules(RULES) if firing(scrapes, rule)} == set(expected)
    if promtool() is not None:
        check_with_promtool(scrapes, RULES, folder)


def parse(payload: dict[str, Any]) -> None:
    if not payload.get("is_valid", True):
        raise ValueError("it is not valid")


async def charge(run: ActorRun[None]) -> None:
    await trio.sleep_forever()


async def fail(run: ActorRun[None]) -> None:
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[timedelta], TlsFiles]:
    """Return the files of a certificate that expires after some time."""

    def make(rest: timedelta) -> TlsFiles:
        made = trustme.CA().issue_cert("localhost", not_after=clock.now() + rest)
        files = TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem", None)
        assert files.certificate is not None
        files.certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        return files

    return make


async def test_nothing_fires_when_all_is_well_and_all_names_exist(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    certificate: Callable[[timedelta], TlsFiles],
) -> None:
    async with plant(tmp_path / "x.db") as running:
        running.metrics.certificate_expiry = certificate(timedelta(days=60)).expiry()
        running.metrics.backups = BackupStatistics(last=clock.now())
        running.run_actor(charge)
        await running.scrape(1)
        await running.put(1)
        await running.put(2, payload={"is_valid": False})
        await running.put(3, dry_run=True, duration=timedelta(hours=1))
        await running.scrape(11)
    check(running.scrapes, tmp_path)
    exported = all_names(running.scrapes) | {"up"}
    dashboard = json.loads((OPERATIONS / "dashboard.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for expression in [*shown, *(rule.expression for rule in read_rules(RULES))]:
        names = names_in(expression)
        assert names
        assert names <= exported, expression


async def test_dispatcher_offline(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with plant() as running:
        await running.scrape(2)
        await running.cut()
        await running.scrape(3)
        check(running.scrapes, tmp_path)
        await running.scrape(4)
        check(running.scrapes, tmp_path, "DispatcherOffline", "DispatcherWithoutContact")
        running.is_cut = False
        await running.scrape(3)
        check(running.scrapes, tmp_path)


async def test_stale_streams(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with plant() as running:
        ids = iter(range(1, 100))

        async def lose() -> None:
            running.faults.mute_streams(1)
            await running.put(next(ids), type="OTHER", active=False)

        await running.scrape(1)
        await running.scrape(4, lose)
    check(running.scrapes, tmp_path, "DispatcherStaleStreams")


async def test_reports_waiting(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with plant() as running:
        await running.scrape(1)
        running.faults.fail_next("report_runs", Status.RESOURCE_EXHAUSTED, "full", 1000)
        await running.put(1)
        await running.scrape(9)
        check(running.scrapes, tmp_path, "DispatcherOffline", "DispatchServiceErrors")
        await running.scrape(3)
    check(
        running.scrapes,
        tmp_path,
        "DispatcherReportsWaiting",
        "DispatcherOffline",
        "DispatchServiceErrors",
    )


async def test_actor_failing(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with plant() as running:
        running.run_actor(fail)
        await running.put(1, duration=timedelta(hours=1))
        await running.scrape(5)
    check(running.scrapes, tmp_path, "DispatcherActorFailing")


async def test_certificate_about_to_expire(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    certificate: Callable[[timedelta], TlsFiles],
) -> None:
    async with plant() as running:
        running.metrics.certificate_expiry = certificate(timedelta(days=15)).expiry()
        await running.scrape(1)
        check(running.scrapes, tmp_path)
        running.metrics.certificate_expiry = certificate(timedelta(days=13)).expiry()
        await running.scrape(1)
    check(running.scrapes, tmp_path, "DispatchCertificateExpires")


@contextmanager
def small_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Make a folder a small disk, and return what fills it nearly.

    Without the right to mount one, the answer of the operating system is replaced.
    """
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        real = os.statvfs(folder)
        full = os.statvfs_result((*real[:4], real.f_blocks // 20, real.f_blocks // 20, *real[6:]))
        yield lambda: monkeypatch.setattr(os, "statvfs", lambda _: full)
        return
    try:
        ballast = bytes(int(shutil.disk_usage(folder).free * 0.95))

        def fill() -> None:
            (folder / "ballast").write_bytes(ballast)

        yield fill
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


async def test_disk_nearly_full(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, monkeypatch) as fill:
        async with plant(disk / "x.db") as running:
            await running.scrape(1)
            check(running.scrapes, tmp_path)
            fill()
            await running.scrape(6)
            check(running.scrapes, tmp_path, "DispatchDiskNearlyFull")
