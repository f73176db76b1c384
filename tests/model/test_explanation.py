"""Why a dispatch runs or does not run: each reason, from values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.reporting import report_about
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.model.dispatchers import DispatcherInfo
from trio_dispatch.model.explanation import ReasonKind, acted, explain, explain_absence
from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule
from trio_dispatch.model.runs import (
    DispatchChange,
    ReportedRun,
    ReportKind,
    StopReason,
    apply_report,
)
from trio_dispatch.testing import make_dispatch

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SITE = DispatcherInfo("site-7", "1.0", NOW - 9 * HOUR, NOW - HOUR, 0)
RUNNING = make_dispatch(5, start_time=NOW - HOUR, duration=2 * HOUR)
OLD = make_dispatch(6, start_time=NOW - 9 * HOUR, duration=HOUR)


def run_of(dispatch: Dispatch, *kinds: ReportKind, **changes: Any) -> ReportedRun:
    run = None
    for kind in kinds:
        run = apply_report(run, report_about(dispatch, kind, **changes), dispatcher="site-7")
    assert run is not None
    return run


def kinds(dispatch: Dispatch, *runs: ReportedRun, **known: Any) -> list[ReasonKind]:
    arguments: dict[str, Any] = {"dispatchers": [SITE]}
    return [reason.kind for reason in explain(dispatch, NOW, runs=runs, **arguments | known)]


def changed(old: Dispatch | None, new: Dispatch | None, sequence: int = 1) -> DispatchChange:
    return DispatchChange(sequence, NOW - HOUR, 5, "desk", "192.0.2.1:5", old, new)


def rule(**fields: Any) -> RecurrenceRule:
    empty: dict[str, Any] = dict.fromkeys(
        ("byminutes", "byhours", "byweekdays", "bymonthdays", "bymonths"), ()
    )
    return RecurrenceRule.unchecked(
        **{"frequency": Frequency.DAILY, "interval": 1, "end_criteria": None} | empty | fields
    )


@pytest.mark.parametrize(
    ("dispatch", "expected"),
    [
        (RUNNING, [ReasonKind.RUNS]),
        (replace(RUNNING, active=False), [ReasonKind.INACTIVE]),
        (replace(RUNNING, dry_run=True), [ReasonKind.DRY_RUN, ReasonKind.RUNS]),
        (replace(RUNNING, target=None), [ReasonKind.NO_TARGET, ReasonKind.RUNS]),
        (replace(RUNNING, recurrence=rule(interval=0)), [ReasonKind.INVALID_RULE]),
        (
            replace(RUNNING, recurrence=rule(bymonthdays=(30,), bymonths=(2,))),
            [ReasonKind.NEVER_FIRES],
        ),
        (OLD, [ReasonKind.OVER]),
        (replace(OLD, recurrence=rule()), [ReasonKind.NEXT_RUN]),
        (
            replace(RUNNING, recurrence=rule()),
            [ReasonKind.RUNS, ReasonKind.NEXT_RUN],
        ),
        (
            replace(OLD, recurrence=rule(end_criteria=EndCriteria(count=1)), active=False),
            [ReasonKind.INACTIVE, ReasonKind.OVER],
        ),
        (make_dispatch(7, start_time=NOW + HOUR, duration=None), [ReasonKind.NEXT_RUN]),
    ],
)
def test_reasons_from_the_content(dispatch: Dispatch, expected: list[ReasonKind]) -> None:
    assert kinds(dispatch, dispatchers=None) == [*expected, ReasonKind.NOT_RECORDED]


def test_the_change_that_deactivated_it_is_named() -> None:
    inactive = replace(RUNNING, active=False)
    later = changed(inactive, replace(inactive, payload={"a": 1}), 3)
    deactivated = changed(RUNNING, inactive, 2)
    changes = [later, deactivated, changed(None, RUNNING)]
    reason = explain(inactive, NOW, changes=changes)[0]
    assert (reason.kind, reason.change) == (ReasonKind.INACTIVE, deactivated)
    created = changed(None, inactive)
    assert explain(inactive, NOW, changes=[created])[0].change == created
    assert explain(inactive, NOW, changes=[later])[0].change is None


def test_reasons_for_a_dispatch_that_is_not_there() -> None:
    assert explain_absence([]).kind is ReasonKind.UNKNOWN
    deleted = changed(RUNNING, None, 2)
    reason = explain_absence([deleted, changed(None, RUNNING)])
    assert (reason.kind, reason.change) == (ReasonKind.DELETED, deleted)
    reason = explain_absence([], microgrid_id=7)
    assert (reason.kind, reason.microgrid_id) == (ReasonKind.WRONG_MICROGRID, 7)


_ACTOR = {"actor": "charger", "component": 3, "attempt": 1}


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (run_of(RUNNING, ReportKind.STARTED, **_ACTOR), ReasonKind.RUNNING),
        (run_of(RUNNING, ReportKind.REJECTED, **_ACTOR, error="no power"), ReasonKind.REJECTED),
        (run_of(RUNNING, ReportKind.SKIPPED, **_ACTOR), ReasonKind.DRY_RUN),
        (
            run_of(RUNNING, ReportKind.STARTED, ReportKind.FAILED, **_ACTOR, error="no contact"),
            ReasonKind.FAILING,
        ),
        (
            run_of(RUNNING, ReportKind.STARTED, actor="charger", attempt=3, error="no contact"),
            ReasonKind.FAILING,
        ),
        (run_of(RUNNING, ReportKind.STARTED, ReportKind.COMPLETED), ReasonKind.COMPLETED),
        (run_of(RUNNING, ReportKind.MISSED), ReasonKind.MISSED),
        (
            run_of(RUNNING, ReportKind.STOPPED, reason=StopReason.OFFLINE),
            ReasonKind.STOPPED,
        ),
        (
            run_of(RUNNING, ReportKind.STOPPED, reason=StopReason.SUPERSEDED),
            ReasonKind.SUPERSEDED,
        ),
    ],
)
def test_reasons_from_reports(run: ReportedRun, expected: ReasonKind) -> None:
    assert kinds(RUNNING, run) == [ReasonKind.RUNS, expected]


def test_a_run_that_nobody_reported() -> None:
    assert kinds(RUNNING, dispatchers=[]) == [ReasonKind.RUNS, ReasonKind.NO_DISPATCHER]
    assert kinds(RUNNING) == [ReasonKind.RUNS, ReasonKind.NOT_REPORTED]
    # The one before was reported.
    daily = replace(RUNNING, recurrence=rule(), start_time=NOW - 25 * HOUR)
    before = run_of(daily, ReportKind.COMPLETED)
    assert kinds(daily, before) == [
        ReasonKind.RUNS,
        ReasonKind.NEXT_RUN,
        ReasonKind.NOT_REPORTED,
    ]
    # An occurrence before the last update may not have been one.
    moved = replace(OLD, update_time=NOW)
    assert kinds(moved) == [ReasonKind.OVER]


def test_an_actor_of_an_older_content_is_told() -> None:
    run = run_of(RUNNING, ReportKind.STARTED)
    updated = replace(RUNNING, update_time=NOW)
    assert kinds(updated, run) == [ReasonKind.RUNS, ReasonKind.OUTDATED, ReasonKind.RUNNING]


def test_the_superseding_dispatch_is_found() -> None:
    other = make_dispatch(9, start_time=NOW - HOUR / 2, duration=HOUR)
    superseded = run_of(
        RUNNING,
        ReportKind.STOPPED,
        time=other.start_time,
        reason=StopReason.SUPERSEDED,
        actor="charger",
        component=3,
    )
    elsewhere = run_of(other, ReportKind.STARTED, actor="charger", component=4)
    takes_over = run_of(other, ReportKind.STARTED, actor="charger", component=3)
    later = replace(takes_over, dispatch_id=10, started_time=NOW)
    reasons = explain(
        RUNNING,
        NOW,
        runs=[superseded],
        others=[later, elsewhere, takes_over, superseded],
        dispatchers=[SITE],
    )
    assert (reasons[-1].kind, reasons[-1].dispatch_id) == (ReasonKind.SUPERSEDED, 9)


def test_announcements_are_left_out_if_an_actor_reported() -> None:
    announced = run_of(RUNNING, ReportKind.STARTED)
    by_actor = run_of(RUNNING, ReportKind.FAILED, **_ACTOR)
    other = run_of(OLD, ReportKind.COMPLETED)
    assert acted([announced, by_actor, other]) == [by_actor, other]
    assert kinds(RUNNING, announced, by_actor) == [ReasonKind.RUNS, ReasonKind.FAILING]
