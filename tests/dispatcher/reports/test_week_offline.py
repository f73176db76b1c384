"""A week without the service: every report of it arrives afterwards."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.helpers.acting import MINUTE, SECOND, at, lasting
from tests.helpers.effort import LONG, cases
from tests.helpers.killing import Machine
from trio_dispatch import ActorRun, Frequency, RecurrenceRule
from trio_dispatch.testing import open_test_service

# A week has 10,080 minutes.
RUNS = cases(200, long=10_080)


async def act(run: ActorRun) -> None:
    run.report({"power": 5})
    await trio.sleep_forever()


async def test_reports_of_a_time_offline_arrive_in_order(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    async with open_test_service(keepalive=False) as service:
        machine = Machine(service, tmp_path)
        minutely = RecurrenceRule(Frequency.MINUTELY)
        await service.put(lasting(1, 30, 20, recurrence=minutely))
        async with machine.process(name="site-7") as dispatcher, trio.open_nursery() as nursery:
            nursery.start_soon(dispatcher.run_actors, "CHARGE", act)
            await service.stop()
            await trio.sleep(RUNS * 60)
            statistics = dispatcher.statistics()
            assert (statistics.reports_waiting, statistics.reports_lost) == (5 * RUNS, 0)
            size = (tmp_path / "cache.reports").stat().st_size
            began = time.process_time()
            await service.restart()
            # At most a minute until the next attempt to connect.
            await trio.sleep(65)
            assert dispatcher.statistics().reports_delivered >= 5 * RUNS
            if LONG:
                with capsys.disabled():
                    cpu = time.process_time() - began
                    print(f"{5 * RUNS} reports, {size / 1e6:.1f} MB, {cpu:.1f} s of CPU")
            nursery.cancel_scope.cancel()
        for actor in (False, True):
            pages = service.client.list_runs(1, page_size=1000)
            runs = [run async for page in pages for run in page if bool(run.actor) is actor]
            runs.reverse()
            starts = [at(30) + number * MINUTE for number in range(RUNS)]
            assert [run.started_time for run in runs[:RUNS]] == starts
            assert all(run.ended_time == run.start_time + 20 * SECOND for run in runs[:RUNS])
            assert all(run.details == ({"power": 5} if actor else {}) for run in runs[:RUNS])
