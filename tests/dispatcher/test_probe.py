"""The probe: a stream that stays open and delivers nothing is noticed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest
import trio
import trio.testing

from tests.helpers.scripted import Scripted, dispatching, version
from trio_dispatch import ServiceError, SyncPhase, clock
from trio_dispatch.dispatcher.mirror import Mirror
from trio_dispatch.dispatcher.probe import Changes, Comparison
from trio_dispatch.grpc import GRPCError, Status
from trio_dispatch.model.undecodable import Undecodable

FOUND_WITHIN = 35
RARELY = timedelta(days=1)


def create(service: Scripted) -> None:
    service.put(version(9, 9))


def update(service: Scripted) -> None:
    service.put(version(1, 9))


def delete(service: Scripted) -> None:
    service.delete(2)


@pytest.mark.parametrize("change", [create, update, delete])
@pytest.mark.parametrize("totals", [True, False])
@pytest.mark.parametrize("early", [True, False])
async def test_silent_stream_is_noticed_and_replaced(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Scripted], None],
    *,
    totals: bool,
    early: bool,
) -> None:
    service = Scripted(*(version(id_, 1) for id_ in range(1, 6)))
    service.totals, service.early = totals, early
    async with dispatching(service, resync_interval=RARELY) as dispatcher:
        await trio.sleep(100)
        service.mute_streams()
        change(service)
        await trio.sleep(FOUND_WITHIN)
        assert dispatcher.dispatches == service.dispatches
        # The new stream delivers.
        await trio.sleep(10)
        service.put(version(3, 10))
        await trio.sleep(1)
        assert dispatcher.dispatches == service.dispatches
        assert dispatcher.sync_state.value.phase is SyncPhase.LIVE
        statistics = dispatcher.statistics()
        assert (statistics.stale_streams, statistics.reconnects) == (1, 0)
        assert service.streams == 2
    assert caplog.text.count("did not report changes of 1 dispatch ") == 1


async def test_stream_that_loses_some_changes_and_delivers_later_ones_is_noticed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(*(version(id_, 1) for id_ in range(1, 6)))
    async with dispatching(service, resync_interval=RARELY) as dispatcher:
        await trio.sleep(100)
        service.dispatches[1] = version(1, 2)  # and the stream says nothing
        for number in range(3, 9):
            service.put(version(number % 4 + 2, number))
        await trio.sleep(FOUND_WITHIN)
        assert dispatcher.dispatches == service.dispatches
        assert dispatcher.statistics().stale_streams == 1


async def test_difference_that_the_stream_explains_within_two_seconds_is_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(*(version(id_, 1) for id_ in range(1, 6)))
    async with dispatching(service, resync_interval=RARELY) as dispatcher:
        lists = len(service.lists)
        for change in (create, update, delete):
            service.held = []
            probed = trio.Event()

            async def make_change(
                change: Callable[[Scripted], None] = change, probed: trio.Event = probed
            ) -> None:
                change(service)
                probed.set()

            service.at["probe"] = make_change
            await probed.wait()
            await trio.sleep(1)
            service.release()
            await trio.sleep(5)
        assert dispatcher.dispatches == service.dispatches
        assert len(service.lists) == lists
        assert dispatcher.statistics().stale_streams == 0


@pytest.mark.parametrize("fault", ["no totals", "no order"])
async def test_service_without_totals_or_order_is_listed_at_each_probe_interval(
    autojump_clock: trio.testing.MockClock, fault: str
) -> None:
    service = Scripted(version(2, 1), version(1, 2), version(3, 3))
    service.totals, service.sorts = fault != "no totals", fault != "no order"
    async with dispatching(service, resync_interval=RARELY) as dispatcher:
        service.put(version(4, 4))
        await trio.sleep(1000)
        gaps = [b - a for a, b in itertools.pairwise(service.lists[2:])]
        assert all(25 <= gap <= 35 for gap in gaps)
        assert dispatcher.statistics().stale_streams == 0
        assert dispatcher.sync_state.value.phase is SyncPhase.LIVE
        # It is noticed when the service does better.
        service.totals = service.sorts = True
        await trio.sleep(100)
        lists = len(service.lists)
        await trio.sleep(1000)
        assert len(service.lists) == lists


async def test_probes_are_cheap_and_jittered(autojump_clock: trio.testing.MockClock) -> None:
    service = Scripted(*(version(id_, 1) for id_ in range(1, 100)))
    async with dispatching(service, resync_interval=RARELY) as dispatcher:
        await trio.sleep(3000)  # before the stream is replaced, which calls for a probe
        gaps = [b - a for a, b in itertools.pairwise(service.probes)]
        assert all(27 <= gap <= 30 for gap in gaps[1:])
        assert len(set(gaps)) > 50
        assert len(service.lists) == 1
        assert dispatcher.statistics().probes == len(service.probes)


async def test_slow_service_is_not_taken_for_a_silent_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(version(1, 1))

    async def dawdle() -> None:
        service.at["probe"] = dawdle
        service.put(version(1, 2 + len(service.probes)))
        await trio.sleep(20)

    service.at["probe"] = dawdle
    async with dispatching(service, resync_interval=RARELY) as dispatcher:
        await trio.sleep(1000)
        assert len(service.probes) > 30
        assert len(service.lists) == 1
        assert dispatcher.sync_state.value.phase is SyncPhase.LIVE


async def test_clock_of_the_service_does_not_matter(autojump_clock: trio.testing.MockClock) -> None:
    service = Scripted(*(version(id_, -(10**8)) for id_ in range(1, 6)))
    async with dispatching(service, resync_interval=RARELY) as dispatcher:
        await trio.sleep(100)
        service.mute_streams()
        service.put(version(1, 1 - 10**8))
        await trio.sleep(FOUND_WITHIN)
        assert dispatcher.dispatches == service.dispatches
        assert len(service.lists) == 2


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_probe_that_fails_is_a_loss_of_contact(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    service = Scripted(version(1, 1))

    async def fail() -> None:
        if how == "hangs":
            await trio.sleep_forever()
        raise GRPCError(Status.UNAVAILABLE, "no probes today")

    async with dispatching(
        service, resync_interval=RARELY, call_timeout=timedelta(seconds=20)
    ) as dispatcher:
        service.at["probe"] = fail
        state = await dispatcher.sync_state.wait_value(lambda s: s.phase is SyncPhase.WAITING)
        assert isinstance(state.error, ServiceError)
        assert state.offline_since is not None
        state = await dispatcher.sync_state.wait_value(lambda s: s.phase is SyncPhase.LIVE)
        assert state.offline_since is None
        assert dispatcher.statistics().reconnects == 1
        assert service.streams == 1


async def test_state_says_when_the_mirror_was_confirmed_without_waking_anyone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(version(1, 1))
    async with dispatching(service) as dispatcher, trio.open_nursery() as nursery:
        states = []

        async def watch() -> None:
            async for state in dispatcher.sync_state.eventual_values():
                states.append(state)  # noqa: PERF401

        nursery.start_soon(watch)
        for _ in range(10):
            await trio.sleep(35)
            confirmed_at = dispatcher.sync_state.value.confirmed_at
            assert confirmed_at is not None
            assert clock.now() - confirmed_at <= timedelta(seconds=35)
        assert len(states) == 1
        nursery.cancel_scope.cancel()


async def test_offline_since_is_not_reset_by_retries(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted(version(1, 1))

    async def refuse() -> None:
        service.at["stream"] = refuse
        raise GRPCError(Status.UNAVAILABLE, "no streams today")

    async with dispatching(service) as dispatcher:
        assert dispatcher.sync_state.value.offline_since is None
        await trio.sleep(10)
        lost_at = clock.now()
        service.at["stream"] = refuse
        service.end_streams()
        for _ in range(20):
            await trio.sleep(30)
            state = dispatcher.sync_state.value
            assert state.offline_since == lost_at
            assert state.confirmed_at is not None
            assert state.confirmed_at <= lost_at
        assert state.since > lost_at
        service.at.clear()
        state = await dispatcher.sync_state.wait_value(lambda s: s.phase is SyncPhase.LIVE)
        assert state.offline_since is None
        assert state.error is None
        assert state.next_try is None


async def test_statistics_have_the_age_of_the_last_event(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted()
    async with dispatching(service) as dispatcher:
        assert dispatcher.statistics().last_event_age is None
        service.put(version(1, 1))
        await trio.sleep(1000)
        assert dispatcher.statistics().last_event_age == timedelta(seconds=1000)


# The comparison.


def listed(*numbers: int) -> Mirror:
    mirror = Mirror()
    mirror.begin_list(clock.VIRTUAL_START)
    mirror.page(version(number, 1) for number in numbers)
    mirror.end_list()
    return mirror


def test_answer_may_agree_with_any_state_since_the_probe_was_sent() -> None:
    mirror = listed(1, 2)
    comparison = Comparison(mirror)
    answers = [(2, [version(1, 1)])]
    for events, last in (
        (mirror.changed(version(3, 2)), version(3, 2)),
        (mirror.changed(version(3, 3)), version(3, 3)),
        (mirror.deleted(version(3, 3)), version(1, 1)),
    ):
        comparison.add(events)
        answers.append((mirror.total, [last]))
    assert all(comparison.explains(*answer) for answer in answers)
    assert not comparison.is_quiet


def test_answer_must_agree_with_one_state_as_a_whole() -> None:
    mirror = listed(1, 2)
    comparison = Comparison(mirror)
    comparison.add(mirror.changed(version(3, 2)))
    # The total was so before the creation, which the last update was only after.
    assert not comparison.explains(2, [version(3, 2)])
    assert not comparison.explains(3, [version(4, 9)])
    assert not comparison.explains(3, [version(3, 9)])


def test_undecodable_dispatches_count() -> None:
    mirror = Mirror()
    mirror.begin_list(clock.VIRTUAL_START)
    mirror.page([version(1, 1), Undecodable(2, "?"), Undecodable(None, "?")])
    mirror.end_list()
    comparison = Comparison(mirror)
    assert comparison.explains(3, [Undecodable(2, "?")])
    assert comparison.explains(3, [Undecodable(None, "?")])
    assert not comparison.explains(3, [Undecodable(4, "?")])
    assert not comparison.explains(1, [version(1, 1)])


def test_dispatch_that_ended_before_the_bound_does_not_count() -> None:
    mirror = Mirror()
    mirror.begin_list(clock.VIRTUAL_START + timedelta(days=9))
    mirror.end_list()
    mirror.changed(version(1, 1))
    assert mirror.dispatches.keys() == {1}
    assert mirror.total == 0


def test_probe_asks_for_one_more_than_has_changed() -> None:
    mirror, changes = listed(1, 2), Changes()
    assert changes.probe_size == 1
    changes.add(mirror.changed(version(1, 2)))
    changes.add(mirror.changed(version(1, 3)))
    changes.add(mirror.changed(version(3, 4)))
    assert changes.probe_size == 3
    changes.add(mirror.deleted(version(3, 4)))
    assert changes.probe_size == 2
    changes.clear()
    assert changes.probe_size == 1
