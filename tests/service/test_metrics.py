"""What Prometheus is shown of a service: what is in the store, and the dispatchers."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.prometheus import scrape_of
from tests.helpers.service import Wired, create, wired
from trio_dispatch import ConnectionState, DispatcherStatus, clock
from trio_dispatch.cli.serving.monitoring import Readiness, monitoring_pages
from trio_dispatch.service import Metrics, Store
from trio_dispatch.service.errors import StoreUnavailableError

LIVE = DispatcherStatus(
    connection=ConnectionState.LIVE,
    interval=timedelta(seconds=30),
    lateness=timedelta(seconds=2),
    waiting=3,
)


async def read(metrics: Metrics) -> dict[str, float]:
    """Return all samples, by name and the values of labels."""
    samples = scrape_of(0, (await metrics.text()).decode()).samples
    return {
        " ".join([name.removeprefix("dispatch_"), *(value for _, value in sorted(labels))]): value
        for name, vector in samples.items()
        for labels, value in vector.items()
    }


def watch(service: Wired) -> Metrics:
    metrics = Metrics()
    metrics.watch(service.service)
    return metrics


async def test_content_of_the_store(store: Store, autojump_clock: MockClock) -> None:
    async with wired(store) as service, service.client() as client:
        metrics = watch(service)
        assert "oldest_change_timestamp_seconds" not in await read(metrics)
        began = clock.now().timestamp()
        for microgrid_id in (1, 1, 2):
            await create(client, microgrid_id)
        tell = partial(client.report_runs, 7, [], reporter="a")
        await tell(dispatcher="x", status=LIVE, lost=5)
        await tell(dispatcher="old")
        await trio.sleep(100)
        await tell(dispatcher="y", status=LIVE)
        found = await read(metrics)
        assert found["dispatches"] == 3
        assert found["store_up"] == 1
        assert found["oldest_change_timestamp_seconds"] == pytest.approx(began, abs=5)
        assert [found["dispatcher_up x 7"], found["dispatcher_up y 7"]] == [0, 1]
        assert found["dispatcher_reports_waiting x 7"] == 3
        assert found["dispatcher_reports_lost_total x 7"] == 5
        assert found["dispatcher_lateness_seconds y 7"] == 2
        # One that tells no status may be there or not.
        assert "dispatcher_up old 7" not in found
        contact = found["dispatcher_last_contact_timestamp_seconds x 7"]
        assert contact == pytest.approx(began, abs=5)
        on_disk = {"database_bytes", "disk_free_bytes", "disk_bytes"} & found.keys()
        match store.description.partition(":")[0]:
            case "memory":
                assert not on_disk
            case "postgresql":
                assert on_disk == {"database_bytes"}
            case _:
                assert found["database_bytes"] > 10_000
                assert 0 < found["disk_free_bytes"] < found["disk_bytes"]


async def test_store_is_read_at_most_every_ten_seconds(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wired() as service, service.client() as client:
        metrics = watch(service)
        assert (await read(metrics))["dispatches"] == 0
        await create(client)
        assert (await read(metrics))["dispatches"] == 0
        await trio.sleep(11)
        assert (await read(metrics))["dispatches"] == 1


async def test_store_that_fails_is_down(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> None:
        raise StoreUnavailableError("the disk is gone")

    async def hang(*_: Any) -> None:
        await trio.sleep_forever()

    async with wired() as service:
        metrics, readiness = watch(service), Readiness(service.service)
        pages = monitoring_pages(metrics, readiness)
        assert (await pages["/healthz"]()).status == 200
        assert (await pages["/readyz"]()).status == 503
        readiness.is_serving = True
        assert (await pages["/readyz"]()).status == 200
        for broken in (fail, hang):
            with monkeypatch.context() as patch:
                patch.setattr(service.store, "statistics", broken)
                patch.setattr(service.store, "find", broken)
                await trio.sleep(11)
                found = await read(metrics)
                assert found["store_up"] == 0
                assert "dispatches" not in found
                assert (await pages["/readyz"]()).status == 503
                assert (await pages["/healthz"]()).status == 200
        await trio.sleep(11)
        assert (await read(metrics))["store_up"] == 1
        assert (await pages["/readyz"]()).status == 200
        body = (await pages["/metrics"]()).body
        assert b"process_resident_memory_bytes" in body
    assert "the disk is gone" in caplog.text
