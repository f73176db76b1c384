"""The status of dispatchers, as a service lists and stores it."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.service import START, OpenStore, Wired, wired
from trio_dispatch import ConnectionState, DispatcherInfo, DispatcherStatus, clock
from trio_dispatch.api import runs_wire
from trio_dispatch.api.codec import time_to_nanos
from trio_dispatch.api.dispatchers import encode_status
from trio_dispatch.grpc import Cardinality, GRPCError, Status
from trio_dispatch.model.runs import ReportKind, RunReport
from trio_dispatch.service import Store, open_store, purge_file
from trio_dispatch.service.errors import StoreUnavailableError
from trio_dispatch.service.statuses import STORE_DELAY, Statuses
from trio_dispatch.service.store.runs import Delivery, ToldStatus

SECOND = timedelta(seconds=1)
LIVE = DispatcherStatus(
    connection=ConnectionState.LIVE,
    interval=30 * SECOND,
    lateness=timedelta(milliseconds=3),
    worst_lateness=timedelta(milliseconds=250),
    waiting=7,
)
CLOSED = DispatcherStatus(connection=ConnectionState.CLOSED, interval=30 * SECOND)


async def tell(
    service: Wired, status: DispatcherStatus | None = LIVE, name: str = "site-7", **options: Any
) -> int:
    async with service.client() as client:
        arguments: dict[str, Any] = {"reports": (), "reporter": "a", "version": "1.2"} | options
        return await client.report_runs(1, dispatcher=name, status=status, **arguments)


async def listed(service: Wired) -> list[DispatcherInfo]:
    async with service.client() as client:
        return await client.list_dispatchers(1)


def count_writes(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many dispatchers each write of statuses has; filled later."""
    writes: list[int] = []
    note = store.runs.note_statuses

    async def counted(told: Sequence[ToldStatus]) -> None:
        writes.append(len(told))
        await note(told)

    monkeypatch.setattr(store.runs, "note_statuses", counted)
    return writes


async def test_status_is_listed_at_once_and_after_a_restart_of_the_service(
    open_any_store: OpenStore, autojump_clock: MockClock
) -> None:
    async with open_any_store() as store:
        async with wired(store) as service:
            assert await tell(service) == 0
            [info] = await listed(service)
            assert (info.status, info.offline_since, info.version) == (LIVE, None, "1.2")
            await trio.sleep(5)
            await tell(service, name="b", status=None)
        async with wired(store) as service:
            without, again = await listed(service)
            assert again == info
            assert (without.name, without.status, without.offline_since) == ("b", None, None)
            await trio.sleep(3600)
            without, late = await listed(service)
            assert without.offline_since is None
            assert late.offline_since == late.last_report_time == info.last_report_time


async def test_dispatcher_that_is_silent_for_three_intervals_is_offline(
    autojump_clock: MockClock,
) -> None:
    async with wired() as service:
        await tell(service)
        for _ in range(10):
            await trio.sleep(30)
            await tell(service)
        await trio.sleep(90)
        [info] = await listed(service)
        assert info.offline_since is None
        await trio.sleep(1)
        [info] = await listed(service)
        assert info.offline_since == info.last_report_time
        assert info.last_report_time - info.first_report_time == 300 * SECOND
        await tell(service)
        [info] = await listed(service)
        assert info.offline_since is None
        await tell(service, CLOSED)
        [info] = await listed(service)
        assert (info.offline_since, info.status) == (info.last_report_time, CLOSED)


async def test_statuses_share_a_write_and_one_dispatcher_has_at_most_one_in_half_a_minute(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = count_writes(store, monkeypatch)
    async with wired(store) as service:
        for _ in range(6):
            for name in "abc":
                await tell(service, name=name)
            await trio.sleep(10)
        await trio.sleep(5)
        assert STORE_DELAY == 30
        assert writes == [3, 3]
        stored = await store.runs.dispatchers(1)
        assert {info.name: info.status for info in stored} == dict.fromkeys("abc", LIVE)


async def test_status_does_not_hide_what_must_be_stored_at_once(
    store: Store, autojump_clock: MockClock
) -> None:
    report = RunReport(
        sequence=4,
        dispatch_id=1,
        start_time=START,
        kind=ReportKind.STARTED,
        time=START,
        update_time=START,
        type="CHARGE",
    )
    async with wired(store) as service:
        await tell(service)
        assert await tell(service, reports=[report]) == 4
        assert await tell(service) == 0
        assert await tell(service, None) == 4
        assert await tell(service, lost=2) == 4
        [info] = await store.runs.dispatchers(1)
        assert info.lost == 2


async def test_dispatcher_that_was_removed_is_listed_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "x.db"
    async with open_store(path) as store, wired(store) as service:
        await tell(service)
        await trio.sleep(60)
        purge_file(path, clock.now())
        assert await listed(service) == []
        await trio.sleep(600)
        await tell(service)
        [info] = await listed(service)
        assert (info.name, info.status) == ("site-7", LIVE)


async def test_status_that_cannot_be_stored_is_stored_later(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with wired() as service:
        store = service.service.store
        note = store.runs.note_statuses

        async def fail(told: Sequence[ToldStatus]) -> None:
            raise StoreUnavailableError("the disk is full")

        monkeypatch.setattr(store.runs, "note_statuses", fail)
        await tell(service)
        await trio.sleep(40)
        monkeypatch.setattr(store.runs, "note_statuses", note)
        assert "the status of 1 dispatcher is not stored: the disk is full" in caplog.text
        await tell(service, name="b")
        await trio.sleep(40)
        stored = await store.runs.dispatchers(1)
        assert [info.status for info in stored] == [LIVE, LIVE]


async def send(request: runs_wire.ReportRunsRequest) -> None:
    """Send a request that the client would not make."""
    method = "/trio_dispatch.runs.v1.DispatchRunsService/ReportRuns", Cardinality.UNARY_UNARY
    messages = runs_wire.ReportRunsRequest, runs_wire.ReportRunsResponse
    async with wired() as service, service.wire_channel() as channel:
        try:
            async with channel.request(*method, *messages) as call:
                await call.send_message(request, end=True)
                await call.recv_message()
        except GRPCError as exc:
            error = exc
    raise error


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("connection", 0, "connection is missing"),
        ("interval", 0, "interval 0.0 is not above 0"),
        ("interval", float("nan"), "interval nan is not above 0"),
        ("lateness", float("inf"), "lateness inf is not a number of seconds"),
        ("worst_lateness", 1e300, "is not a number of seconds"),
    ],
)
async def test_invalid_status_is_refused(field: str, value: Any, message: str) -> None:
    values: dict[str, Any] = {"connection": runs_wire.ConnectionState(3), "interval": 30.0}
    request = runs_wire.ReportRunsRequest(
        microgrid_id=1,
        dispatcher="site-7",
        reporter="a",
        status=runs_wire.DispatcherStatus(**values | {field: value}),
    )
    with pytest.raises(GRPCError, match=message) as caught:
        await send(request)
    assert caught.value.status is Status.INVALID_ARGUMENT


async def test_dispatchers_that_have_fallen_silent_take_no_memory(
    autojump_clock: MockClock,
) -> None:
    async with wired(None) as service:
        statuses = Statuses(service.store.runs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(statuses.run)
            told = encode_status(LIVE)
            # One that is started again and again under another name.
            for number in range(60):
                now = time_to_nanos(clock.now())
                await statuses.report(Delivery(1, f"site-{number}", "a", [], 0, "", now), told)
                await trio.sleep(60)
            nursery.cancel_scope.cancel()
        gc.collect()
        reachable = gc.get_referents(*gc.get_referents(statuses.__dict__))
        assert len([each for each in reachable if isinstance(each, Delivery | ToldStatus)]) <= 11
