"""Keeping in sync with a service that answers in every order."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import trio
import trio.lowlevel
import trio.testing

from tests.helpers.scripted import Scripted, dispatching, version
from trio_dispatch import (
    Created,
    Deleted,
    Dispatch,
    LifecycleEvent,
    Receiver,
    ServiceError,
    SyncPhase,
)
from trio_dispatch.api import wire
from trio_dispatch.api.wire import Event
from trio_dispatch.concurrency.backoff import Backoff
from trio_dispatch.grpc import GRPCError, Status, current_call

SECOND = timedelta(seconds=1)


async def fold(receiver: Receiver[LifecycleEvent], known: dict[int, Dispatch]) -> None:
    async for event in receiver:
        dispatch = event.dispatch
        assert (dispatch.id in known) != isinstance(event, Created)
        assert known.get(dispatch.id) != dispatch
        if isinstance(event, Deleted):
            del known[dispatch.id]
        else:
            known[dispatch.id] = dispatch


@pytest.mark.parametrize("reported", ["at once", "after the list"])
@pytest.mark.parametrize("moment", ["stream", "page 0", "page 1", "page 2", "after"])
@pytest.mark.parametrize("what", ["create", "update", "delete first", "delete last"])
async def test_change_at_any_moment_is_known_in_the_end(
    autojump_clock: trio.testing.MockClock, what: str, moment: str, reported: str
) -> None:
    service = Scripted(*(version(id_, 1) for id_ in range(1, 6)))
    if reported == "after the list":
        service.held = []

    async def change() -> None:
        match what:
            case "create":
                service.put(version(9, 2))
            case "update":
                service.put(version(3, 2))
            case "delete first":
                service.delete(1)
            case "delete last":
                service.delete(5)

    service.at[moment] = change
    async with dispatching(service) as dispatcher, trio.open_nursery() as nursery:
        known: dict[int, Dispatch] = {}
        nursery.start_soon(fold, dispatcher.lifecycle_events.new_receiver(), known)
        if moment == "after":
            await change()
        service.release()
        await trio.sleep(10 if reported == "at once" else 400)
        assert dispatcher.dispatches == service.dispatches == known
        nursery.cancel_scope.cancel()


async def test_stream_counts_although_its_update_times_go_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(version(1, 100))
    async with dispatching(service) as dispatcher:
        service.put(version(1, 50))
        await trio.sleep(1)
        assert dispatcher.dispatches == {1: version(1, 50)}
        await trio.sleep(700)
        assert dispatcher.dispatches == {1: version(1, 50)}


@pytest.mark.parametrize(("after", "lists"), [(None, 2), (2, 2), (20, 2)])
async def test_late_answer_to_the_stream_request_causes_a_probe(
    autojump_clock: trio.testing.MockClock, after: float | None, lists: int
) -> None:
    service = Scripted(version(1, 1))
    service.early = False

    async def create_silently() -> None:
        # A C-core server begins to watch some time after the list was read, and tells nothing.
        service.dispatches[2] = version(2, 1)

    async with dispatching(service) as dispatcher:
        await trio.lowlevel.checkpoint()
        await create_silently()
        if after is not None:
            await trio.sleep(after)
            service.put(version(3, 1))
        await trio.sleep(30)
        assert len(service.lists) == lists
        assert 2 in dispatcher.dispatches
        # A probe shows that something is missing, and the stream does not explain it.
        assert service.lists[1] - service.lists[0] == min(after or 5, 5) + 2


async def test_everything_is_listed_every_resync_interval(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(version(1, 1))
    async with dispatching(
        service,
        probe_interval=timedelta(days=1),
        resync_interval=timedelta(seconds=100),
    ) as dispatcher:
        await trio.sleep(10)
        service.dispatches[2] = version(2, 1)  # and the stream says nothing
        await trio.sleep(101)
        assert dispatcher.dispatches.keys() == {1, 2}
        await trio.sleep(1000)
        gaps = [b - a for a, b in itertools.pairwise(service.lists)]
        assert all(90 <= gap <= 111 for gap in gaps)
        assert len(set(gaps)) > 1
        # The stream should have said it.
        assert service.streams == 2
        assert dispatcher.statistics().stale_streams == 1


async def test_failed_list_deletes_nothing_and_is_read_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(*(version(id_, 1) for id_ in range(1, 6)))

    failing = trio.Event()

    async def fail() -> None:
        failing.set()
        raise GRPCError(Status.INTERNAL, "no more pages today")

    async with dispatching(service, resync_interval=timedelta(seconds=100)) as dispatcher:
        await trio.sleep(10)
        service.at["page 1"] = fail
        service.dispatches.pop(1)  # without an event
        await failing.wait()
        assert len(dispatcher.dispatches) == 5
        state = await dispatcher.sync_state.wait_value(lambda s: s.phase is SyncPhase.WAITING)
        assert "no more pages today" in str(state.error)
        await dispatcher.sync_state.wait_value(lambda s: s.phase is SyncPhase.LIVE)
        assert dispatcher.dispatches.keys() == {2, 3, 4, 5}
        assert service.streams == 1


async def test_list_that_hangs_does_not_delay_the_stream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(version(1, 1))
    async with dispatching(service, resync_interval=timedelta(seconds=100)) as dispatcher:
        await trio.sleep(10)
        hanging = trio.Event()

        async def hang() -> None:
            hanging.set()
            await trio.sleep_forever()

        service.at["page 0"] = hang
        await hanging.wait()
        service.put(version(1, 2))
        await trio.sleep(1)
        assert dispatcher.dispatches == {1: version(1, 2)}
        # It is given up after a minute, and tried again.
        before = len(service.lists)
        await trio.sleep(130)
        assert len(service.lists) > before


class Garbled(Scripted):
    """Sends invalid events on its stream."""

    async def stream_microgrid_dispatches(
        self, message: wire.StreamMicrogridDispatchesRequest
    ) -> AsyncIterator[wire.StreamMicrogridDispatchesResponse]:
        self.streams += 1
        await current_call().send_initial_metadata()
        while True:
            await trio.sleep(1)
            # A dispatch without a start time.
            invalid = replace(version(7, 1))
            object.__setattr__(invalid, "start_time", None)
            yield wire.StreamMicrogridDispatchesResponse(event=Event.CREATED)


async def test_undecodable_events_cause_paced_lists(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    service = Garbled(version(1, 1))
    async with dispatching(service) as dispatcher:
        await trio.sleep(250)
        assert dispatcher.statistics().undecodable >= 200
        assert 2 <= len(service.lists) <= 30
        assert service.streams == 1
    assert "cannot be decoded" in caplog.text


async def test_stream_that_ends_at_once_is_opened_with_growing_pauses(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    service = Scripted(version(1, 1))
    opened = []
    async with dispatching(service) as dispatcher:
        for _ in range(20):
            opened.append(trio.current_time())
            service.end_streams()
            await dispatcher.sync_state.wait_value(lambda s: s.phase is SyncPhase.WAITING)
            await dispatcher.sync_state.wait_value(lambda s: s.phase is SyncPhase.LIVE)
        gaps = [b - a for a, b in itertools.pairwise(opened)]
        assert max(gaps[:3]) < 3
        assert max(gaps) <= 61
        assert sum(gaps[10:]) > sum(gaps[:5])
        assert dispatcher.dispatches == service.dispatches


def test_backoff_doubles_up_to_a_minute_and_is_reset_by_health() -> None:
    backoff = Backoff()
    ceilings = [max(Backoff.FIRST * 2**n, 0) for n in range(7)] + [60, 60]
    for ceiling in ceilings:
        assert 0 <= backoff.delay(healthy_for=59) <= min(ceiling, 60)
    assert backoff.delay(healthy_for=60) <= 0.5


@pytest.mark.parametrize(
    "status",
    [
        Status.UNAUTHENTICATED,
        Status.PERMISSION_DENIED,
        Status.UNIMPLEMENTED,
        Status.INVALID_ARGUMENT,
    ],
)
async def test_permanent_failure_is_raised_before_the_first_sync_only(
    autojump_clock: trio.testing.MockClock, status: Status
) -> None:
    async def refuse() -> None:
        raise GRPCError(status, "not you")

    service = Scripted()
    service.at["page 0"] = refuse
    with pytest.raises(ServiceError, match=f"microgrid 1: list: {status.name}: not you"):
        async with dispatching(service):
            pytest.fail("the block was entered")
    async with dispatching(service) as dispatcher:
        service.at["stream"] = refuse
        service.end_streams()
        state = await dispatcher.sync_state.wait_value(lambda s: "not you" in str(s.error))
        assert state.next_try is not None
        assert state.next_try - state.since == timedelta(seconds=60)
        await dispatcher.sync_state.wait_value(lambda s: s.phase is SyncPhase.LIVE)
