"""Rows by component: what drives it on top, what is overridden below."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.counting import calls
from tests.helpers.drawing import BEGIN, DAY, HOUR, MINUTE, dispatches, minutely
from trio_dispatch import (
    BatteryType,
    Dispatch,
    ElectricalComponentCategory,
    Frequency,
    RecurrenceRule,
    TargetCategories,
    TargetIds,
    draw_timeline,
)
from trio_dispatch.model.arbitration import plan
from trio_dispatch.testing import make_dispatch
from trio_dispatch.timeline.diagram import Bar, Row, make_diagram
from trio_dispatch.timeline.grouping import Grouping
from trio_dispatch.timeline.window import Window

BY_COMPONENT = Grouping("component", priority=lambda dispatch: dispatch.id % 3)
SITE = {1: BatteryType.LI_ION, 2: BatteryType.NA_ION, 3: ElectricalComponentCategory.METER}
BATTERIES = TargetCategories(ElectricalComponentCategory.BATTERY)


def window(length: timedelta = 6 * HOUR) -> Window:
    return Window(BEGIN, BEGIN + length, BEGIN, UTC)


def lasting(id: int, start: float, hours: float, **fields: Any) -> Dispatch:
    return make_dispatch(id, start_time=BEGIN + start * HOUR, duration=hours * HOUR, **fields)


def rows(*found: Dispatch, length: timedelta = DAY, resolution: timedelta = MINUTE) -> list[Row]:
    grouping = Grouping("component")
    return list(make_diagram(found, window(length), grouping, resolution=resolution).rows)


def hours_of(bars: Sequence[Bar]) -> list[tuple[int, int, float, float, bool]]:
    """Lane, dispatch, start and end in hours, and whether it is overridden."""
    return [
        (
            bar.lane,
            bar.dispatch.id,
            (bar.run.start - BEGIN) / HOUR,
            ((bar.run.end or BEGIN) - BEGIN) / HOUR,
            bar.overridden,
        )
        for bar in bars
    ]


def test_the_winner_is_on_top_and_overridden_parts_are_below() -> None:
    (row,) = rows(lasting(1, 0, 6), lasting(2, 2, 2))
    assert hours_of(row.bars) == [
        (0, 1, 0, 2, False),
        (0, 2, 2, 4, False),
        (0, 1, 4, 6, False),
        (1, 1, 2, 4, True),
    ]


def test_types_do_not_override_each_other() -> None:
    other = lasting(2, 2, 2, type="OTHER")
    (row,) = rows(lasting(1, 0, 6), other, lasting(3, 6, 1))
    assert hours_of(row.bars) == [
        (0, 1, 0, 6, False),
        (1, 2, 2, 4, False),
        (0, 3, 6, 7, False),
    ]


def test_dry_runs_and_pulses_do_not_drive() -> None:
    dry, pulse = lasting(1, 1, 2, dry_run=True), lasting(2, 2, 0)
    (row,) = rows(dry, pulse, lasting(3, 0, 6))
    assert hours_of(row.bars) == [
        (0, 3, 0, 6, False),
        (1, 1, 1, 3, False),
        (2, 2, 2, 2, False),
    ]
    (alone,) = rows(dry)
    assert hours_of(alone.bars) == [(0, 1, 1, 3, False)]


def test_rows_are_the_components_of_all_targets() -> None:
    found = [
        lasting(1, 0, 1, target=TargetIds(1, 20)),
        lasting(2, 0, 1, target=BATTERIES),
        lasting(3, 0, 1, target=None),
        lasting(4, 0, 1, target=TargetIds(2), active=False),
    ]
    text = draw_timeline(found, BEGIN, now=BEGIN, by="component").text()
    assert "component 1 " in text
    assert "component 20" in text
    assert "Not in this time: component 2" in text
    svg = draw_timeline(found, BEGIN, now=BEGIN, by="component", components=SITE).svg()
    assert "component 2<" in svg
    assert "component 3" not in svg
    assert "component 20" not in svg, "the mapping does not have it"


def test_priority_decides() -> None:
    found = [lasting(1, 0, 6, payload={"first": True}), lasting(2, 2, 2)]
    picture = draw_timeline(
        found,
        BEGIN,
        now=BEGIN,
        by="component",
        priority=lambda dispatch: len(dispatch.payload),
    )
    svg = picture.svg()
    assert svg.count("bar pale") == 1
    assert "CHARGE #2\ntime: Mon 15 Jun 2026, 02:00 to 04:00, overridden" in svg
    assert "overridden</text>" in svg
    lines = picture.text(40).splitlines()
    assert "▁▁▁" in lines[3]
    assert "▁▁ overridden" in lines[-2] + lines[-1]


def test_the_page_marks_overridden_runs() -> None:
    found = [lasting(1, 0, 6), lasting(2, 2, 2)]
    page = draw_timeline(found, BEGIN, now=BEGIN, by="component").html()
    begin, hour = round(BEGIN.timestamp() * 1000), 3_600_000
    assert f",{begin + 2 * hour},{begin + 4 * hour},1,4,0]" in page


def test_a_run_without_an_end_is_an_arrow_only_where_it_drives_to_the_end() -> None:
    forever = make_dispatch(1, start_time=BEGIN + HOUR, duration=None)
    (row,) = rows(forever, lasting(2, 2, 2), lasting(3, 20, 9))
    assert [(bar.dispatch.id, bar.endless, bar.overridden) for bar in row.bars] == [
        (1, False, False),
        (2, False, False),
        (1, False, False),
        (3, False, False),
        (1, False, True),
        (1, True, True),
    ]


# Against the plan of a component, and what runs.


@given(dispatches(), st.sampled_from([1, 2]))
def test_at_each_minute_the_row_is_the_plan(found: list[Dispatch], component: int) -> None:
    shown = window()
    grouping = BY_COMPONENT
    layout = make_diagram(found, shown, grouping)
    row = next((each for each in layout.rows if each.label == f"component {component}"), None)
    bars = () if row is None else row.bars
    intervals = [
        each
        for type_ in ("A", "B")
        for each in plan(found, component, BEGIN, shown.end, type=type_, priority=grouping.priority)
    ]
    for minute in range(360):
        moment = BEGIN + minute * MINUTE
        there = [bar for bar in bars if covers(bar, moment) and not bar.dispatch.dry_run]
        driving = [bar for bar in there if not bar.overridden]
        expected = [each.dispatch.id for each in intervals if each.begin <= moment < each.end]
        assert sorted(bar.dispatch.id for bar in driving) == sorted(expected)
        assert {bar.dispatch.id for bar in there} == {
            each.id
            for each in found
            if each.running_at(moment)
            and not each.dry_run
            and each.target is not None
            and component in each.target
        }
        assert len(there) == len({bar.dispatch.id for bar in there})


def covers(bar: Bar, moment: datetime) -> bool:
    return bar.run.start <= moment and (bar.run.end is None or moment < bar.run.end)


@given(dispatches(most=12), st.integers(1, 90), st.integers(1, 4))
def test_at_a_resolution_lanes_do_not_overlap(
    found: list[Dispatch], minutes: int, lanes: int
) -> None:
    shown, resolution = window(), minutes * MINUTE
    layout = make_diagram(
        found, shown, BY_COMPONENT, resolution=resolution, pulse=resolution, max_lanes=lanes
    )
    for row in layout.rows:
        assert row.lanes <= lanes + 1
        for lane in range(row.lanes):
            bars = sorted(
                (bar for bar in row.bars if bar.lane == lane), key=lambda bar: bar.run.start
            )
            for one, other in pairwise(bars):
                assert one.run.end is not None
                assert one.run.end <= other.run.start or one.pulse or other.pulse


def test_what_drives_by_turns_too_quickly_is_merged() -> None:
    turns = [
        minutely(n, start_time=BEGIN + n * 20 * MINUTE / 60, target=TargetIds(1)) for n in range(3)
    ]
    (row,) = rows(*turns, resolution=10 * MINUTE)
    (bar,) = row.bars
    assert (bar.others, bar.run.many, bar.run.start) == (2, True, BEGIN)


def test_short_runs_of_one_dispatch_are_merged() -> None:
    rule = RecurrenceRule(Frequency.MINUTELY, 10)
    (row,) = rows(lasting(1, 0, 1 / 30, recurrence=rule), resolution=15 * MINUTE)
    (bar,) = row.bars
    assert (bar.others, bar.run.many) == (0, True)


@pytest.mark.parametrize("days", [1, 365, 3650])
def test_the_work_does_not_depend_on_the_length(days: int) -> None:
    found = [
        minutely(n, duration=(n + 1) * MINUTE, target=TargetIds(1), start_time=BEGIN - n * MINUTE)
        for n in range(4)
    ]
    shown = window(days * DAY)
    work = calls(lambda: make_diagram(found, shown, BY_COMPONENT, resolution=shown.part(320)))
    assert work < 400_000
