"""Dispatches: when they run, and their values."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import trio
import trio.testing

from trio_dispatch import clock
from trio_dispatch.model.dispatch import Dispatch, RunningState
from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule
from trio_dispatch.model.target import (
    BatteryType,
    ElectricalComponentCategory,
    InverterType,
    TargetCategories,
    TargetCategory,
    TargetIds,
)
from trio_dispatch.model.times import time_from_nanos
from trio_dispatch.testing.factory import make_dispatch

NOW = clock.VIRTUAL_START
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
HOURLY = RecurrenceRule(Frequency.HOURLY)
RUNNING, STOPPED = RunningState.RUNNING, RunningState.STOPPED


def test_a_run_includes_its_start_and_not_its_end() -> None:
    dispatch = make_dispatch(start_time=NOW, duration=HOUR)
    states = [dispatch.running_at(NOW + t) for t in (-SECOND, HOUR * 0, HOUR - SECOND, HOUR)]
    assert states == [False, True, True, False]
    assert dispatch.until_at(NOW) == NOW + HOUR
    assert dispatch.until_at(NOW + HOUR) is None


def test_the_latest_start_counts_if_runs_overlap() -> None:
    dispatch = make_dispatch(start_time=NOW, duration=1.5 * HOUR, recurrence=HOURLY)
    assert dispatch.until_at(NOW + HOUR - SECOND) == NOW + 1.5 * HOUR
    assert dispatch.until_at(NOW + HOUR) == NOW + 2.5 * HOUR


def test_adjacent_runs_do_not_stop() -> None:
    dispatch = make_dispatch(start_time=NOW, duration=HOUR, recurrence=HOURLY)
    assert dispatch.running_at(NOW + HOUR)
    assert dispatch.until_at(NOW + HOUR) == NOW + 2 * HOUR


def test_without_a_duration_it_runs_for_ever_and_ignores_its_rule() -> None:
    dispatch = make_dispatch(start_time=NOW, duration=None, recurrence=HOURLY)
    assert not dispatch.running_at(NOW - SECOND)
    assert dispatch.running_at(datetime(9999, 12, 31, tzinfo=UTC))
    assert dispatch.until_at(NOW) is None
    assert dispatch.next_run_after(NOW) == NOW
    assert dispatch.next_run_after(NOW + SECOND) is None
    assert dispatch.last_end() is None


def test_a_run_that_would_end_after_year_9999_has_no_end() -> None:
    start = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    dispatch = make_dispatch(start_time=start, duration=HOUR)
    assert dispatch.running_at(start)
    assert dispatch.until_at(start) is None
    assert list(dispatch.missed_runs(NOW)) == []


def test_an_unspecified_frequency_is_no_recurrence() -> None:
    rule = RecurrenceRule(Frequency.UNSPECIFIED)
    dispatch = make_dispatch(start_time=NOW + timedelta(microseconds=5), recurrence=rule)
    assert dispatch.next_run_after(NOW) == NOW + timedelta(microseconds=5)
    assert dispatch.next_run_after(NOW + SECOND) is None


def test_recurring_starts_are_at_whole_seconds_and_single_starts_are_not() -> None:
    start = NOW + timedelta(microseconds=5)
    assert make_dispatch(start_time=start).next_run_after(NOW) == start
    again = make_dispatch(start_time=start, recurrence=HOURLY)
    assert again.next_run_after(NOW) == NOW


@pytest.mark.parametrize("change", [{"active": False}, {"deleted": True}], ids=str)
def test_an_inactive_or_deleted_dispatch_does_not_run(change: dict[str, Any]) -> None:
    dispatch = make_dispatch(**change)
    assert not dispatch.running_at(NOW)
    assert dispatch.until_at(NOW) is None


async def test_the_wall_clock_of_the_trio_run_decides(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dispatch = make_dispatch(type="CHARGE", start_time=NOW, duration=HOUR, recurrence=None)
    assert dispatch.running("CHARGE") is dispatch.running() is RUNNING
    assert dispatch.running("OTHER") is RunningState.DIFFERENT_TYPE
    assert dispatch.until == NOW + HOUR
    assert dispatch.next_run == NOW
    await trio.sleep(3600)
    assert dispatch.running("CHARGE") is STOPPED
    assert dispatch.until is dispatch.next_run is None
    assert list(dispatch.missed_runs(NOW - SECOND)) == [NOW]


async def test_a_message_is_evaluated_no_earlier_than_it_was_sent_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    message = make_dispatch(start_time=NOW + HOUR).sent_for(NOW + HOUR)
    # The clock was stepped back since: the message still says what it was sent for.
    assert message.running() is RUNNING
    await trio.sleep(2 * 3600)
    assert message.running() is STOPPED


async def test_a_pulse_runs_only_as_a_message(autojump_clock: trio.testing.MockClock) -> None:
    pulse = make_dispatch(start_time=NOW, duration=timedelta(), recurrence=HOURLY)
    assert pulse.running() is STOPPED
    assert pulse.until is None
    assert pulse.pulse is None
    message = pulse.sent_for(NOW + HOUR, pulse=NOW + HOUR)
    assert message.running() is RUNNING
    assert message.until == message.pulse == NOW + HOUR
    assert message == pulse
    await trio.sleep(1.5 * 3600)
    assert list(pulse.missed_runs(NOW)) == [NOW + HOUR]


def test_missed_runs_are_over() -> None:
    rule = RecurrenceRule(Frequency.HOURLY, end_criteria=EndCriteria(count=3))
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    dispatch = make_dispatch(start_time=past, duration=MINUTE, recurrence=rule)
    assert list(dispatch.missed_runs(past)) == [past + HOUR, past + 2 * HOUR]
    assert dispatch.last_end() == past + 2 * HOUR + MINUTE


def test_times_are_kept_in_utc() -> None:
    berlin = timezone(HOUR)
    dispatch = make_dispatch(start_time=datetime(2026, 1, 1, 1, tzinfo=berlin))
    assert dispatch.start_time == NOW
    assert dispatch.start_time.tzinfo is UTC


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("start_time", datetime(2026, 1, 1), "start_time .* has no time zone"),  # noqa: DTZ001
        ("create_time", None, "create_time None is not a datetime"),
        ("update_time", "now", "update_time 'now' is not a datetime"),
        ("end_time", datetime(1, 1, 1, tzinfo=timezone(HOUR)), "end_time .* in UTC"),
        ("duration", SECOND / 2, "duration 0:00:00.500000 is not a number of whole seconds"),
        ("id", 2**64, "id 18446744073709551616 is not an integer from 0"),
        ("target", [1], r"target \[1\] is not a TargetIds, TargetCategories or None"),
        ("type", "A\ud800", r"type 'A\\ud800' has a lone surrogate"),
        ("payload", {"a": {1}}, r"payload\['a'\]: \{1\} is not JSON"),
        ("recurrence", "FREQ=DAILY", "recurrence 'FREQ=DAILY' is not a RecurrenceRule or None"),
    ],
)
def test_an_invalid_field_is_refused_by_name(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_dispatch(**{field: value})


@pytest.mark.parametrize("moment", [FIRST, LAST])
def test_the_first_and_the_last_moment(moment: datetime) -> None:
    dispatch = make_dispatch(start_time=moment, duration=HOUR, recurrence=HOURLY)
    assert dispatch.next_run_after(FIRST) == moment.replace(microsecond=0)
    for asked in (FIRST, NOW, LAST):
        dispatch.running_at(asked)
        dispatch.until_at(asked)
    forever = make_dispatch(start_time=moment, duration=None)
    assert forever.running_at(LAST)
    assert forever.running_at(FIRST) == (moment == FIRST)


def test_it_is_a_value() -> None:
    dispatch = make_dispatch(payload={"a": [1]}, target=TargetCategories(BatteryType.LI_ION))
    assert pickle.loads(pickle.dumps(dispatch)) == dispatch
    assert len({dispatch, make_dispatch(2), make_dispatch(2)}) == 2
    assert dispatch != dispatch.id
    with pytest.raises(AttributeError):
        dispatch.id = 3  # type: ignore[misc]


def test_updates_are_compared_to_the_nanosecond() -> None:
    first, second = (make_dispatch(update_time=time_from_nanos(nanos)) for nanos in (1001, 1002))
    assert second != first
    assert second.newer_than(first)
    assert not first.newer_than(second)
    assert not first.newer_than(first)
    assert make_dispatch(update_time=time_from_nanos(2000)).newer_than(second)
    assert pickle.loads(pickle.dumps(second)) == second


def test_a_message_is_the_same_content_and_a_changed_one_is_no_message() -> None:
    dispatch = make_dispatch(duration=timedelta())
    message = dispatch.sent_for(NOW, pulse=NOW)
    assert message == dispatch
    assert (message.sent_at, message.pulse) == (NOW, NOW)
    assert pickle.loads(pickle.dumps(message)).pulse == NOW
    assert message.sent_for(NOW + HOUR).pulse is None
    changed = replace(message, type="OTHER")
    assert (changed.sent_at, changed.pulse) == (None, None)


def test_a_halted_message_does_not_run() -> None:
    message = make_dispatch(start_time=NOW, duration=HOUR).sent_for(NOW, halted=True)
    assert not message.running_at(NOW)
    assert message.until_at(NOW) is None


def test_targets_are_sets() -> None:
    assert TargetIds(1, 2) | {3} == TargetIds(3, 2, 1)
    assert repr(TargetIds(2, 1)) == "TargetIds(1, 2)"
    battery = ElectricalComponentCategory.BATTERY
    target = TargetCategories(battery, InverterType.PV)
    assert set(target) == {
        TargetCategory(battery),
        TargetCategory(ElectricalComponentCategory.INVERTER, InverterType.PV),
    }
    assert repr(target) == "TargetCategories(BATTERY, INVERTER:PV)"
    # The same number in different enumerations is not the same type.
    assert TargetCategory(battery, BatteryType(1)) != TargetCategory(battery, InverterType(1))
    assert pickle.loads(pickle.dumps(target)) == target


@pytest.mark.parametrize("ids", [(-1,), (2**64,), ("1",)])
def test_invalid_ids_are_refused(ids: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="component id"):
        TargetIds(*ids)


def test_invalid_categories_are_refused() -> None:
    with pytest.raises(ValueError, match="5 is not a category or type"):
        TargetCategories(5)  # type: ignore[arg-type]


def test_most_fields_have_defaults() -> None:
    assert Dispatch(id=1, type="X", start_time=NOW, duration=None, target=TargetIds(1)).active
