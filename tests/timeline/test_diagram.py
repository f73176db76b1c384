"""The layout of a picture, compared with what runs according to the dispatches."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.counting import calls
from tests.helpers.drawing import BEGIN, DAY, HOUR, MINUTE, dispatches, minutely
from trio_dispatch import Dispatch, Frequency, RecurrenceRule, TargetCategories, TargetIds
from trio_dispatch.model.target import BatteryType, ElectricalComponentCategory
from trio_dispatch.testing import make_dispatch
from trio_dispatch.timeline.diagram import Diagram, Row, make_diagram
from trio_dispatch.timeline.grouping import By, Grouping
from trio_dispatch.timeline.runs import Run, runs
from trio_dispatch.timeline.window import Window

MICROSECOND = timedelta.resolution
LAST = datetime.max.replace(tzinfo=UTC)


def window(length: timedelta = 6 * HOUR, begin: datetime = BEGIN) -> Window:
    return Window(begin, begin + length, begin, UTC)


def runs_at(run: Run, moment: datetime) -> bool:
    return run.start <= moment and (run.end is None or moment < run.end)


@given(dispatches(), st.sampled_from(["type", "target"]))
def test_at_each_minute_the_layout_has_what_runs(found: list[Dispatch], by: By) -> None:
    shown = window()
    bars = list(make_diagram(found, shown, Grouping(by)).bars())
    for minute in range(360):
        moment = shown.begin + minute * MINUTE
        planned = {bar.dispatch.id for bar in bars if runs_at(bar.run, moment)}
        assert planned == {each.id for each in found if each.running_at(moment)}
    pulses = {(bar.dispatch.id, bar.run.start) for bar in bars if bar.pulse}
    assert pulses == {
        (each.id, start)
        for each in found
        if each.is_pulse and each.active
        for start in occurrences(each, shown)
    }


def occurrences(dispatch: Dispatch, shown: Window) -> list[datetime]:
    found = []
    moment = dispatch.next_run_after(shown.begin)
    while moment is not None and moment < shown.end:
        found.append(moment)
        moment = dispatch.next_run_after(moment + MICROSECOND)
    return found


@given(dispatches())
def test_bars_are_clipped_at_the_window(found: list[Dispatch]) -> None:
    shown = window()
    for bar in make_diagram(found, shown).bars():
        assert bar.run.start < shown.end
        assert bar.clipped_left == (bar.run.start < shown.begin)
        assert bar.clipped_right == (bar.run.end is None or bar.run.end > shown.end)
        assert bar.endless == (bar.run.end is None)


@given(dispatches(), st.integers(1, 90))
def test_runs_that_cannot_be_told_apart_are_merged(found: list[Dispatch], minutes: int) -> None:
    shown, resolution = window(), minutes * MINUTE
    for dispatch in found:
        fine = list(runs(dispatch, shown.begin, shown.end))
        coarse = list(runs(dispatch, shown.begin, shown.end, resolution))
        # No run is lost, only runs that cannot be told apart are merged, and they are bounded.
        starts = [each.start for each in fine]
        assert [each.start for each in coarse] == [
            start
            for number, start in enumerate(starts)
            if not number or start - starts[number - 1] >= 3 * resolution
        ]
        for each in coarse:
            within = [run for run in fine if runs_within(run, each, coarse)]
            assert each.many == (len(within) > 1)
            assert each.end == within[-1].end
        assert len(coarse) <= 2 + (shown.end - shown.begin) / (3 * resolution)


def runs_within(run: Run, coarse: Run, every: list[Run]) -> bool:
    later = [each.start for each in every if each.start > coarse.start]
    return coarse.start <= run.start and (not later or run.start < min(later))


# Lanes.


@given(dispatches(most=12))
def test_lanes_do_not_overlap_and_are_as_few_as_possible(found: list[Dispatch]) -> None:
    shown = window()
    for row in make_diagram(found, shown).rows:
        spans = [(max(bar.run.start, BEGIN), bar.run.end or LAST, bar.lane) for bar in row.bars]
        no_overlap(spans)
        at_once = [
            # A pulse has no length; it needs a lane beside the runs around it.
            sum(a <= start < b for a, b, _ in spans)
            if start < end
            else 1 + sum(a < start < b for a, b, _ in spans)
            for start, end, _ in spans
        ]
        deepest = max(at_once)
        assert row.lanes == deepest
        assert {bar.lane for bar in row.bars} == set(range(row.lanes))


def no_overlap(spans: list[tuple[datetime, datetime, int]]) -> None:
    spans = sorted(spans, key=lambda span: (span[2], *span[:2]))
    for (_, end, lane), (start, _, other) in pairwise(spans):
        assert lane != other or end <= start


@given(dispatches(most=14), st.integers(1, 4), st.integers(0, 40))
def test_bars_without_a_lane_share_the_last(
    found: list[Dispatch], lanes: int, minutes: int
) -> None:
    shown = window()
    sizes: dict[str, Any] = {"resolution": minutes * MINUTE, "pulse": 2 * minutes * MINUTE}
    free = make_diagram(found, shown, **sizes)
    full = make_diagram(found, shown, **sizes, max_lanes=lanes)
    for row, every in zip(full.rows, free.rows, strict=True):
        assert row.lanes == min(lanes, every.lanes)
        assert sum(1 + bar.others for bar in row.bars) == len(every.bars)
        assert {bar.lane for bar in row.bars if bar.others} <= {lanes - 1}
        no_overlap([(*room(bar, shown, minutes * MINUTE), bar.lane) for bar in row.bars])


def room(bar: object, shown: Window, resolution: timedelta) -> tuple[datetime, datetime]:
    left = max(bar.run.start, shown.begin)  # type: ignore[attr-defined]
    if bar.pulse and not bar.others:  # type: ignore[attr-defined]
        return left - resolution, left + resolution
    end = bar.run.end  # type: ignore[attr-defined]
    return left, shown.end if end is None else min(end, shown.end)


def test_a_dispatch_stays_in_its_lane() -> None:
    daily = RecurrenceRule(Frequency.DAILY)
    early = make_dispatch(1, start_time=BEGIN + 8 * HOUR, duration=4 * HOUR, recurrence=daily)
    late = make_dispatch(2, start_time=BEGIN + 10 * HOUR, duration=4 * HOUR, recurrence=daily)
    # On the third day the first lane is free.
    other = make_dispatch(3, start_time=BEGIN + 3 * DAY, duration=HOUR)
    (row,) = make_diagram([late, other, early], window(5 * DAY)).rows
    lanes = {(bar.dispatch.id, bar.lane) for bar in row.bars}
    assert lanes == {(1, 0), (2, 1), (3, 0)}


# Rows.


def labels(diagram: Diagram) -> list[str]:
    return [row.label for row in diagram.rows]


def test_rows_by_type_and_by_target() -> None:
    categories = TargetCategories(ElectricalComponentCategory.INVERTER, BatteryType.LI_ION)
    found = [
        make_dispatch(1, start_time=BEGIN, type="b10", target=TargetIds(10)),
        make_dispatch(2, start_time=BEGIN, type="B9", target=TargetIds(9, 7, 8, 3)),
        make_dispatch(3, start_time=BEGIN, type="a", target=categories),
        make_dispatch(4, start_time=BEGIN, type="a", target=None),
        make_dispatch(5, start_time=BEGIN, type="off", active=False),
        make_dispatch(6, start_time=BEGIN - DAY, type="over"),
        make_dispatch(7, start_time=BEGIN, type="gone", deleted=True),
    ]
    diagram = make_diagram(found, window())
    assert labels(diagram) == ["a", "B9", "b10"]
    assert diagram.idle == ("off", "over")
    assert diagram.types == ("a", "B9", "b10", "off", "over")
    assert labels(make_diagram(found, window(), Grouping("target"))) == [
        "3,7-9",
        "10",
        "battery:li_ion,inverter",
        "no target",
    ]


def test_rows_beyond_the_limit_are_counted() -> None:
    found = [make_dispatch(n, start_time=BEGIN, type=f"T{n}") for n in range(30)]
    diagram = make_diagram(found, window(), max_rows=20)
    assert labels(diagram) == [f"T{n}" for n in range(20)]
    assert diagram.left_out == 10


# Cost.


def test_a_year_of_minutes_is_bounded() -> None:
    shown = window(365 * DAY)
    found = [minutely(n) for n in range(3)]
    diagram = make_diagram(found, shown, resolution=shown.part(320), max_lanes=12)
    # There are half a million runs of each.
    assert calls(lambda: make_diagram(found, shown, resolution=shown.part(320))) < 20_000
    assert [bar.run.many for bar in diagram.bars()] == [True] * 3


def test_the_number_of_bars_is_limited() -> None:
    shown = window(DAY)
    found = [
        make_dispatch(n, start_time=BEGIN + n * 7 * MINUTE / 20, duration=MINUTE)
        for n in range(4000)
    ]
    sizes: dict[str, Any] = {"resolution": MINUTE / 10, "max_lanes": 12}
    assert make_diagram(found, shown, **sizes).number_of_bars > 1000
    diagram = make_diagram(found, shown, **sizes, max_bars=500)
    assert 50 < diagram.number_of_bars <= 500
    assert sum(1 + bar.others for bar in diagram.bars()) == 4000


def rows_of(*found: Dispatch, length: timedelta = DAY) -> tuple[Row, ...]:
    return make_diagram(found, window(length)).rows


def test_to_the_end_of_time() -> None:
    begin = datetime(9999, 12, 31, 12, tzinfo=UTC)
    shown = Window(begin, LAST, begin, ZoneInfo("Asia/Tokyo"))
    found = [
        minutely(1, start_time=begin),
        make_dispatch(2, start_time=begin, duration=365 * DAY),
        make_dispatch(3, start_time=begin, duration=None),
    ]
    diagram = make_diagram(found, shown, resolution=shown.part(100))
    assert Counter(bar.dispatch.id for bar in diagram.bars()) == {1: 1, 2: 1, 3: 1}
    assert [bar.dispatch.id for bar in diagram.bars() if bar.endless] == [2, 3]


@pytest.mark.parametrize("minutes", [0, 1, 59])
def test_a_run_at_the_edge_of_the_window(minutes: int) -> None:
    over = make_dispatch(1, start_time=BEGIN - HOUR + minutes * MINUTE, duration=HOUR)
    assert len(rows_of(over)) == (1 if minutes else 0)
    assert rows_of(make_dispatch(1, start_time=BEGIN + DAY)) == ()
    assert len(rows_of(make_dispatch(1, start_time=BEGIN, duration=timedelta()))) == 1
