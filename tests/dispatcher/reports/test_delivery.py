"""The delivery of reports to services that fail, refuse them, or have none of that API."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import trio
import trio.testing
from trio_util import AsyncValue

from tests.helpers.acting import START
from trio_dispatch import ServiceError, SyncPhase, SyncState, clock
from trio_dispatch.dispatcher.lateness import Lateness
from trio_dispatch.dispatcher.reports.delivery import Delivery
from trio_dispatch.dispatcher.reports.journal import Journal
from trio_dispatch.dispatcher.reports.journal_file import JournalState
from trio_dispatch.dispatcher.reports.queue import ReportQueue
from trio_dispatch.grpc import GRPCError, Status
from trio_dispatch.model.dispatchers import ConnectionState, DispatcherStatus
from trio_dispatch.model.runs import ReportKind, RunReport

ONLINE = SyncState(SyncPhase.LIVE, START)
OFFLINE = SyncState(SyncPhase.WAITING, START, offline_since=START)


class Service:
    """Stores reports, after a test has had its say.

    Attributes:
      calls: When it was called, and how many reports it was given.
      stored: The sequence numbers of the reports, by reporter, in the order in which they came.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[float, int]] = []
        self.stored: dict[str, list[int]] = {}
        self.lost = 0
        self.statuses: list[DispatcherStatus] = []
        self.before: Callable[[Sequence[RunReport]], Status | None] = lambda _: None
        self.after: Callable[[Sequence[RunReport]], Status | None] = lambda _: None

    async def report_runs(
        self,
        microgrid_id: int,
        reports: Sequence[RunReport],
        *,
        dispatcher: str,
        reporter: str,
        lost: int = 0,
        version: str = "",
        status: DispatcherStatus | None = None,
    ) -> int:
        assert (microgrid_id, dispatcher, version) == (1, "site-7", "1.0")
        await trio.lowlevel.checkpoint()
        self.calls.append((trio.current_time(), len(reports)))
        _raise(self.before(reports))
        stored = self.stored.setdefault(reporter, [])
        stored += [each.sequence for each in reports if not stored or each.sequence > stored[-1]]
        self.lost = lost
        assert status is not None
        self.statuses.append(status)
        _raise(self.after(reports))
        return stored[-1] if stored else 0

    @property
    def sequences(self) -> list[int]:
        return [sequence for some in self.stored.values() for sequence in some]


def _raise(status: Status | None) -> None:
    if status is not None:
        raise ServiceError(f"refused: {status.name}", GRPCError(status))


class Reports:
    """The queue of a dispatcher, and its delivery to a service."""

    def __init__(
        self, service: Service, queue: ReportQueue, interval: timedelta = timedelta(days=10)
    ) -> None:
        self.queue = queue
        self.journal = Journal(None, queue, JournalState(1, "site-7", "me"), list)
        self.lateness = Lateness()
        self.delivery = Delivery(
            service,
            1,
            "site-7",
            "1.0",
            queue,
            self.journal,
            lateness=self.lateness,
            interval=interval,
        )
        self.state = AsyncValue(ONLINE)

    def put(self, number: int) -> None:
        for _ in range(number):
            self.journal.take(
                RunReport(
                    sequence=1,
                    dispatch_id=1,
                    start_time=START,
                    kind=ReportKind.CHANGED,
                    time=clock.now(),
                    update_time=START,
                    type="CHARGE",
                )
            )


@asynccontextmanager
async def delivering(
    service: Service,
    queue: ReportQueue | None = None,
    *,
    interval: timedelta = timedelta(days=10),
    state: SyncState = ONLINE,
) -> AsyncIterator[Reports]:
    reports = Reports(service, ReportQueue() if queue is None else queue, interval)
    reports.state.value = state
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reports.delivery.run, reports.state)
        yield reports
        nursery.cancel_scope.cancel()


async def test_reports_are_delivered_at_once_in_batches(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Service()
    async with delivering(service) as reports:
        reports.put(250)
        await trio.sleep(1)
        assert service.calls == [(0, 100), (0, 100), (0, 50)]
        reports.put(1)
        await trio.sleep(1)
        assert service.calls[3:] == [(1, 1)]
        assert service.sequences == [*range(1, 252)]
        assert (reports.delivery.delivered, len(reports.queue)) == (251, 0)


async def test_reports_wait_without_calls_until_there_is_contact(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Service()
    async with delivering(service) as reports:
        reports.state.value = OFFLINE
        await trio.sleep(1)
        reports.put(3)
        await trio.sleep(86400)
        assert service.calls == []
        reports.state.value = ONLINE
        await trio.sleep(1)
        assert service.sequences == [1, 2, 3]


async def test_status_is_told_with_reports_and_at_intervals(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Service()
    connecting = SyncState(SyncPhase.CONNECTING, START, offline_since=START)
    async with delivering(service, interval=timedelta(seconds=30), state=connecting) as reports:
        await trio.sleep(1)
        assert service.calls == []
        reports.state.value = ONLINE
        await trio.sleep(1)
        assert service.calls == [(1, 0)]
        reports.lateness.note(timedelta(seconds=2))
        reports.lateness.note(timedelta(seconds=1))
        reports.put(150)
        await trio.sleep(1)
        assert [each.waiting for each in service.statuses] == [0, 50, 0]
        await trio.sleep(299)
        assert 10 <= len(service.calls) - 3 <= 11
    assert service.statuses[-1] == DispatcherStatus(
        connection=ConnectionState.LIVE,
        interval=timedelta(seconds=30),
        lateness=timedelta(seconds=1),
        worst_lateness=timedelta(seconds=2),
    )


async def test_status_is_told_without_contact(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The service may take a status although it does not give the dispatches."""
    caplog.set_level(logging.INFO)
    service = Service()
    async with delivering(service, interval=timedelta(seconds=30), state=OFFLINE) as reports:
        reports.put(5)
        await trio.sleep(100)
        assert {number for _, number in service.calls} == {0}
        assert {each.connection for each in service.statuses} == {ConnectionState.WAITING}
        assert service.statuses[-1].waiting == 5
        reports.queue.acknowledge(5)
        service.before = lambda _: Status.UNAVAILABLE
        before = len(service.calls)
        await trio.sleep(3600)
        assert len(service.calls) - before <= 130
    assert not caplog.text


async def test_failed_delivery_is_repeated_with_growing_pauses(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    service = Service()
    service.before = lambda _: Status.UNAVAILABLE
    async with delivering(service) as reports:
        reports.put(3)
        await trio.sleep(600)
        assert 10 < len(service.calls) < 60
        service.before = lambda _: None
        await trio.sleep(60)
        assert service.sequences == [1, 2, 3]
    assert caplog.text.count("delivered later") == 1


async def test_lost_reply_does_not_store_reports_twice(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Service()
    replies = iter([Status.DEADLINE_EXCEEDED, None, Status.UNAVAILABLE])
    service.after = lambda _: next(replies, None)
    async with delivering(service) as reports:
        reports.put(150)
        await trio.sleep(10)
        reports.put(3)
        await trio.sleep(10)
    assert service.sequences == [*range(1, 154)]


@pytest.mark.parametrize(
    ("status", "level"),
    [(Status.UNIMPLEMENTED, "INFO"), (Status.PERMISSION_DENIED, "WARNING")],
)
async def test_service_that_takes_no_reports_is_asked_rarely_and_logged_once(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    status: Status,
    level: str,
) -> None:
    caplog.set_level(logging.INFO)
    service = Service()
    service.before = lambda _: status
    async with delivering(service) as reports:
        for _ in range(6):
            reports.put(1)
            await trio.sleep(3600)
        assert [time for time, _ in service.calls] == [0, 3600, 7200, 10800, 14400, 18000]
        await trio.sleep(60)
        # A service that comes back may be another version.
        reports.state.value = OFFLINE
        service.before = lambda _: None
        await trio.sleep(60)
        reports.state.value = ONLINE
        await trio.sleep(1)
        assert service.sequences == [1, 2, 3, 4, 5, 6]
    assert [record.levelname for record in caplog.records] == [level]


@pytest.mark.parametrize("poison", [{1}, {77}, {250}, {3, 4, 200}, set(range(100, 120))])
async def test_report_that_the_service_refuses_does_not_block_the_others(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, poison: set[int]
) -> None:
    service = Service()
    service.before = lambda reports: (
        Status.INVALID_ARGUMENT if poison & {each.sequence for each in reports} else None
    )
    async with delivering(service) as reports:
        reports.put(250)
        await trio.sleep(1)
        assert service.sequences == sorted({*range(1, 251)} - poison)
        assert (reports.delivery.delivered, reports.queue.lost) == (250 - len(poison), len(poison))
    assert caplog.text.count("the service refuses RunReport(") == len(poison)


async def test_request_that_is_refused_whatever_it_contains_loses_no_report(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Service()
    service.before = lambda _: Status.INVALID_ARGUMENT
    async with delivering(service) as reports:
        reports.put(250)
        await trio.sleep(3000)
        assert len(service.calls) < 20
        service.before = lambda _: None
        await trio.sleep(3600)
        assert service.sequences == [*range(1, 251)]


async def test_batch_that_is_too_large_for_the_service_is_divided(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Service()
    service.before = lambda reports: Status.RESOURCE_EXHAUSTED if len(reports) > 10 else None
    async with delivering(service) as reports:
        reports.put(100)
        await trio.sleep(3600)
        assert service.sequences == [*range(1, 101)]


async def test_lost_reports_are_reported(autojump_clock: trio.testing.MockClock) -> None:
    service = Service()
    async with delivering(service, ReportQueue(max_reports=5)) as reports:
        reports.state.value = OFFLINE
        await trio.sleep(1)
        reports.put(12)
        await trio.sleep(1)
        reports.state.value = ONLINE
        await trio.sleep(1)
        assert (service.sequences, service.lost) == ([8, 9, 10, 11, 12], 7)


async def test_reports_of_a_file_that_is_older_than_the_service_are_delivered(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    service.stored["me"] = [*range(1, 51)]
    async with delivering(service) as reports:
        reports.put(10)
        await trio.sleep(1)
        [other] = service.stored.keys() - {"me"}
        assert service.stored[other] == [*range(1, 11)]
    assert "restored" in caplog.text


async def test_flush_delivers_everything_or_gives_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Service()
    reports = Reports(service, ReportQueue())
    reports.put(150)
    reports.state.value = OFFLINE
    await reports.delivery.flush(reports.state)
    assert service.calls == []
    reports.state.value = replace(ONLINE)
    service.before = lambda _: Status.UNAVAILABLE
    await reports.delivery.flush(reports.state)
    assert len(service.calls) == 1
    service.before = lambda _: None
    await reports.delivery.flush(reports.state)
    assert service.sequences == [*range(1, 151)]
    await reports.delivery.flush(reports.state)
    assert len(service.calls) == 5
    assert service.statuses[-1].connection is ConnectionState.CLOSED
