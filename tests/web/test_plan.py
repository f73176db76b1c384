"""What the page draws, compared with what actors are shown; and how much work it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings

from tests.helpers.counting import calls
from tests.helpers.drawing import BEGIN, MINUTE, dispatches
from tests.helpers.effort import cases
from tests.helpers.paging import paged
from trio_dispatch import Dispatch, Frequency, RecurrenceRule, TargetIds, clock
from trio_dispatch.model.arbitration import plan
from trio_dispatch.model.runs import ReportedRun, ReportedState, StopReason
from trio_dispatch.testing import make_dispatch
from trio_dispatch.timeline.grouping import By, Grouping
from trio_dispatch.web import plan as page_plan
from trio_dispatch.web.layout import CONFLICT, MANY, OVERRIDDEN, PULSE
from trio_dispatch.web.plan import (
    CLIPPED_LEFT,
    CLIPPED_RIGHT,
    PlanMemory,
    PlanQuery,
    encode_plan,
)

HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def millis(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def drawn(
    found: Iterable[Dispatch],
    *,
    begin: datetime = BEGIN,
    length: timedelta = 6 * HOUR,
    runs: Sequence[ReportedRun] = (),
    by: By = "component",
    resolution: timedelta = timedelta.resolution,
    now: datetime = BEGIN,
    **more: Any,
) -> dict[str, Any]:
    query = PlanQuery(begin, begin + length, resolution, by, **more)
    grouping = Grouping.by_component() if by == "component" else Grouping(by)
    answer: dict[str, Any] = json.loads(encode_plan(query, now, [*found], runs, grouping, {}))
    return answer


def row(answer: dict[str, Any], label: str) -> dict[str, Any]:
    (found,) = (each for each in answer["rows"] if each["label"] == label)
    return dict(found)


def charge(id: int, start: timedelta = timedelta(), **more: Any) -> Dispatch:
    values: dict[str, Any] = {
        "id": id, "type": "CHARGE", "start_time": BEGIN + start, "duration": HOUR,
        "target": TargetIds(1), **more,
    }  # fmt: skip
    return make_dispatch(**values)


@settings(max_examples=cases(30, long=1000))
@given(dispatches())
def test_top_of_a_component_is_what_its_actor_is_shown(found: list[Dispatch]) -> None:
    answer = drawn(found)
    for each in answer["rows"]:
        component = each["component"]
        assert each["label"] == f"component {component}"
        for type in {dispatch.type for dispatch in found}:
            for interval in plan(found, component, BEGIN, BEGIN + 6 * HOUR, type=type):
                middle = millis(interval.begin + (interval.end - interval.begin) / 2)
                driving = [
                    bar
                    for bar in each["bars"]
                    if bar[0] == interval.dispatch.id
                    and not bar[4] & (OVERRIDDEN | PULSE)
                    and bar[1] <= middle < (bar[2] or 10**15)
                ]
                assert len(driving) == 1


def test_flags_of_bars() -> None:
    answer = drawn(
        [
            charge(1, -HOUR / 2),
            charge(2, HOUR, duration=2 * HOUR),
            charge(3, HOUR + MINUTE, duration=MINUTE),
            charge(4, 5 * HOUR, duration=None, target=TargetIds(2), dry_run=True),
            charge(5, HOUR, duration=timedelta(), target=TargetIds(2)),
            charge(6, HOUR, type="DISCHARGE", target=TargetIds(3)),
            charge(7, HOUR + MINUTE, target=TargetIds(3)),
            charge(8, 4 * HOUR, target=TargetIds(3)),
        ]
    )
    flags = {
        label: [(bar[0], bar[4]) for bar in row(answer, f"component {label}")["bars"]]
        for label in (1, 2, 3)
    }
    assert flags[1] == [(1, CLIPPED_LEFT), (2, 0), (3, 0), (2, 0), (2, OVERRIDDEN)]
    assert flags[2] == [(5, PULSE), (4, CLIPPED_RIGHT)]
    assert flags[3] == [(6, CONFLICT), (7, CONFLICT), (8, 0)]
    assert row(answer, "component 2")["bars"][1][2] is None
    assert answer["dispatches"]["4"]["dry_run"]
    assert answer["dispatches"]["4"]["endless"]


def test_runs_that_cannot_be_told_apart_are_merged() -> None:
    often = charge(1, duration=30 * SECOND, recurrence=RecurrenceRule(Frequency.MINUTELY))
    (bar,) = row(drawn([often], resolution=HOUR), "component 1")["bars"]
    assert bar[4] & MANY
    assert len(row(drawn([often], resolution=SECOND), "component 1")["bars"]) == 360


def test_heights_come_from_the_payload() -> None:
    found = [
        charge(1, payload={"power_kw": -5, "limit": {"kw": 1}, "note": "x", "on": True}),
        charge(2, payload={"power_kw": 7.5}),
        charge(3, payload={"power_kw": "much", "a.b": 4}),
    ]
    answer = drawn(found, by="type", height="power_kw")
    assert answer["height"] == {"key": "power_kw", "min": -5, "max": 7.5}
    assert answer["height_keys"] == ["a.b", "limit.kw", "power_kw"]
    heights = [answer["dispatches"][str(id_)]["height"] for id_ in (1, 2, 3)]
    assert heights == [-5, 7.5, None]
    assert drawn(found, by="type", height="limit.kw")["height"]["max"] == 1
    assert drawn(found, by="type", height="a.b")["height"]["max"] == 4
    assert drawn(found, by="type", height="nothing")["height"] is None


def reported(
    dispatch_id: int = 1,
    start: timedelta = timedelta(),
    state: ReportedState = ReportedState.COMPLETED,
    length: timedelta | None = HOUR,
    **more: Any,
) -> ReportedRun:
    due = BEGIN + start
    began = None if state in {ReportedState.MISSED, ReportedState.REJECTED} else due + SECOND
    values: dict[str, Any] = {
        "dispatcher": "site", "dispatch_id": dispatch_id, "start_time": due, "actor": "charge",
        "component": 1, "type": "CHARGE", "dry_run": False, "state": state, "reason": None,
        "until": due + HOUR, "started_time": began,
        "ended_time": None if began is None or length is None else due + length,
        "update_time": BEGIN, "attempts": 1, "error": "", "details": {}, "report_time": due,
    }  # fmt: skip
    return ReportedRun(**values | more)


def test_reported_runs_and_marks() -> None:
    runs = [
        reported(),
        reported(actor="", component=None),  # the announcement of the same run
        reported(start=2 * HOUR, state=ReportedState.STOPPED, reason=StopReason.DELETED),
        reported(start=2 * HOUR, component=5, state=ReportedState.FAILED, error="<b>"),
        reported(start=4 * HOUR, state=ReportedState.RUNNING, length=None),
        reported(start=3 * HOUR, state=ReportedState.MISSED),
        reported(start=3 * HOUR + SECOND, state=ReportedState.MISSED),
        reported(start=-5 * HOUR),
        reported(start=7 * HOUR),
        reported(9, state=ReportedState.REJECTED, component=None),
    ]
    answer = drawn([charge(1)], runs=runs, resolution=MINUTE, now=BEGIN + 5 * HOUR)
    first = row(answer, "component 1")
    assert [(each["start"], each["state"], each["end"] is None) for each in first["actual"]] == [
        (millis(BEGIN + SECOND), "completed", False),
        (millis(BEGIN + 2 * HOUR + SECOND), "stopped", False),
        (millis(BEGIN + 4 * HOUR + SECOND), "running", True),
    ]
    assert first["actual_lanes"] == 1
    assert first["actual"][1]["reason"] == "deleted"
    assert [(each["at"], each["others"]) for each in first["marks"]] == [
        (millis(BEGIN + 3 * HOUR), 1)
    ]
    # A component for which nothing is planned any more has a row as well.
    (failed,) = row(answer, "component 5")["actual"]
    assert (failed["state"], failed["error"]) == ("failed", "<b>")
    assert row(answer, "component 5")["bars"] == []
    by_type = drawn([charge(1)], runs=runs, by="type", resolution=MINUTE)
    assert [each["dispatch"] for each in row(by_type, "CHARGE")["marks"]] == [9, 1]


def daily(number: int) -> list[Dispatch]:
    return [
        charge(
            id_,
            timedelta(minutes=13 * id_ % 1440),
            type=("CHARGE", "DISCHARGE", "HEAT")[id_ % 3],
            target=TargetIds(id_ % 100, (id_ + 1) % 100),
            recurrence=RecurrenceRule(Frequency.DAILY),
            payload={"power_kw": id_ % 11},
        )
        for id_ in range(1, number + 1)
    ]


@pytest.mark.parametrize(
    ("length", "by", "most_bytes", "most_calls"),
    [
        (30 * DAY, "component", 500_000, 550_000),
        (365 * DAY, "component", 200_000, 700_000),
        (365 * DAY, "type", 20_000, 700_000),
    ],
)
def test_size_and_work_of_a_plan_are_bounded(
    length: timedelta, by: By, most_bytes: int, most_calls: int
) -> None:
    query = PlanQuery(BEGIN, BEGIN + length, length / 300, by, height="power_kw")
    grouping = Grouping.by_component() if by == "component" else Grouping(by)
    assert len(encode_plan(query, BEGIN, daily(1000), [], grouping, {})) < most_bytes
    found = daily(cases(200, long=1000))
    most_calls *= len(found) // 200
    memory = PlanMemory()

    def compute() -> None:
        encode_plan(query, BEGIN, found, [], grouping, {}, memory)

    assert calls(compute) < most_calls
    # A change computes only its rows again.
    found[5] = replace(found[5], duration=2 * HOUR)
    assert calls(compute) < most_calls / 10
    assert encode_plan(query, BEGIN, found, [], grouping, {}, memory) == encode_plan(
        query, BEGIN, found, [], grouping, {}
    )


def test_many_bars_make_the_resolution_coarser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_plan, "_MAX_BARS", 200)
    hourly = RecurrenceRule(Frequency.HOURLY)
    found = [
        charge(id_, target=TargetIds(id_), recurrence=hourly, duration=30 * MINUTE)
        for id_ in range(1, 10)
    ]
    answer = drawn(found, length=2 * DAY, resolution=MINUTE)
    assert sum(len(each["bars"]) for each in answer["rows"]) <= 200
    assert answer["resolution"] == 32 * 60_000


def test_more_rows_than_bars_are_drawn_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_plan, "_MAX_BARS", 20)
    answer = drawn([charge(1, target=TargetIds(*range(1, 31)))], length=DAY, resolution=MINUTE)
    assert len(answer["rows"]) == 30


async def test_plan_is_computed_in_a_thread_once_for_all_pages(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []
    original = page_plan.encode_plan

    def encode(*args: Any) -> bytes:
        with pytest.raises(RuntimeError):
            trio.lowlevel.current_task()  # not in the thread of the event loop
        computed.append("plan")
        return original(*args)

    monkeypatch.setattr("trio_dispatch.web.routes.plan.encode_plan", encode)
    async with paged() as site:
        browsers = [await site.browser() for _ in range(5)]
        now = millis(clock.now())
        window = {"microgrid": 1, "from": now, "to": now + 3_600_000}
        answers: list[Any] = []

        async def ask(number: int) -> None:
            answers.append(await browsers[number].ask("/api/plan", **window))

        async def ask_all() -> None:
            async with trio.open_nursery() as nursery:
                for number in range(5):
                    nursery.start_soon(ask, number)

        await ask_all()
        assert len(computed) == 1
        await ask_all()
        assert len(computed) == 1
        await site.client.create(1, type="X", start_time="NOW", duration=HOUR, target=TargetIds(1))
        await trio.sleep(1)
        await ask_all()
        assert len(computed) == 2
        assert answers[-1]["version"] == answers[0]["version"] + 1
        assert [each["label"] for each in answers[-1]["rows"]] == ["component 1"]
        plain = await browsers[0].http.get(
            "/api/plan", params=window, headers={"Accept-Encoding": "identity"}
        )
        assert plain.json() == answers[-1]
