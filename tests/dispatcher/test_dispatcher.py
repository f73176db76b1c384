"""The dispatcher with the real service, real gRPC bytes in between, on virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
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
from trio_dispatch.dispatcher.notices import Notice
from trio_dispatch.dispatcher.scheduler import Scheduler
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


async def test_new_receivers_start_with_what_exists_and_what_runs(
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


async def test_changes_are_announced_as_they_happen(
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


async def test_starts_and_stops_arrive_on_time(
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


async def test_pulse_is_one_message(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service, probe_interval=HOUR) as dispatcher:
        status = dispatcher.running_status_change.new_receiver()
        await create(service, start_time=START + HOUR, duration=timedelta())
        message = await status.receive()
        assert (clock.now(), message.pulse) == (START + HOUR, START + HOUR)
        assert message.running() is RunningState.RUNNING
        with trio.move_on_after(3 * 3600):
            pytest.fail(f"announced again: {await status.receive()}")


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


async def test_schedule_continues_without_the_service(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    every_six_hours = RecurrenceRule(Frequency.HOURLY, interval=6)
    async with dispatching(service) as dispatcher:
        await create(service, start_time=START + HOUR, recurrence=every_six_hours)
        await trio.sleep(1)
        await service.stop()
        status = dispatcher.running_status_change.new_receiver()
        for number in range(2):
            for hour, state in ((1, "RUNNING"), (2, "STOPPED")):
                message = await status.receive()
                assert clock.now() == START + (6 * number + hour) * HOUR
                assert message.running().name == state
        assert dispatcher.sync_state.value.phase is not SyncPhase.LIVE


@pytest.mark.parametrize("how", ["dropped", "restarted"])
async def test_reconnect_reports_only_differences(
    autojump_clock: trio.testing.MockClock, service: LocalService, how: str
) -> None:
    kept, changed, deleted = [await create(service) for _ in range(3)]
    async with dispatching(service) as dispatcher:
        events = dispatcher.lifecycle_events.new_receiver()
        drained(events)
        await service.stop()
        await service.restart()
        await service.stop()
        # While there is no stream:
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


async def test_stream_that_ends_cleanly_is_opened_again(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service) as dispatcher:
        events = dispatcher.lifecycle_events.new_receiver()
        for _ in range(3):
            await service.restart()
            await trio.sleep(90)
            dispatch = await create(service)
            assert await events.receive() == Created(dispatch)


async def test_invalid_api_key_is_raised_at_once(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    with pytest.raises(ServiceError, match="UNAUTHENTICATED") as info:
        async with open_dispatcher(microgrid_id=1, channel=service.channel, key="wrong"):
            pytest.fail("the block was entered")
    assert info.value.status is Status.UNAUTHENTICATED
    assert isinstance(info.value.error, GRPCError)
    assert "microgrid 1" in str(info.value)


async def test_unreachable_service_is_waited_for(
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


async def test_receivers_end_with_the_dispatcher(
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


async def test_dispatcher_keeps_running_in_finally_blocks(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    received = []
    with trio.move_on_after(10):
        async with dispatching(service) as dispatcher:
            status = dispatcher.running_status_change.new_receiver()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await create(service)
                    received.append(await status.receive())
    assert len(received) == 1


async def test_error_in_the_body_is_raised_as_itself(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with dispatching(service):
            raise KeyError("mine")
    with pytest.raises(ExceptionGroup, match="my group") as info:
        async with dispatching(service):
            raise ExceptionGroup("my group", [KeyError("mine")])
    assert [type(exc) for exc in info.value.exceptions] == [KeyError]


async def test_clock_step_starts_and_stops_runs(
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


async def test_runs_during_a_suspension_of_the_process_are_missed(
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


async def test_invalid_rule_affects_no_other_dispatch(
    autojump_clock: trio.testing.MockClock, service: LocalService, caplog: pytest.LogCaptureFixture
) -> None:
    invalid = RecurrenceRule.unchecked(
        frequency=42,
        interval=0,
        end_criteria=None,
        byminutes=(99,),
        byhours=(),
        byweekdays=(),
        bymonthdays=(),
        bymonths=(),
    )
    await service.put(make_dispatch(1, recurrence=invalid))
    await service.put(make_dispatch(2))
    async with dispatching(service) as dispatcher:
        assert dispatcher.dispatches[1].recurrence == invalid
        status = dispatcher.running_status_change.new_receiver()
        assert [dispatch.id for dispatch in drained(status)] == [2]
        await trio.sleep(3600)
    (warning,) = [record for record in caplog.records if "dispatch 1" in record.getMessage()]
    assert "never runs" in warning.getMessage()


async def test_negative_duration_is_rejected(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    with pytest.raises(ValueError, match="catch_up -1 day"):
        async with dispatching(service, catch_up=-SECOND):
            pytest.fail("the block was entered")


def test_merging_two_events() -> None:
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


def test_queued_pulse_is_kept_until_its_dispatch_is_withdrawn() -> None:
    pulse = make_dispatch(duration=timedelta()).sent_for(START, pulse=START)
    kept = merge_statuses(pulse, make_dispatch(payload={"a": 1}))
    assert (kept.pulse, kept.payload) == (START, {"a": 1})
    later = make_dispatch(duration=timedelta()).sent_for(START + HOUR, pulse=START + HOUR)
    assert merge_statuses(pulse, later).pulse == START + HOUR
    for end in (make_dispatch(deleted=True), make_dispatch(active=False)):
        assert merge_statuses(pulse, end).pulse is None


async def test_pulse_does_not_replace_a_queued_stop(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service) as dispatcher:
        status = dispatcher.running_status_change.new_receiver()
        dispatch = await create(service)
        assert (await status.receive()).running() is RunningState.RUNNING
        # Before the stop is read, the dispatch becomes a pulse, which is announced.
        at = START + HOUR
        await service.client.update(1, dispatch.id, duration=timedelta(), start_time=at)
        await trio.sleep(2 * 3600)
        assert [message.pulse for message in drained(status)] == [None, at]


async def test_queued_stop_stays_a_stop_after_silent_updates(
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


async def test_long_catch_up_is_dealt_with_in_slices(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = START + timedelta(days=2)
    clock.virtual_clock().set(now)
    for id_ in range(20):
        await service.put(
            make_dispatch(
                id_,
                start_time=START,
                duration=30 * SECOND,
                recurrence=RecurrenceRule(Frequency.MINUTELY),
            )
        )
    slices = []
    announce = Scheduler._announce

    def count(self: Scheduler, notices: Sequence[Notice], **options: bool) -> None:
        slices.append(len(notices))
        announce(self, notices, **options)

    monkeypatch.setattr(Scheduler, "_announce", count)
    async with dispatching(service, catch_up=timedelta(days=1)) as dispatcher:
        status = dispatcher.running_status_change.new_receiver()
        await trio.sleep(1)
        assert len(await status.receive_batch()) == 20
        assert dispatcher.statistics().announced == 20 * (2 * 1440 + 1)
    assert max(slices) <= 200


async def test_max_offline_reports_what_was_due_meanwhile_as_missed(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service, max_offline=HOUR) as dispatcher:
        await create(service, start_time=START + 2 * HOUR, duration=timedelta())
        await create(service, start_time=START + 2 * HOUR, duration=MINUTE)
        await create(service, start_time=START + 2 * HOUR, duration=9 * HOUR)
        await trio.sleep(1)
        await service.stop()
        status = dispatcher.running_status_change.new_receiver()
        missed = dispatcher.missed_runs.new_receiver()
        await clock.sleep_until(START + 3 * HOUR)
        assert drained(status) == []
        await service.restart()
        message = await status.receive()
        assert message.until == START + 11 * HOUR
        assert {run.dispatch.id for run in drained(missed)} == {1, 2}
        assert dispatcher.statistics().missed == 2


async def test_new_receiver_of_missed_runs_starts_with_what_no_receiver_has_read(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service) as dispatcher:
        await create(service, start_time=START + HOUR, duration=MINUTE)
        await trio.sleep(1)
        clock.virtual_clock().step(2 * HOUR)
        await trio.sleep(1)
        receivers = [dispatcher.missed_runs.new_receiver() for _ in range(2)]
        for receiver in receivers:
            (missed,) = drained(receiver)
            assert missed.start == START + HOUR
        assert drained(dispatcher.missed_runs.new_receiver()) == []
