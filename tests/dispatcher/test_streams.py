"""Streams: replaced before they end, without a gap and without a repetition."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
import trio.testing

from tests.helpers.scripted import Scripted, dispatching, version
from trio_dispatch import Dispatcher, LifecycleEvent, Receiver, SyncPhase
from trio_dispatch.dispatcher.streams import Lifetimes
from trio_dispatch.grpc import GRPCError, Status

RARELY = timedelta(days=1)


async def phases_of(dispatcher: Dispatcher, phases: list[SyncPhase]) -> None:
    async for state in dispatcher.sync_state.eventual_values():
        phases.append(state.phase)  # noqa: PERF401


def versions(receiver: Receiver[LifecycleEvent]) -> list[object]:
    found: list[object] = []
    try:
        while True:
            found.append(receiver.receive_nowait().dispatch.payload["version"])
    except trio.WouldBlock:
        return found


async def test_old_stream_is_replaced_without_a_gap(autojump_clock: trio.testing.MockClock) -> None:
    service = Scripted(version(1, 0))
    open_at_once = []

    async def look() -> None:
        open_at_once.append(len(service.watchers))
        service.at["stream"] = look

    service.at["stream"] = look
    async with dispatching(service, resync_interval=RARELY) as dispatcher:
        async with trio.open_nursery() as nursery:
            phases: list[SyncPhase] = []
            nursery.start_soon(phases_of, dispatcher, phases)
            events = dispatcher.lifecycle_events.new_receiver(limit=10_000)
            versions(events)
            for number in range(1, 500):
                service.put(version(1, number))
                await trio.sleep(20)
            nursery.cancel_scope.cancel()
        assert versions(events) == list(range(1, 500))
        assert phases == [SyncPhase.LIVE]
        assert open_at_once[:3] == [1, 2, 2]
        assert max(open_at_once) == 2
        assert len(service.watchers) == 1
        statistics = dispatcher.statistics()
        assert (statistics.stale_streams, statistics.reconnects) == (0, 0)


async def test_event_that_both_streams_deliver_counts_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(version(1, 0))
    async with dispatching(service, resync_interval=RARELY) as dispatcher:
        events = dispatcher.lifecycle_events.new_receiver()
        versions(events)

        async def put() -> None:
            # Both streams are open now, and the new one is not yet known to be.
            for number in range(1, 4):
                service.put(version(1, number))
                service.put(version(2, number))
                await trio.sleep(1)
            service.delete(2)
            await trio.sleep(1)

        service.at["stream"] = put
        await trio.sleep(4500)
        assert service.streams == 2
        assert versions(events) == [1, 1, 2, 2, 3, 3, 3]
        assert dispatcher.dispatches == {1: version(1, 3)}


async def test_change_that_only_the_old_stream_would_deliver_is_found(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(version(1, 0))
    async with dispatching(service, resync_interval=RARELY) as dispatcher:
        await trio.sleep(10)

        opening = trio.Event()

        async def put_before_it_watches() -> None:
            new = service.watchers.pop()
            service.watchers.clear()
            service.dispatches[1] = version(1, 1)
            service.watchers.append(new)
            opening.set()

        service.at["stream"] = put_before_it_watches
        await opening.wait()
        await trio.sleep(5)
        assert dispatcher.dispatches == {1: version(1, 1)}
        # The stream could not know.
        assert dispatcher.statistics().stale_streams == 0


async def test_old_stream_stays_while_no_new_one_can_be_opened(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(version(1, 0))
    async with dispatching(service, resync_interval=RARELY) as dispatcher:

        async def refuse() -> None:
            if service.streams < 9:
                service.at["stream"] = refuse
                raise GRPCError(Status.UNAVAILABLE, "no streams today")

        service.at["stream"] = refuse
        async with trio.open_nursery() as nursery:
            phases: list[SyncPhase] = []
            nursery.start_soon(phases_of, dispatcher, phases)
            for number in range(1, 250):
                service.put(version(1, number))
                await trio.sleep(20)
                assert dispatcher.dispatches == service.dispatches
            nursery.cancel_scope.cancel()
        assert service.streams >= 9
        assert phases == [SyncPhase.LIVE]
        assert len(service.watchers) == 1


@pytest.mark.parametrize("early", [True, False])
async def test_streams_that_end_regularly_are_replaced_before_they_end(
    autojump_clock: trio.testing.MockClock, *, early: bool
) -> None:
    service = Scripted(version(1, 0))
    service.life, service.early = 50, early
    async with dispatching(service) as dispatcher, trio.open_nursery() as nursery:
        phases: list[SyncPhase] = []
        nursery.start_soon(phases_of, dispatcher, phases)
        await trio.sleep(3600)
        assert phases.count(SyncPhase.WAITING) == 3
        assert dispatcher.statistics().reconnects == 3
        assert len(service.lists) < 4 + 14
        nursery.cancel_scope.cancel()


async def test_stream_that_lived_some_seconds_is_opened_again_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(version(1, 0))
    async with dispatching(service) as dispatcher:
        for life in (10, 40, 25, 5, 17, 31, 12, 55):
            await trio.sleep(life)
            service.end_streams()
            with trio.fail_after(1):
                await dispatcher.sync_state.wait_value(lambda s: s.phase is SyncPhase.WAITING)
                await dispatcher.sync_state.wait_value(lambda s: s.phase is SyncPhase.LIVE)


def test_three_nearly_equal_lifetimes_are_a_pattern() -> None:
    lifetimes = Lifetimes()
    for age in (50.0, 50.5):
        lifetimes.ended(age)
        assert lifetimes.expected() is None
    lifetimes.ended(49.5)
    assert lifetimes.expected() == pytest.approx(0.9 * 49.5)
    # One that ends earlier still refutes it.
    lifetimes.ended(20)
    assert lifetimes.expected() is None


@pytest.mark.parametrize("ages", [(50, 60, 50), (1, 1, 1), (300, 3000, 30)])
def test_other_lifetimes_are_none(ages: tuple[float, ...]) -> None:
    lifetimes = Lifetimes()
    for age in ages:
        lifetimes.ended(age)
    assert lifetimes.expected() is None
