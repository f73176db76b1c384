"""The dispatcher with the real service, real gRPC bytes in between, on virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.dispatching import dispatching
from trio_dispatch import (
    Created,
    Deleted,
    Dispatch,
    LifecycleEvent,
    Receiver,
    RunningState,
    ServiceError,
    SyncPhase,
    TargetIds,
    Updated,
    clock,
    open_dispatcher,
)
from trio_dispatch.clock import VIRTUAL_START as START
from trio_dispatch.dispatcher.channels import merge_events, merge_statuses
from trio_dispatch.grpc import GRPCError, Status
from trio_dispatch.model.recurrence.rule import Frequency, RecurrenceRule
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
async def service() -> AsyncIterator[LocalService]:
    async with open_test_service() as service:
        yield service


def events_waiting(receiver: Receiver[LifecycleEvent]) -> list[tuple[type, int]]:
    return [(type(event), event.dispatch.id) for event in drained(receiver)]


def drained(receiver: Receiver[Any]) -> list[Any]:
    messages = []
    try:
        while True:
            messages.append(receiver.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel):
        return messages


async def create(service: LocalService, **fields: Any) -> Dispatch:
    defaults: dict[str, Any] = {
        "type": "CHARGE",
        "start_time": "NOW",
        "duration": HOUR,
        "target": TargetIds(1),
    }
    return await service.client.create(1, **(defaults | fields))


async def test_what_exists_is_known_and_what_runs_is_told_at_the_start(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
) -> None:
    await service.put(make_dispatch(1))
    await service.put(make_dispatch(2, start_time=START + HOUR))
    async with dispatching(service) as dispatcher:
        assert dispatcher.dispatches == {
            1: make_dispatch(1),
            2: make_dispatch(2, start_time=START + HOUR),
        }
        status = dispatcher.running_status_change.new_receiver()
        assert events_waiting(dispatcher.lifecycle_events.new_receiver()) == [
            (Created, 1),
            (Created, 2),
        ]
        assert [dispatch.id for dispatch in drained(status)] == [1]
        assert dispatcher.sync_state.value.phase is SyncPhase.LIVE


async def test_created_updated_and_deleted_dispatches_are_told_as_it_happens(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
) -> None:
    async with dispatching(service) as dispatcher:
        events = dispatcher.lifecycle_events.new_receiver()
        status = dispatcher.running_status_change.new_receiver()
        dispatch = await create(service)
        assert await events.receive() == Created(dispatch)
        message = await status.receive()
        assert message == dispatch
        assert message.running("CHARGE") is RunningState.RUNNING
        assert message.until == START + HOUR
        updated = await service.client.update(1, dispatch.id, payload={"power": 1})
        assert await events.receive() == Updated(updated)
        assert (await status.receive()).payload == {"power": 1}
        await service.client.delete(1, dispatch.id)
        deleted = await events.receive()
        assert isinstance(deleted, Deleted)
        assert deleted.dispatch.deleted
        message = await status.receive()
        assert message.running("CHARGE") is RunningState.STOPPED
        assert dispatcher.dispatches == {}


async def test_starts_and_stops_come_at_their_moments(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service) as dispatcher:
        status = dispatcher.running_status_change.new_receiver()
        await create(service, start_time=START + HOUR, duration=90 * MINUTE)
        seen = []
        for _ in range(2):
            message = await status.receive()
            seen.append((clock.now() - START, message.running().name))
        assert seen == [(HOUR, "RUNNING"), (2.5 * HOUR, "STOPPED")]
        assert dispatcher.statistics().worst_lateness == timedelta()


async def test_a_pulse_is_one_message(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service) as dispatcher:
        status = dispatcher.running_status_change.new_receiver()
        await create(service, start_time=START + HOUR, duration=timedelta())
        message = await status.receive()
        assert (clock.now(), message.pulse) == (START + HOUR, START + HOUR)
        assert message.running() is RunningState.RUNNING
        with trio.move_on_after(24 * 3600):
            pytest.fail(f"told again: {await status.receive()}")


@pytest.mark.parametrize("how", ["delete", "deactivate"])
async def test_withdrawing_a_dispatch_after_its_pulse_is_announced_as_one_stop(
    autojump_clock: trio.testing.MockClock, service: LocalService, how: str
) -> None:
    async with dispatching(service) as dispatcher:
        reader, sleeper = [
            dispatcher.running_status_change.new_receiver(type=type) for type in (None, "CHARGE")
        ]
        dispatch = await create(service, duration=timedelta())
        assert (await reader.receive()).pulse == dispatch.start_time
        if how == "delete":
            await service.client.delete(1, dispatch.id)
        else:
            await service.client.update(1, dispatch.id, active=False)
            await service.client.delete(1, dispatch.id)
        await trio.sleep(1)
        # Also to a receiver that has not yet read the pulse: it must not act on it.
        for receiver in (reader, sleeper):
            (message,) = drained(receiver)
            assert message.running() is RunningState.STOPPED
            assert message.pulse is None


async def test_the_schedule_goes_on_when_the_service_is_gone(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    daily = RecurrenceRule(Frequency.DAILY)
    async with dispatching(service) as dispatcher:
        await create(service, start_time=START + HOUR, recurrence=daily)
        await trio.sleep(1)
        await service.stop()
        status = dispatcher.running_status_change.new_receiver()
        for day in range(7):
            for hour, state in ((1, "RUNNING"), (2, "STOPPED")):
                message = await status.receive()
                assert clock.now() == START + day * timedelta(days=1) + hour * HOUR
                assert message.running().name == state
        assert dispatcher.sync_state.value.phase is not SyncPhase.LIVE


@pytest.mark.parametrize("how", ["dropped", "restarted"])
async def test_after_a_reconnect_only_true_differences_come(
    autojump_clock: trio.testing.MockClock, service: LocalService, how: str
) -> None:
    kept, changed, deleted = [await create(service) for _ in range(3)]
    async with dispatching(service) as dispatcher:
        events = dispatcher.lifecycle_events.new_receiver()
        drained(events)
        await service.stop()
        await service.restart()
        await service.stop()
        # While nobody listens:
        await service.put(make_dispatch(changed.id, payload={"a": 1}))
        await service.store.delete(1, deleted.id)
        await service.put(make_dispatch(99))
        await service.restart()
        if how == "dropped":
            await trio.sleep(90)
            await service.drop_connections()
        await trio.sleep(90)
        assert dispatcher.sync_state.value.phase is SyncPhase.LIVE
        assert sorted(events_waiting(events), key=lambda event: event[1]) == [
            (Updated, changed.id),
            (Deleted, deleted.id),
            (Created, 99),
        ]
        assert dispatcher.dispatches.keys() == {kept.id, changed.id, 99}


async def test_a_stream_that_ends_cleanly_is_opened_again(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service) as dispatcher:
        events = dispatcher.lifecycle_events.new_receiver()
        for _ in range(3):
            await service.restart()
            await trio.sleep(90)
            dispatch = await create(service)
            assert await events.receive() == Created(dispatch)


async def test_a_wrong_key_is_told_at_once(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    with pytest.raises(ServiceError, match="UNAUTHENTICATED") as info:
        async with open_dispatcher(microgrid_id=1, channel=service.channel, key="wrong"):
            pytest.fail("let in")
    assert info.value.status is Status.UNAUTHENTICATED
    assert isinstance(info.value.error, GRPCError)
    assert "microgrid 1" in str(info.value)


async def test_a_service_that_is_away_is_waited_for(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    await service.put(make_dispatch(1))
    await service.stop()

    async def come_back() -> None:
        await trio.sleep(600)
        await service.restart()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_back)
        async with dispatching(service) as dispatcher:
            assert trio.current_time() >= 600
            assert dispatcher.dispatches.keys() == {1}


async def test_receivers_end_when_the_dispatcher_does(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service) as dispatcher:
        status = dispatcher.running_status_change.new_receiver()
        events = dispatcher.lifecycle_events.new_receiver()
        dispatch = await create(service)
        await trio.sleep(1)
    assert [message async for message in status] == [dispatch]
    assert [event async for event in events] == [Created(dispatch)]
    with pytest.raises(trio.ClosedResourceError):
        dispatcher.lifecycle_events.new_receiver()


async def test_the_dispatcher_works_on_in_finally_blocks(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    told = []
    with trio.move_on_after(10):
        async with dispatching(service) as dispatcher:
            status = dispatcher.running_status_change.new_receiver()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await create(service)
                    told.append(await status.receive())
    assert len(told) == 1


async def test_an_error_in_the_body_comes_out_as_itself(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with dispatching(service):
            raise KeyError("mine")
    with pytest.raises(ExceptionGroup, match="my group") as info:
        async with dispatching(service):
            raise ExceptionGroup("my group", [KeyError("mine")])
    assert [type(exc) for exc in info.value.exceptions] == [KeyError]


async def test_a_step_of_the_clock_is_acted_upon(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service) as dispatcher:
        status = dispatcher.running_status_change.new_receiver()
        await create(service, start_time=START + 2 * HOUR)
        await trio.sleep(1)
        clock.virtual_clock().step(2.5 * HOUR)
        assert (await status.receive()).running() is RunningState.RUNNING
        clock.virtual_clock().step(-HOUR)
        assert (await status.receive()).running() is RunningState.STOPPED
        assert (await status.receive()).running() is RunningState.RUNNING
        assert clock.now() == START + 2 * HOUR


async def test_runs_that_were_slept_through_are_missed_not_replayed(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
) -> None:
    async with dispatching(service) as dispatcher:
        status = dispatcher.running_status_change.new_receiver()
        missed = dispatcher.missed_runs.new_receiver()
        hourly = RecurrenceRule(Frequency.HOURLY)
        dispatch = await create(
            service, start_time=START + HOUR, duration=MINUTE, recurrence=hourly
        )
        await trio.sleep(1)
        clock.virtual_clock().step(2.5 * HOUR)
        assert [(await missed.receive()).start for _ in range(2)] == [
            START + HOUR,
            START + 2 * HOUR,
        ]
        assert dispatcher.statistics().missed == 2
        assert (await status.receive()) == dispatch
        assert clock.now() == START + 3 * HOUR


async def test_a_rule_that_makes_no_sense_harms_nothing_else(
    autojump_clock: trio.testing.MockClock, service: LocalService, caplog: pytest.LogCaptureFixture
) -> None:
    nonsense = RecurrenceRule.unchecked(
        frequency=42,
        interval=0,
        end_criteria=None,
        byminutes=(99,),
        byhours=(),
        byweekdays=(),
        bymonthdays=(),
        bymonths=(),
    )
    await service.put(make_dispatch(1, recurrence=nonsense))
    await service.put(make_dispatch(2))
    async with dispatching(service) as dispatcher:
        assert dispatcher.dispatches[1].recurrence == nonsense
        status = dispatcher.running_status_change.new_receiver()
        assert [dispatch.id for dispatch in drained(status)] == [2]
        await trio.sleep(3600)
    (warning,) = [record for record in caplog.records if "dispatch 1" in record.getMessage()]
    assert "never runs" in warning.getMessage()


async def test_only_a_naive_time_or_a_negative_interval_is_refused(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    with pytest.raises(ValueError, match="catch_up -1 day"):
        async with dispatching(service, catch_up=-SECOND):
            pytest.fail("let in")


def test_what_is_left_of_two_events() -> None:
    one, two, three = (make_dispatch(1, payload={"a": n}) for n in range(3))
    assert merge_events(Created(one), Updated(two)) == Created(two)
    assert merge_events(Created(one), Deleted(two)) is None
    assert merge_events(Updated(one), Updated(two)) == Updated(two)
    there, back = Updated(two, previous=one), Updated(one, previous=two)
    assert merge_events(there, back) is None
    merged = merge_events(there, Updated(three, previous=two))
    assert merged == Updated(three)
    assert isinstance(merged, Updated)
    assert merged.previous == one
    assert merge_events(Updated(one), Deleted(two)) == Deleted(two)
    assert merge_events(Deleted(one), Created(two)) == Updated(two)


def test_a_pulse_survives_everything_but_its_end() -> None:
    pulse = make_dispatch(duration=timedelta()).sent_for(START, pulse=START)
    kept = merge_statuses(pulse, make_dispatch(payload={"a": 1}))
    assert (kept.pulse, kept.payload) == (START, {"a": 1})
    later = make_dispatch(duration=timedelta()).sent_for(START + HOUR, pulse=START + HOUR)
    assert merge_statuses(pulse, later).pulse == START + HOUR
    for end in (make_dispatch(deleted=True), make_dispatch(active=False)):
        assert merge_statuses(pulse, end).pulse is None


async def test_a_stop_that_waits_is_not_replaced_by_a_pulse(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service) as dispatcher:
        status = dispatcher.running_status_change.new_receiver()
        dispatch = await create(service)
        assert (await status.receive()).running() is RunningState.RUNNING
        # While nobody reads, it becomes a pulse, and fires.
        at = START + HOUR
        await service.client.update(1, dispatch.id, duration=timedelta(), start_time=at)
        await trio.sleep(2 * 3600)
        assert [message.pulse for message in drained(status)] == [None, at]


async def test_what_waits_is_read_with_what_has_silently_become_of_it(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service) as dispatcher:
        status = dispatcher.running_status_change.new_receiver()
        dispatch = await create(service)
        assert (await status.receive()).running() is RunningState.RUNNING
        # It is put off, which stops it, and then deleted, which changes nothing for who knows it.
        await service.client.update(1, dispatch.id, start_time=START + HOUR)
        await service.client.delete(1, dispatch.id)
        await trio.sleep(1.5 * 3600)
        # A receiver that reads the stop only now must not take it for a start.
        (message,) = drained(status)
        assert message.running() is RunningState.STOPPED


async def test_the_plan_of_a_component(
    service: LocalService, autojump_clock: trio.testing.MockClock
) -> None:
    first = await create(service, target=TargetIds(1, 2))
    await create(service, target=TargetIds(3))
    async with dispatching(service) as dispatcher:
        plan = dispatcher.plan(1, START, START + 2 * HOUR)
        await service.client.delete(1, first.id)
        # The plan is of the moment at which it was made.
        assert [(each.dispatch.id, each.begin, each.end) for each in plan] == [
            (first.id, START, START + HOUR)
        ]
        assert list(dispatcher.plan(1, START, START + HOUR, type="OTHER")) == []
