"""Reported runs as dispatches to draw."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

from tests.helpers.reporting import report_about
from trio_dispatch import Dispatch, ReportedRun, ReportKind, TargetIds
from trio_dispatch.model.runs import apply_report
from trio_dispatch.testing import make_dispatch
from trio_dispatch.timeline.actual import actual_runs
from trio_dispatch.timeline.diagram import make_diagram
from trio_dispatch.timeline.grouping import Grouping
from trio_dispatch.timeline.window import Window

VIRTUAL_START = make_dispatch().start_time
MINUTE = timedelta(minutes=1)
DISPATCH = make_dispatch(5, target=TargetIds(3, 4))
NOW = VIRTUAL_START + 20 * MINUTE


def drawn(*reports: Any, by_component: bool = False) -> Dispatch | None:
    run: ReportedRun | None = None
    for report in reports:
        run = apply_report(run, report, dispatcher="site-7")
    assert run is not None
    targets = {5: DISPATCH.target}
    return next(actual_runs([run], NOW, targets=targets, by_component=by_component), None)


def test_a_run_is_drawn_from_its_start_to_its_end() -> None:
    started = report_about(
        DISPATCH, time=VIRTUAL_START + MINUTE / 2, actor="charger", component=3, attempt=2
    )
    running = drawn(started)
    assert running is not None
    assert (running.type, running.start_time) == ("CHARGE", VIRTUAL_START + MINUTE / 2)
    assert running.duration == 19.5 * MINUTE
    assert running.target == TargetIds(3, 4)
    failed = report_about(
        DISPATCH, ReportKind.FAILED, time=VIRTUAL_START + 3 * MINUTE, actor="charger",
        component=3, error="no contact",
    )  # fmt: skip
    done = drawn(started, failed, by_component=True)
    assert done is not None
    assert (done.duration, done.target) == (2.5 * MINUTE, TargetIds(3))
    assert done.payload == {
        "state": "failed",
        "dispatcher": "site-7",
        "actor": "charger",
        "error": "no contact",
        "attempts": 2,
    }


def test_a_run_that_never_started_is_not_drawn() -> None:
    assert drawn(report_about(DISPATCH, ReportKind.MISSED)) is None


def test_a_pulse_is_drawn_as_one() -> None:
    pulse = make_dispatch(6, duration=timedelta())
    made = drawn(report_about(pulse))
    assert made is not None
    assert made.is_pulse


def test_actual_runs_do_not_override_each_other() -> None:
    runs = [
        apply_report(
            None,
            report_about(make_dispatch(id_), actor="charger", component=3),
            dispatcher="site-7",
        )
        for id_ in (1, 2)
    ]
    actual = [*actual_runs(runs, NOW, targets={}, by_component=True)]
    window = Window(VIRTUAL_START, NOW, NOW, UTC)
    diagram = make_diagram(actual, window, Grouping.by_component())
    [row] = diagram.rows
    assert (row.label, row.lanes) == ("component 3 actual", 2)
    assert not any(bar.overridden for bar in row.bars)
