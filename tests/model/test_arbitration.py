"""Which dispatch drives a component, held against a walk over every minute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.drawing import RULES
from trio_dispatch import (
    BatteryType,
    Dispatch,
    ElectricalComponentCategory,
    EndCriteria,
    Frequency,
    RecurrenceRule,
    TargetCategories,
    TargetIds,
)
from trio_dispatch.model.arbitration import PlannedInterval, Sweep, plan, rank
from trio_dispatch.model.target import ComponentType, TargetCategory
from trio_dispatch.testing import make_dispatch

BEGIN = datetime(2026, 6, 15, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
END = BEGIN + 6 * HOUR
LAST = datetime.max.replace(tzinfo=UTC)
BATTERY = ElectricalComponentCategory.BATTERY
Kind: TypeAlias = ElectricalComponentCategory | ComponentType | TargetCategory

SITE: dict[int, Kind] = {
    1: BatteryType.LI_ION,
    2: BatteryType.NA_ION,
    3: ElectricalComponentCategory.METER,
}
MINUTELY = RecurrenceRule(Frequency.MINUTELY)


def priority(dispatch: Dispatch) -> float:
    found = dispatch.payload.get("priority")
    return found if isinstance(found, float) else 0


def planned(*dispatches: Dispatch, component: int = 1) -> list[tuple[int, float, float]]:
    """Which dispatch drives from what minute to what minute."""
    return [
        (each.dispatch.id, (each.begin - BEGIN) / MINUTE, (each.end - BEGIN) / MINUTE)
        for each in plan(dispatches, component, BEGIN, END, priority=priority)
    ]


def lasting(id: int, start: float, minutes: float, **fields: Any) -> Dispatch:
    fields["payload"] = {"priority": fields.pop("priority", 0)}
    return make_dispatch(id, start_time=BEGIN + start * MINUTE, duration=minutes * MINUTE, **fields)


# The rule.


def test_the_latest_start_drives_and_the_earlier_one_takes_over_again() -> None:
    assert planned(lasting(1, 0, 60), lasting(2, 10, 20)) == [(1, 0, 10), (2, 10, 30), (1, 30, 60)]


def test_the_highest_priority_drives_whatever_starts_later() -> None:
    first, second = lasting(1, 0, 30, priority=2), lasting(2, 10, 40, priority=1)
    assert planned(second, first) == [(1, 0, 30), (2, 30, 50)]


def test_the_highest_id_drives_of_those_that_start_together() -> None:
    assert planned(lasting(2, 0, 10), lasting(1, 0, 20)) == [(2, 0, 10), (1, 10, 20)]


def test_an_interval_for_each_run() -> None:
    quarterly = RecurrenceRule(Frequency.MINUTELY, 15, EndCriteria(count=3))
    assert planned(lasting(1, 0, 15, recurrence=quarterly)) == [
        (1, 0, 15),
        (1, 15, 30),
        (1, 30, 45),
    ]


def test_what_does_not_run_does_not_drive() -> None:
    assert (
        planned(
            lasting(1, 0, 10, active=False),
            lasting(2, 0, 10, deleted=True),
            lasting(3, 0, 0),
            lasting(4, 0, 10, dry_run=True),
            lasting(5, 0, 10, target=TargetIds(2)),
            lasting(6, 0, 10, target=None),
            lasting(7, 0, 10, target=TargetCategories(BATTERY)),
        )
        == []
    )


def test_categories_and_dry_runs_on_demand() -> None:
    dry = lasting(1, 0, 10, dry_run=True)
    battery = lasting(2, 5, 10, target=TargetCategories(BATTERY))
    found = plan([dry, battery], 1, BEGIN, END, components=SITE, dry_runs=True)
    assert [each.dispatch.id for each in found] == [1, 2]
    assert list(plan([battery], 3, BEGIN, END, components=SITE)) == []


def test_only_one_type() -> None:
    other = lasting(2, 5, 10, type="OTHER")
    (interval,) = plan([lasting(1, 0, 60), other], 1, BEGIN, END, type="CHARGE")
    assert interval.dispatch.id == 1


def test_the_plan_is_cut_to_its_window() -> None:
    (interval,) = plan([lasting(1, -10, 10_000)], 1, BEGIN, END)
    assert interval == PlannedInterval(BEGIN, END, lasting(1, -10, 10_000), BEGIN - 10 * MINUTE)
    assert list(plan([lasting(1, 0, 10)], 1, END, BEGIN)) == []


@pytest.mark.parametrize(
    ("component", "begin", "message"),
    [(-1, BEGIN, "component -1 is not"), (1, BEGIN.replace(tzinfo=None), "has no time zone")],
)
def test_invalid_arguments_are_refused_at_once(
    component: int, begin: datetime, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plan([], component, begin, END)


@pytest.mark.parametrize("value", [float("nan"), None, "high"])
def test_a_priority_is_a_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"the priority .* of dispatch 7 is not a number"):
        plan([lasting(7, 0, 1)], 1, BEGIN, END, priority=lambda dispatch: value)


# Against a walk over every minute.


@st.composite
def dispatches(draw: st.DrawFn) -> list[Dispatch]:
    targets = st.sampled_from(
        [
            TargetIds(1), TargetIds(1, 2), TargetIds(2, 3), TargetCategories(BATTERY),
            TargetCategories(BatteryType.NA_ION), None,
        ]
    )  # fmt: skip
    ids = draw(st.lists(st.integers(0, 30), max_size=9, unique=True))
    return [
        make_dispatch(
            id_,
            target=draw(targets),
            start_time=BEGIN + draw(st.integers(-2000, 400)) * MINUTE,
            duration=draw(
                st.sampled_from([None, timedelta(), MINUTE, 7 * MINUTE, HOUR, 5 * HOUR, 26 * HOUR])
            ),
            recurrence=draw(RULES),
            active=draw(st.sampled_from([True, True, True, False])),
            dry_run=draw(st.sampled_from([False, False, True])),
            payload={"priority": draw(st.integers(0, 2))},
        )
        for id_ in ids
    ]


class Run:
    def __init__(self, dispatch: Dispatch, start: datetime) -> None:
        self.dispatch = dispatch
        self.start = start


TARGETS = {
    TargetCategories(BATTERY): {1, 2},
    TargetCategories(BatteryType.NA_ION): {2},
    None: set[int](),
}


def by_definition(
    found: list[Dispatch], component: int, moment: datetime, dry_runs: bool
) -> tuple[int, datetime] | None:
    """What drives a component at a moment, read off the sentence that defines it."""
    best: tuple[float, datetime, int] | None = None
    for each in found:
        start = each.last_start(moment)
        if (
            each.active
            and (dry_runs or not each.dry_run)
            and component in TARGETS.get(each.target, each.target or ())  # type: ignore[arg-type]
            and start is not None
            and (each.duration is None or moment < start + each.duration)
        ):
            rank = (priority(each), start, each.id)
            best = rank if best is None else max(best, rank)
    return None if best is None else (best[2], best[1])


@given(dispatches(), st.integers(1, 3), st.booleans())
def test_at_every_minute_the_plan_is_the_definition(
    found: list[Dispatch], component: int, dry_runs: bool
) -> None:
    intervals = list(
        plan(found, component, BEGIN, END, components=SITE, priority=priority, dry_runs=dry_runs)
    )
    assert all(one.begin < one.end <= other.begin for one, other in pairwise(intervals))
    walk = iter(intervals)
    current = next(walk, None)
    moment = BEGIN
    while moment < END:
        while current is not None and current.end <= moment:
            current = next(walk, None)
        there = current is not None and current.begin <= moment
        expected = by_definition(found, component, moment, dry_runs)
        assert (
            (current.dispatch.id, current.start) if there and current is not None else None
        ) == expected
        moment += MINUTE


@given(dispatches())
def test_the_one_that_drives_is_the_same_for_an_actors_members(found: list[Dispatch]) -> None:
    for minutes in range(0, 360, 17):
        moment = BEGIN + minutes * MINUTE
        runs = [Run(each, start) for each in found if (start := each.run_at(moment)) is not None]
        best = max(runs, key=lambda run: rank(run, priority(run.dispatch)), default=None)
        expected, _ = Sweep(found, priority).look(moment)
        assert (best is None) == (expected is None)
        if best is not None and expected is not None:
            assert (best.dispatch, best.start) == (expected.dispatch, expected.start)


@given(dispatches(), st.lists(st.integers(0, 400), max_size=8).map(sorted))
def test_a_sweep_may_leap(found: list[Dispatch], minutes: list[int]) -> None:
    sweep = Sweep(found, priority)
    for each in minutes:
        moment = BEGIN + each * MINUTE
        run, change = sweep.look(moment)
        fresh, same_change = Sweep(found, priority).look(moment)
        assert (run is None) == (fresh is None)
        if run is not None and fresh is not None:
            assert (run.dispatch.id, run.start) == (fresh.dispatch.id, fresh.start)
        assert change == same_change
        assert change is None or change > moment


# Cost, counted in questions to dispatches.


class Counted(Dispatch):
    """A dispatch that counts the questions to its rule."""

    questions = 0

    def last_start(self, moment: datetime) -> datetime | None:
        Counted.questions += 1
        return super().last_start(moment)

    def first_after(self, moment: datetime, *, inclusive: bool = False) -> datetime | None:
        Counted.questions += 1
        return super().first_after(moment, inclusive=inclusive)


def counted(intervals: Iterator[PlannedInterval], number: int) -> list[int]:
    """How many questions each of the first intervals took."""
    found = []
    for _ in range(number):
        Counted.questions = 0
        if next(intervals, None) is None:
            break
        found.append(Counted.questions)
    return found


def make_counted(dispatch: Dispatch) -> Counted:
    return Counted(
        **{
            name: getattr(dispatch, name)
            for name in ("id", "type", "start_time", "duration", "target", "payload", "recurrence")
        }
    )


def test_a_lower_priority_costs_nothing_while_a_higher_one_runs() -> None:
    low = make_counted(lasting(1, -10_000, 2, recurrence=MINUTELY))
    high = lasting(2, 0, 60 * 24 * 365, priority=1)
    (first,) = counted(plan([low, high], 1, BEGIN, BEGIN + 365 * DAY, priority=priority), 9)
    assert first == 0
    costs = counted(plan([low, high], 1, BEGIN, BEGIN + 400 * DAY, priority=priority), 4)
    assert costs == [0, 2, 2, 2]


def test_a_step_asks_each_dispatch_twice_at_most() -> None:
    found = [
        make_counted(
            lasting(
                n, -n, 3, recurrence=RecurrenceRule(Frequency.MINUTELY, n % 5 + 1), priority=n % 3
            )
        )
        for n in range(40)
    ]
    costs = counted(plan(found, 1, BEGIN, LAST, priority=priority), 3000)
    assert len(costs) == 3000
    assert max(costs) <= 2 * len(found)


def test_a_walk_holds_no_more_runs_than_there_are_dispatches() -> None:
    found = [lasting(n, 0, 10_000, recurrence=MINUTELY) for n in range(3)]
    sweep = Sweep(found)
    for minute in range(5000):
        sweep.look(BEGIN + minute * MINUTE)
    assert all(len(level._runs) <= 2 * len(found) + 64 for level in sweep._levels)


def test_a_rule_without_an_end_to_the_end_of_time() -> None:
    forever = replace(lasting(1, 0, 1), duration=None)
    (interval,) = plan([forever], 1, BEGIN, LAST)
    assert (interval.begin, interval.end) == (BEGIN, LAST)
    dense = plan([lasting(1, 0, 10, recurrence=MINUTELY)], 1, BEGIN, LAST)
    assert len(list(islice(dense, 1000))) == 1000
