"""Reporting, listing and streaming runs, over real gRPC."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import betterproto2
import pytest
import trio
from trio.testing import MockClock

from tests.helpers.service import HOUR, START, Wired, create, wired
from trio_dispatch import ServiceError
from trio_dispatch.api import runs_wire
from trio_dispatch.api.runs import report_to_wire
from trio_dispatch.api.wire import PaginationParams
from trio_dispatch.client.client import DispatchClient
from trio_dispatch.grpc import Cardinality, GRPCError, Status
from trio_dispatch.model.runs import (
    ReportedRun,
    ReportedState,
    ReportKind,
    RunReport,
    StopReason,
    apply_report,
)
from trio_dispatch.service import Key, Keys, Right, Store

MINUTE = timedelta(minutes=1)


def report(sequence: int, kind: ReportKind = ReportKind.STARTED, **changes: Any) -> RunReport:
    fields: dict[str, Any] = {
        "dispatch_id": 1,
        "start_time": START,
        "time": START + timedelta(seconds=sequence),
        "update_time": START - HOUR,
        "type": "CHARGE",
        "until": START + HOUR,
    }
    return RunReport(sequence=sequence, kind=kind, **fields | changes)


async def send(client: DispatchClient, *reports: RunReport, **arguments: Any) -> int:
    options = {"dispatcher": "site-7", "reporter": "a"} | arguments
    return await client.report_runs(1, reports, **options)


async def runs(client: DispatchClient, **filters: Any) -> list[ReportedRun]:
    return [run async for page in client.list_runs(1, **filters) for run in page]


async def call(
    service: Wired, method: str, request: betterproto2.Message, reply: type[betterproto2.Message]
) -> None:
    """Send a request that the client would not make."""
    async with (
        service.wire_channel() as channel,
        channel.request(
            f"/trio_dispatch.runs.v1.DispatchRunsService/{method}",
            Cardinality.UNARY_UNARY,
            type(request),
            reply,
        ) as call,
    ):
        await call.send_message(request, end=True)
        await call.recv_message()


async def test_reports_become_runs(store: Store, autojump_clock: MockClock) -> None:
    sent = [
        report(1),
        report(2, actor="charger", component=5, attempt=1, details={"soc": 0.5}),
        report(3, ReportKind.FAILED, actor="charger", component=5, attempt=1, error="no contact"),
        report(7, actor="charger", component=5, attempt=2, details={"setpoint": [1, {"a": None}]}),
        report(8, ReportKind.STOPPED, actor="charger", component=5, reason=StopReason.DELETED),
    ]
    async with wired(store) as service, service.client() as client:
        assert await send(client, *sent) == 8
        acted, announced = await runs(client)
    assert announced == apply_report(None, sent[0], dispatcher="site-7")
    expected = None
    for each in sent[1:]:
        expected = apply_report(expected, each, dispatcher="site-7")
    assert acted == expected
    assert acted.state is ReportedState.STOPPED
    assert acted.reason is StopReason.DELETED
    assert (acted.attempts, acted.error) == (2, "no contact")
    assert acted.details == {"soc": 0.5, "setpoint": [1, {"a": None}]}
    assert (acted.started_time, acted.ended_time) == (sent[1].time, sent[4].time)


async def test_reports_that_are_stored_already_are_ignored(
    store: Store, autojump_clock: MockClock
) -> None:
    async with wired(store) as service, service.client() as client:
        first = [report(1), report(2, ReportKind.FAILED, error="one")]
        assert await send(client, *first) == 2
        before = await runs(client)
        assert await send(client, *first) == 2
        assert await send(client, *first[:1]) == 2
        assert await send(client) == 2
        assert await runs(client) == before
        # The numbers of another reporter are its own; gaps are allowed.
        again = report(2, ReportKind.FAILED, error="two")
        assert await send(client, again, reporter="b") == 2
        assert [run.error for run in await runs(client)] == ["two"]
        assert await send(client, report(9, ReportKind.COMPLETED)) == 9
        assert [run.state for run in await runs(client)] == [ReportedState.COMPLETED]
        # Of another dispatcher they are other runs.
        assert await send(client, report(1), dispatcher="site-8") == 1
        assert {run.dispatcher for run in await runs(client)} == {"site-7", "site-8"}


async def test_lists_filter_and_page(store: Store, autojump_clock: MockClock) -> None:
    sent = []
    for number in range(60):
        kind = (ReportKind.STARTED, ReportKind.COMPLETED, ReportKind.MISSED)[number % 3]
        sent.append(
            report(
                number + 1,
                kind,
                dispatch_id=number % 4,
                start_time=START + number // 2 * MINUTE,
                type=f"TYPE-{number % 2}",
                actor="actor" if number % 5 else "",
                component=number % 5 or None,
            )
        )
    async with wired(store) as service, service.client() as client:
        assert await send(client, *sent[:30]) == 30
        assert await send(client, *sent[30:], dispatcher="site-8") == 60
        everything = await runs(client)
        assert len(everything) == 60
        times = [run.start_time for run in everything]
        assert times == sorted(times, reverse=True)
        for filters, expected in (
            ({"ids": [1, 3]}, lambda run: run.dispatch_id in {1, 3}),
            ({"types": ["TYPE-1"]}, lambda run: run.type == "TYPE-1"),
            ({"components": [2]}, lambda run: run.component == 2),
            ({"dispatchers": ["site-8"]}, lambda run: run.dispatcher == "site-8"),
            (
                {"states": [ReportedState.MISSED, ReportedState.RUNNING], "types": ["TYPE-0"]},
                lambda run: run.state is not ReportedState.COMPLETED and run.type == "TYPE-0",
            ),
            (
                {"start_from": START + 3 * MINUTE, "start_to": START + 9 * MINUTE, "ids": [0, 1]},
                lambda run: (
                    START + 3 * MINUTE <= run.start_time < START + 9 * MINUTE
                    and run.dispatch_id < 2
                ),
            ),
            ({"ids": [99]}, lambda run: False),
        ):
            found = await runs(client, page_size=4, **filters)
            assert found == [run for run in everything if expected(run)], filters
        # The next page is read after the runs of the first one were changed and others were added.
        pages = client.list_runs(1, page_size=25)
        first = await anext(pages)
        await send(client, report(61, dispatch_id=77, start_time=START + HOUR))
        await send(client, replace(sent[0], sequence=62, kind=ReportKind.NOTED))
        rest = [run async for page in pages for run in page]
        assert [*first, *rest][:-1] == everything[:-1]
        assert len(rest) == 35


async def test_a_stream_has_every_change_of_a_run(store: Store, autojump_clock: MockClock) -> None:
    async with (
        wired(store) as service,
        service.client() as client,
        client.stream_runs(1) as stream,
        trio.open_nursery() as nursery,
    ):
        seen: list[ReportedRun] = []

        @nursery.start_soon
        async def watch() -> None:
            async for run in stream:
                assert isinstance(run, ReportedRun)
                seen.append(run)

        await stream.started.wait()
        await send(client, report(1))
        await send(client, report(1))
        await send(client, report(2, ReportKind.COMPLETED), report(3, dispatch_id=2))
        await client.report_runs(2, [report(1)], dispatcher="other", reporter="c")
        await trio.sleep(1)
        assert [(run.dispatch_id, run.state) for run in seen] == [
            (1, ReportedState.RUNNING),
            (1, ReportedState.COMPLETED),
            (2, ReportedState.RUNNING),
        ]
        nursery.cancel_scope.cancel()


async def test_dispatchers_are_listed_with_their_losses(
    store: Store, autojump_clock: MockClock
) -> None:
    async with wired(store) as service, service.client() as client:
        await send(client, report(1), version="1.2", lost=2)
        await trio.sleep(60)
        await send(client, dispatcher="a", reporter="x")
        await send(client, report(2), lost=3)
        await send(client, report(1), reporter="b", lost=5)
        first, second = await client.list_dispatchers(1)
        assert await client.list_dispatchers(2) == []
    assert (first.name, first.version, first.lost) == ("a", "", 0)
    assert (second.name, second.version, second.lost) == ("site-7", "1.2", 8)
    assert second.last_report_time - second.first_report_time == MINUTE


async def test_only_the_last_reporters_of_a_dispatcher_are_remembered(
    store: Store, autojump_clock: MockClock
) -> None:
    async with wired(store) as service, service.client() as client:
        await send(client, report(5))
        for number in range(25):
            await send(client, report(1), reporter=f"r{number}")
            await send(client, report(5), reporter="kept")
        assert await send(client, reporter="kept") == 5
        assert await send(client, reporter="a") == 0


async def test_rights(store: Store, autojump_clock: MockClock) -> None:
    keys = Keys(
        [
            Key("reader", rights=frozenset({Right.READ})),
            Key("reporter", rights=frozenset({Right.REPORT}), microgrids=frozenset({1})),
        ]
    )
    async with (
        wired(store, keys) as service,
        service.client("reader") as reader,
        service.client("reporter") as reporter,
    ):
        await send(reporter, report(1))
        assert len(await runs(reader)) == 1
        assert len(await reader.list_dispatchers(1)) == 1
        with pytest.raises(ServiceError) as caught:
            await send(reader, report(2))
        assert caught.value.status is Status.PERMISSION_DENIED
        with pytest.raises(ServiceError) as caught:
            await reporter.report_runs(2, [report(2)], dispatcher="x", reporter="y")
        assert caught.value.status is Status.PERMISSION_DENIED
        for refused in (runs(reporter), reporter.list_dispatchers(1)):
            with pytest.raises(ServiceError) as caught:
                await refused
            assert caught.value.status is Status.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dispatcher": ""}, "dispatcher must not be empty"),
        ({"dispatcher": "x" * 101}, "dispatcher must have at most 100 characters, not 101"),
        ({"reporter": ""}, "reporter must not be empty"),
        ({"version": "x" * 101}, "version must have at most 100 characters"),
        ({"lost": 1 << 63}, "lost must be below"),
        ({"reports": [{"sequence": 0}]}, r"reports\[0\] is invalid: sequence 0"),
        ({"reports": [{"start_time": None}]}, r"reports\[0\] is invalid: start_time is missing"),
        ({"reports": [{"kind": 0}]}, r"reports\[0\] is invalid: kind is missing"),
        ({"reports": [{}, {}]}, r"reports\[1\]\.sequence must be above that of the report before"),
        ({"reports": [{"type": "x" * 257}]}, r"reports\[0\]\.type must have at most 256 bytes"),
        ({"reports": [{"actor": "x" * 101}]}, "actor must have at most 100 characters"),
        ({"reports": [{"error": "x" * 5000}]}, "error must have at most 4096 bytes, not 5000"),
        ({"reports": [{"sequence": n} for n in range(1, 1002)]}, "at most 1000 values"),
    ],
)
async def test_an_invalid_delivery_stores_nothing(
    changes: dict[str, Any], message: str, autojump_clock: MockClock
) -> None:
    good = report_to_wire(report(1))
    request = runs_wire.ReportRunsRequest(
        microgrid_id=1,
        **{"dispatcher": "site-7", "reporter": "a"}
        | changes
        | {"reports": [replace(good, **fields) for fields in changes.get("reports", [{}])]},
    )
    async with wired() as service, service.client() as client:
        with pytest.raises(GRPCError, match=message):
            await call(service, "ReportRuns", request, runs_wire.ReportRunsResponse)
        assert await runs(client) == []
        assert await client.list_dispatchers(1) == []


async def test_reports_of_a_later_version_are_kept(autojump_clock: MockClock) -> None:
    message = report_to_wire(report(1, error="something"))
    message.kind = runs_wire.ReportKind(99)
    request = runs_wire.ReportRunsRequest(
        microgrid_id=1, dispatcher="d", reporter="r", reports=[message]
    )
    async with wired() as service, service.client() as client:
        await call(service, "ReportRuns", request, runs_wire.ReportRunsResponse)
        [run] = await runs(client)
        assert (run.state, run.error) == (ReportedState.RUNNING, "something")


async def test_many_large_reports_take_several_requests(autojump_clock: MockClock) -> None:
    many = [report(number, dispatch_id=number, error="x" * 4000) for number in range(1, 301)]
    async with wired() as service, service.client() as client:
        assert await send(client, *many) == 300
        assert len(await runs(client)) == 300


async def test_page_tokens_belong_to_their_list(autojump_clock: MockClock) -> None:
    async with wired() as service, service.client() as client:
        await send(client, report(1), report(2, dispatch_id=2))
        async with aclosing(client.list_runs(1, page_size=1, types=["CHARGE"])) as pages:
            page = await anext(pages)
        for microgrid_id, wanted, message in (
            (2, runs_wire.RunFilter(), "belongs to another microgrid"),
            (1, runs_wire.RunFilter(types=["X"]), "belongs to a list with another filter"),
        ):
            request = runs_wire.ListRunsRequest(
                microgrid_id=microgrid_id,
                filter=wanted,
                pagination_params=PaginationParams(page_token=page.next_token),
            )
            with pytest.raises(GRPCError, match=message):
                await call(service, "ListRuns", request, runs_wire.ListRunsResponse)


async def test_a_dispatch_is_found_where_the_key_may_read(
    store: Store, autojump_clock: MockClock
) -> None:
    keys = Keys([Key("all"), Key("one", microgrids=frozenset({1}))])
    async with (
        wired(store, keys) as service,
        service.client("all") as everywhere,
        service.client("one") as here,
    ):
        made = await create(everywhere, 2)
        assert await everywhere.find_microgrid(made.id) == 2
        for client, id_ in ((here, made.id), (everywhere, 99)):
            with pytest.raises(ServiceError, match=f"there is no dispatch {id_}") as caught:
                await client.find_microgrid(id_)
            assert caught.value.status is Status.NOT_FOUND
