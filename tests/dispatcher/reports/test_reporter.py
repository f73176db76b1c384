"""The runs of a dispatcher, as the service has them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import SECOND, at, lasting
from tests.helpers.dispatching import dispatching
from tests.helpers.killing import Machine
from trio_dispatch import Frequency, RecurrenceRule, clock
from trio_dispatch.dispatcher.reports.journal_file import append, rewrite
from trio_dispatch.model.runs import ReportedRun
from trio_dispatch.testing import LocalService, open_test_service

JOURNAL = "trio_dispatch.dispatcher.reports.journal"
RARELY: Any = {"probe_interval": timedelta(hours=6), "resync_interval": timedelta(hours=6)}


async def runs_of(service: LocalService) -> list[ReportedRun]:
    """Every run, by dispatch and occurrence."""
    pages = service.client.list_runs(1)
    runs = [run async for page in pages for run in page]
    return sorted(runs, key=lambda run: (run.dispatch_id, run.start_time, run.actor))


async def summary(service: LocalService) -> list[str]:
    """The runs: the dispatch, when each was due, what became of it, and when."""
    return [
        f"{run.dispatch_id} {run.start_time - at(0)} {run.state.name}"
        + (f" {run.reason.name}" if run.reason else "")
        + (f" {run.ended_time - at(0)}" if run.ended_time else "")
        for run in await runs_of(service)
    ]


async def test_announced_runs_are_reported(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_service(keepalive=False) as service:
        hourly = RecurrenceRule(Frequency.HOURLY)
        await service.put(lasting(1, 60, 60, recurrence=hourly))
        for id_ in range(2, 7):
            await service.put(lasting(id_, 60, None))
        await service.put(lasting(7, 120, 0))
        async with dispatching(service, name="site-7") as dispatcher:
            await trio.sleep(90)
            assert await summary(service) == [f"{id_} 0:01:00 RUNNING" for id_ in range(1, 7)]
            await service.store.delete(1, 2)
            await service.put(lasting(3, 60, None, active=False))
            await service.put(lasting(4, 600, 60))
            await service.put(lasting(5, 60, 90))
            await trio.sleep(3600)
            statistics = dispatcher.statistics()
            assert (statistics.reports_waiting, statistics.reports_lost) == (0, 0)
            assert statistics.reports_delivered == 17
            assert statistics.last_delivery == at(3660)
        assert await summary(service) == [
            "1 0:01:00 COMPLETED 0:02:00",
            "1 1:01:00 STOPPED SHUTDOWN 1:01:30",
            "2 0:01:00 STOPPED DELETED 0:01:30",
            "3 0:01:00 STOPPED DEACTIVATED 0:01:30",
            "4 0:01:00 STOPPED CHANGED 0:01:30",
            "4 0:10:00 COMPLETED 0:11:00",
            "5 0:01:00 COMPLETED 0:02:30",
            "6 0:01:00 STOPPED SHUTDOWN 1:01:30",
            "7 0:02:00 COMPLETED 0:02:00",
        ]
        [info] = await service.client.list_dispatchers(1)
        assert (info.name, info.lost) == ("site-7", 0)


async def test_run_that_goes_on_after_a_crash_is_not_started_again(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with open_test_service(keepalive=False) as service:
        machine = Machine(service, tmp_path)
        await service.put(lasting(1, 10, 600))
        async with machine.process(killed=True, name="site-7"):
            await trio.sleep(20)
        assert await summary(service) == ["1 0:00:10 RUNNING"]
        await trio.sleep(60)
        async with machine.process(name="site-7") as dispatcher:
            await trio.sleep(60)
            # That of the start, again: the process died before it noted that it was delivered.
            assert dispatcher.statistics().reports_delivered == 1
            await trio.sleep(600)
            assert dispatcher.statistics().reports_delivered == 2
        [run] = await runs_of(service)
        assert (run.started_time, run.ended_time) == (at(10), at(610))


@pytest.mark.parametrize("how", ["over", "deleted", "another", "without cache"])
async def test_run_that_ends_while_no_process_runs_is_reported_as_crashed(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, how: str
) -> None:
    async with open_test_service(keepalive=False) as service:
        machine = Machine(service, tmp_path)
        await service.put(lasting(1, 10, 600, recurrence=RecurrenceRule(Frequency.HOURLY)))
        async with machine.process(killed=True, name="site-7"):
            await trio.sleep(20)
        match how:
            case "over" | "without cache":
                await trio.sleep(1000)
            case "deleted":
                await service.store.delete(1, 1)
            case "another":
                await trio.sleep(3600)
        if how == "without cache":
            machine.cache.unlink()
        async with machine.process(name="site-7"):
            await trio.sleep(5)
        first, *others = await summary(service)
        reason = "DELETED" if how == "deleted" else "CRASHED"
        assert first.startswith(f"1 0:00:10 STOPPED {reason}")
        assert others == ["1 1:00:10 STOPPED SHUTDOWN 1:00:25"] * (how == "another")


async def test_reports_of_an_outage_survive_a_crash(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with open_test_service(keepalive=False) as service:
        machine = Machine(service, tmp_path)
        await service.put(lasting(1, 10, 20, recurrence=RecurrenceRule(Frequency.MINUTELY)))
        async with machine.process(killed=True, name="site-7") as dispatcher:
            await trio.sleep(5)
            await service.stop()
            await trio.sleep(3600)
            assert dispatcher.statistics().reports_waiting == 120
        async with machine.process(name="site-7") as dispatcher:
            assert dispatcher.statistics().reports_waiting == 120
            await service.restart()
            await trio.sleep(120)
            assert dispatcher.statistics().reports_waiting == 0
        runs = await runs_of(service)
        assert [run.start_time for run in runs] == [at(10 + 60 * n) for n in range(62)]
        assert all(run.ended_time == run.start_time + 20 * SECOND for run in runs)


async def test_without_a_cache_reports_wait_in_memory(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 10, 20))
        async with dispatching(service, name="site-7"):
            await trio.sleep(5)
            await service.stop()
            await trio.sleep(60)
            await service.restart()
            await trio.sleep(60)
        assert await summary(service) == ["1 0:00:10 COMPLETED 0:00:30"]
    assert "without a cache, reports that are not delivered are lost" in caplog.text


async def test_disk_that_is_full_delays_reports_and_nothing_else(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_full = True

    def full(write: Callable[..., None], path: Path, *arguments: object) -> None:
        if is_full:
            path.write_bytes(path.read_bytes()[:-5] if path.exists() else b"")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, *arguments)

    monkeypatch.setattr(f"{JOURNAL}.append", partial(full, append))
    monkeypatch.setattr(f"{JOURNAL}.rewrite", partial(full, rewrite))
    async with open_test_service(keepalive=False) as service:
        machine = Machine(service, tmp_path)
        await service.put(lasting(1, 10, 20))
        async with machine.process(name="site-7") as dispatcher:
            receiver = dispatcher.running_status_change.new_receiver()
            await receiver.receive()
            assert clock.now() == at(10)
            await trio.sleep(600)
            assert await summary(service) == []
            is_full = False
            await trio.sleep(60)
            assert await summary(service) == ["1 0:00:10 COMPLETED 0:00:30"]
    assert caplog.text.count("cannot be written") == 1


async def test_journal_stays_short_while_everything_is_delivered(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{JOURNAL}._OLD_RECORDS", 20)
    async with open_test_service(keepalive=False) as service:
        machine = Machine(service, tmp_path)
        await service.put(lasting(1, 10, 20, recurrence=RecurrenceRule(Frequency.MINUTELY)))
        await service.put(lasting(2, 10, None))
        async with machine.process(killed=True, name="site-7", **RARELY) as dispatcher:
            await trio.sleep(3600)
            assert dispatcher.statistics().reports_delivered == 121
            assert (tmp_path / "cache.reports").stat().st_size < 8000
        async with machine.process(name="site-7", **RARELY):
            await service.store.delete(1, 2)
            await trio.sleep(5)
        [run] = [run for run in await runs_of(service) if run.dispatch_id == 2]
        assert (run.state.name, run.started_time) == ("STOPPED", at(10))


@pytest.mark.parametrize("what", ["muted", "stopped"])
async def test_service_that_hangs_does_not_delay_the_end_for_long(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, what: str
) -> None:
    async with open_test_service(keepalive=False) as service:
        machine = Machine(service, tmp_path)
        await service.put(lasting(1, 10, None))
        async with machine.process(name="site-7"):
            await trio.sleep(15)
            slow = service.delay("report_runs", seconds=1000)
            if what == "stopped":
                await service.stop()
            left = trio.current_time()
        assert trio.current_time() - left <= 3
        slow.close()
        if what == "stopped":
            await service.restart()
        async with machine.process(name="site-7"):
            await trio.sleep(5)
        [run] = await summary(service)
        assert run.startswith("1 0:00:10 STOPPED SHUTDOWN")
