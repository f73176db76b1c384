"""What actors do, as the service has it."""

from __future__ import annotations

import gc
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import at, lasting
from tests.helpers.dispatching import dispatching
from trio_dispatch import (
    ActorRun,
    Dispatcher,
    ElectricalComponentCategory,
    Frequency,
    MergeByComponent,
    RecurrenceRule,
    TargetIds,
)
from trio_dispatch.actors.reporting import ActorReports, report_of
from trio_dispatch.model.runs import ReportedRun, ReportKind
from trio_dispatch.testing import LocalService, open_test_service

MERGE = MergeByComponent(dict.fromkeys(range(1, 9), ElectricalComponentCategory.BATTERY))


async def forever(run: ActorRun) -> None:
    async for _ in run.changes:
        pass


async def for_a_minute(run: ActorRun) -> None:
    await trio.sleep(60)


@asynccontextmanager
async def reporting(service: LocalService, actor: Any, **options: Any) -> AsyncIterator[Dispatcher]:
    async with dispatching(service, name="site-7") as dispatcher, trio.open_nursery() as nursery:

        async def run() -> None:
            await dispatcher.run_actors("CHARGE", actor, **options)

        nursery.start_soon(run)
        yield dispatcher
        nursery.cancel_scope.cancel()


async def acted(service: LocalService) -> list[ReportedRun]:
    """The runs of actors, in the order of their starts."""
    pages = service.client.list_runs(1)
    runs = [run async for page in pages for run in page if run.actor]
    return sorted(runs, key=lambda run: (run.start_time, run.dispatch_id, run.component or 0))


def seen(run: ReportedRun) -> str:
    """The dispatch, the component, when it ran, and what became of it."""
    component = "" if run.component is None else f" on {run.component}"
    started = "-" if run.started_time is None else f"{(run.started_time - at(0)).total_seconds():g}"
    ended = "-" if run.ended_time is None else f"{(run.ended_time - at(0)).total_seconds():g}"
    why = f" {run.reason.name}" if run.reason else ""
    return f"{run.dispatch_id}{component}: {started} to {ended} {run.state.name}{why}"


async def summary(service: LocalService) -> list[str]:
    return [seen(run) for run in await acted(service)]


async def test_runs_of_actors_start_and_end(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 10, 50))
        for id_ in (2, 3, 4, 5):
            await service.put(lasting(id_, 10, None))
        async with reporting(service, forever) as dispatcher:
            await trio.sleep(20)
            await service.store.delete(1, 2)
            await service.put(lasting(3, 10, None, active=False))
            await service.put(lasting(4, 10, None, type="DISCHARGE"))
            await service.put(lasting(5, 10, None, payload={"power": 3}))
            await trio.sleep(100)
            assert dispatcher.statistics().reports_waiting == 0
        assert await summary(service) == [
            "1: 10 to 60 COMPLETED",
            "2: 10 to 20 STOPPED DELETED",
            "3: 10 to 20 STOPPED DEACTIVATED",
            "4: 10 to 20 STOPPED CHANGED",
            "5: 10 to 120 STOPPED SHUTDOWN",
        ]
        [*_, last] = await acted(service)
        assert last.actor == "tests.actors.test_reports.forever"
        assert last.update_time == at(20)


async def test_actor_that_returns_has_completed_its_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 10, 600, recurrence=RecurrenceRule(Frequency.HOURLY)))
        async with reporting(service, for_a_minute):
            await trio.sleep(3700)
        assert await summary(service) == [
            "1: 10 to 70 COMPLETED",
            "1: 3610 to 3670 COMPLETED",
        ]


async def test_overlapping_occurrence_is_a_run_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 0, 90, recurrence=RecurrenceRule(Frequency.MINUTELY)))
        async with reporting(service, forever):
            await trio.sleep(150)
        assert await summary(service) == [
            "1: 0 to 60 COMPLETED",
            "1: 60 to 120 COMPLETED",
            "1: 120 to 150 STOPPED SHUTDOWN",
        ]


async def test_failures_are_reported_with_their_attempts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    attempts = 0

    async def failing_twice(run: ActorRun) -> None:
        nonlocal attempts
        attempts += 1
        await trio.sleep(1)
        if attempts <= 2:
            raise RuntimeError(f"the battery does not answer {'!' * 5000}")
        await trio.sleep(math.inf)

    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 10, 600))
        async with reporting(service, failing_twice):
            await trio.sleep(11.01)
            [failed] = await acted(service)
            assert seen(failed) == "1: 10 to 11 FAILED"
            assert failed.error.startswith("RuntimeError: the battery does not answer !!")
            await trio.sleep(10)
            [running] = await acted(service)
            assert (seen(running), running.attempts) == ("1: 10 to - RUNNING", 3)
            await trio.sleep(600)
        [completed] = await acted(service)
        assert (seen(completed), completed.attempts) == ("1: 10 to 610 COMPLETED", 3)
        assert completed.error == failed.error


def test_text_that_no_report_can_have_is_cut_and_replaced() -> None:
    report = report_of(
        ReportKind.FAILED,
        lasting(1, 0, 60),
        at(0),
        at(1),
        actor="a" * 200,
        until=None,
        error="\udc00" + "\N{BATTERY}" * 2000,
    )
    assert report.error == "?" + "\N{BATTERY}" * 1023
    assert report.actor == "a" * 100


async def test_last_command_that_fails_ends_the_run_as_failed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def not_stopping(run: ActorRun) -> None:
        try:
            await trio.sleep(math.inf)
        finally:
            raise RuntimeError("the battery does not answer")

    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 10, 60))
        async with reporting(service, not_stopping):
            await trio.sleep(100)
        assert await summary(service) == ["1: 10 to 70 FAILED"]


async def test_details_are_added_to_the_run(autojump_clock: trio.testing.MockClock) -> None:
    async def metering(run: ActorRun) -> None:
        try:
            run.report({"soc": 0.5, "log": ["on"]})
            await trio.sleep(math.inf)
        finally:
            run.report({"soc": 0.75, "energy": {"kwh": 12}})

    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 10, 60))
        async with reporting(service, metering):
            await trio.sleep(100)
        [run] = await acted(service)
        assert seen(run) == "1: 10 to 70 COMPLETED"
        assert run.details == {"soc": 0.75, "log": ["on"], "energy": {"kwh": 12}}


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({"power": math.nan}, r"details\['power'\]: nan is not JSON"),
        ({1: 2}, "details: the key 1 is not a str"),
        ([], r"details \[\] is not a mapping"),
        ({"log": "x" * 20_000}, "details must have at most 16384 bytes"),
    ],
)
@pytest.mark.parametrize("name", [None, "site-7"])
async def test_wrong_details_are_an_error_at_once(
    autojump_clock: trio.testing.MockClock, details: Any, message: str, name: str | None
) -> None:
    done = trio.Event()

    async def reports(run: ActorRun) -> None:
        with pytest.raises(ValueError, match=message):
            run.report(details)
        run.report({"fine": True})
        done.set()

    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 10, 60))
        async with dispatching(service, name=name) as dispatcher, trio.open_nursery() as nursery:
            nursery.start_soon(dispatcher.run_actors, "CHARGE", reports)
            await done.wait()
            nursery.cancel_scope.cancel()


async def test_refused_dispatches_are_reported_once_for_each_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def parse(payload: dict[str, Any]) -> float:
        return float(payload["power"])

    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 10, 20, recurrence=RecurrenceRule(Frequency.MINUTELY)))
        await service.put(lasting(2, 10, 20, dry_run=True))
        await service.put(lasting(7, 10, 20, payload={"power": 1}))
        async with reporting(service, forever, payload=parse, targets=TargetIds(1, 2)):
            await trio.sleep(15)
            await service.put(lasting(2, 10, 20, dry_run=True, payload={"power": 2}))
            await trio.sleep(65)
        runs = await acted(service)
        assert [seen(run) for run in runs] == [
            "1: - to - REJECTED",
            "2: - to - SKIPPED",
            "1: - to - REJECTED",
        ]
        assert runs[0].error == "its payload is invalid: KeyError: 'power'"


async def test_component_that_another_dispatch_drives_is_superseded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 10, 100, target=TargetIds(1, 2)))
        await service.put(lasting(2, 30, 40, target=TargetIds(2)))
        async with reporting(service, forever, merge=MERGE):
            await trio.sleep(50)
            assert await summary(service) == [
                "1 on 1: 10 to - RUNNING",
                "1 on 2: 10 to 30 STOPPED SUPERSEDED",
                "2 on 2: 30 to - RUNNING",
            ]
            await trio.sleep(100)
        runs = await acted(service)
        assert [seen(run) for run in runs] == [
            "1 on 1: 10 to 110 COMPLETED",
            "1 on 2: 10 to 110 COMPLETED",
            "2 on 2: 30 to 70 COMPLETED",
        ]
        # The actor was called once.
        assert [run.attempts for run in runs] == [1, 1, 1]


async def test_pulses_are_reported(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 10, 0))
        await service.put(lasting(2, 20, 0))
        await service.put(lasting(3, 30, None))
        await service.put(lasting(3 + 100, 40, 0, target=TargetIds(3)))
        async with reporting(service, for_a_minute, merge=MERGE, grace=timedelta(0)):
            await trio.sleep(25)
            await service.store.delete(1, 2)
            await trio.sleep(100)
        runs = await acted(service)
        assert [seen(run) for run in runs] == [
            "1 on 1: 10 to 70 COMPLETED",
            "2 on 2: 20 to 25 STOPPED DELETED",
            "3 on 3: 30 to 90 COMPLETED",
            "103 on 3: - to 40 STOPPED SUPERSEDED",
        ]
        assert "driven by" in runs[-1].error


async def test_pulse_that_is_dropped_for_a_later_one_is_missed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slow(run: ActorRun) -> None:
        await trio.sleep(150)

    async with open_test_service(keepalive=False) as service:
        minutely = RecurrenceRule(Frequency.MINUTELY)
        await service.put(lasting(1, 10, 0, recurrence=minutely))
        async with reporting(service, slow):
            await trio.sleep(180)
        assert await summary(service) == [
            "1: 10 to 160 COMPLETED",
            "1: - to - MISSED",
            "1: 160 to 180 STOPPED SHUTDOWN",
        ]


async def test_runs_are_stopped_while_the_service_is_out_of_reach_for_too_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 10, None))
        async with (
            dispatching(service, name="site-7", max_offline=timedelta(minutes=5)) as dispatcher,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(dispatcher.run_actors, "CHARGE", forever)
            await trio.sleep(30)
            await service.stop()
            await trio.sleep(600)
            await service.restart()
            await trio.sleep(200)
            [run] = await acted(service)
            assert (run.state.name, run.attempts) == ("RUNNING", 1)
            nursery.cancel_scope.cancel()
        pages = service.client.list_runs(1)
        announced = [run async for page in pages for run in page if not run.actor]
        assert [run.started_time for run in announced] == [at(10)]


async def test_an_actor_that_never_finishes_remembers_no_runs_that_are_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_service(keepalive=False) as service:
        await service.put(lasting(1, 0, None, target=TargetIds(1)))
        for id_ in range(2, 30):
            # Each ends while the next one drives the component.
            await service.put(lasting(id_, 10 * id_, 15, target=TargetIds(1)))
        often = RecurrenceRule(Frequency.MINUTELY)
        await service.put(lasting(30, 5, 59, target=TargetIds(1), recurrence=often))
        async with reporting(service, forever, merge=MERGE):
            await trio.sleep(400)
            gc.collect()
            reports = [each for each in gc.get_objects() if isinstance(each, ActorReports)]
            assert max(len(each._calls) for each in reports) <= 2
