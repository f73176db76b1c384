"""When two dispatches run at the same time, compared with walking minute by minute."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.helpers.counting import calls
from tests.helpers.drawing import BEGIN, DAY, HOUR, MINUTE
from trio_dispatch import (
    BatteryType,
    Dispatch,
    EndCriteria,
    Frequency,
    RecurrenceRule,
    Target,
    TargetCategories,
    TargetIds,
)
from trio_dispatch.model.overlap import first_overlap, shared_components
from trio_dispatch.model.target import ElectricalComponentCategory
from trio_dispatch.testing import make_dispatch

RULES = st.none() | st.builds(
    RecurrenceRule,
    st.sampled_from([Frequency.MINUTELY, Frequency.HOURLY, Frequency.DAILY]),
    interval=st.integers(1, 7),
    end_criteria=st.none() | st.builds(EndCriteria, count=st.integers(1, 20)),
)
DISPATCHES = st.builds(
    lambda start, length, rule, active: make_dispatch(
        1,
        start_time=BEGIN + start * MINUTE,
        duration=None if length is None else length * MINUTE,
        recurrence=rule,
        active=active,
    ),
    st.integers(-DAY // MINUTE, 360),
    st.none() | st.integers(1, 90),
    RULES,
    st.sampled_from([True, True, True, False]),
)


def walk(first: Dispatch, second: Dispatch, end: datetime) -> datetime | None:
    moment = BEGIN
    while moment < end:
        if first.running_at(moment) and second.running_at(moment):
            return moment
        moment += MINUTE
    return None


@given(DISPATCHES, DISPATCHES)
def test_the_first_moment_at_which_both_run(first: Dispatch, second: Dispatch) -> None:
    found = first_overlap(first, second, BEGIN, within=6 * HOUR, max_steps=2000)
    assert found == walk(first, second, BEGIN + 6 * HOUR)
    assert found == first_overlap(second, first, BEGIN, within=6 * HOUR, max_steps=2000)


@given(DISPATCHES, DISPATCHES)
def test_a_search_that_is_given_up_finds_nothing_wrong(first: Dispatch, second: Dispatch) -> None:
    found = first_overlap(first, second, BEGIN, within=6 * HOUR, max_steps=3)
    assume(found is not None)
    assert found == walk(first, second, BEGIN + 6 * HOUR)


def test_the_work_is_bounded() -> None:
    # They run in turn, minute by minute, and never at the same time.
    rule = RecurrenceRule(Frequency.MINUTELY)
    half = timedelta(seconds=30)
    first = make_dispatch(1, start_time=BEGIN, duration=half, recurrence=rule)
    second = make_dispatch(2, start_time=BEGIN + half, duration=half, recurrence=rule)
    assert first_overlap(first, second, BEGIN) is None
    work = calls(lambda: first_overlap(first, second, BEGIN))
    assert calls(lambda: first_overlap(first, second, BEGIN, within=9999 * DAY)) < 1.2 * work


def test_pulses_and_dry_runs_do_not_run() -> None:
    run = make_dispatch(1, start_time=BEGIN, duration=HOUR)
    pulse = make_dispatch(2, start_time=BEGIN, duration=timedelta())
    rehearsal = make_dispatch(3, start_time=BEGIN, duration=HOUR, dry_run=True)
    assert first_overlap(run, pulse, BEGIN) is None
    assert first_overlap(run, rehearsal, BEGIN) is None
    assert first_overlap(run, run, BEGIN) == BEGIN


BATTERY, INVERTER = ElectricalComponentCategory.BATTERY, ElectricalComponentCategory.INVERTER


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        (TargetIds(1, 2, 3), TargetIds(2, 3, 4), ["component 2", "component 3"]),
        (TargetIds(1), TargetIds(2), []),
        (TargetIds(1), TargetCategories(BATTERY), []),
        (TargetCategories(BATTERY, INVERTER), TargetCategories(BATTERY), ["battery"]),
        (TargetCategories(BATTERY), TargetCategories(BatteryType.LI_ION), ["battery"]),
        (TargetCategories(BatteryType.NA_ION), TargetCategories(BatteryType.LI_ION), []),
        (TargetCategories(BATTERY), TargetCategories(INVERTER), []),
        (None, TargetIds(1), []),
        (None, None, []),
    ],
)
def test_what_targets_share(first: Target | None, second: Target | None, shared: list[str]) -> None:
    assert shared_components(first, second) == shared
    assert shared_components(second, first) == shared
