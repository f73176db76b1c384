"""Runs from reports; the limits of reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from trio_dispatch.model.runs import (
    MAX_DETAILS_BYTES,
    ReportedState,
    ReportKind,
    RunReport,
    StopReason,
    apply_report,
    details_size,
)

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def report(**changes: Any) -> RunReport:
    fields: dict[str, Any] = {
        "sequence": 1,
        "dispatch_id": 1,
        "start_time": START,
        "kind": ReportKind.STARTED,
        "time": START,
        "update_time": START,
        "type": "CHARGE",
    }
    return RunReport(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence": 0}, "sequence 0 is not from 1"),
        ({"dispatch_id": -1}, "dispatch_id -1 is not an integer"),
        ({"start_time": datetime(2026, 1, 1)}, "start_time .* has no time zone"),  # noqa: DTZ001
        ({"actor": "x" * 101}, "actor must have at most 100 characters, not 101"),
        ({"error": "ü" * 2100}, "error must have at most 4096 bytes, not 4200"),
        ({"details": {"a": "x" * 17_000}}, "details must have at most 16384 bytes, not 17"),
        ({"details": {"a": object()}}, "is not JSON"),
        ({"reason": StopReason.DELETED}, "does not fit the kind STARTED"),
        ({"attempt": -1}, "attempt -1 is not from 0"),
    ],
)
def test_an_invalid_report_is_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        report(**changes)


def test_times_become_utc_and_details_read_only() -> None:
    details = {"a": [1]}
    zone = timezone(timedelta(hours=2))
    made = report(start_time=START.astimezone(zone), details=details)
    details["a"].append(2)
    assert made.start_time.tzinfo is UTC
    assert made.details == {"a": [1]}


def test_a_later_attempt_reopens_a_failed_run() -> None:
    run = None
    for kind, changes in (
        (ReportKind.STARTED, {"attempt": 1}),
        (ReportKind.FAILED, {"attempt": 1, "error": "no contact"}),
        (ReportKind.STARTED, {"attempt": 2}),
    ):
        run = apply_report(run, report(kind=kind, **changes), dispatcher="d")
    assert run is not None
    assert (run.state, run.attempts, run.error) == (ReportedState.RUNNING, 2, "no contact")
    assert (run.started_time, run.ended_time) == (START, None)


def test_a_run_that_has_started_cannot_be_missed() -> None:
    completed = None
    for kind in (ReportKind.STARTED, ReportKind.COMPLETED):
        completed = apply_report(completed, report(kind=kind), dispatcher="d")
    missed = apply_report(completed, report(kind=ReportKind.MISSED), dispatcher="d")
    assert missed == completed
    first = apply_report(None, report(kind=ReportKind.MISSED), dispatcher="d")
    assert first.state is ReportedState.MISSED


def test_merged_details_drop_the_oldest_names_beyond_the_limit() -> None:
    run = None
    for number in range(6):
        details = {f"n{number}": "x" * 4000, "last": number}
        run = apply_report(run, report(kind=ReportKind.NOTED, details=details), dispatcher="d")
    assert run is not None
    assert details_size(run.details) <= MAX_DETAILS_BYTES
    assert {*run.details} == {"n3", "n4", "n5", "last"} | ({"n2"} & {*run.details})
    assert run.details["last"] == 5
