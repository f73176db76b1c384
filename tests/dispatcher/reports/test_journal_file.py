"""The file of a journal, cut, damaged and filled up."""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trio_dispatch.dispatcher.reports.journal_file import (
    JournalState,
    SavedReports,
    append,
    load,
    rewrite,
)
from trio_dispatch.model.runs import ReportKind, RunReport, StopReason

START = datetime(2026, 1, 1, tzinfo=UTC)
STATE = JournalState(1, "site-7", "me")


def report(sequence: int, kind: ReportKind = ReportKind.STARTED, **fields: object) -> RunReport:
    reason = StopReason.DELETED if kind is ReportKind.STOPPED else None
    given: dict[str, object] = {
        "dispatch_id": sequence,
        "start_time": START,
        "time": START + timedelta(seconds=sequence),
        "update_time": START,
        "type": "CHARGE",
        "reason": reason,
    }
    return RunReport(sequence=sequence, kind=kind, **(given | fields))  # type: ignore[arg-type]


def loaded(path: Path) -> SavedReports:
    return load(path, 1, "site-7")


def test_nothing_is_read_without_a_file(tmp_path: Path) -> None:
    first, second = loaded(tmp_path / "reports"), loaded(tmp_path / "reports")
    assert (first.state.next, [*first.waiting], [*first.open_runs]) == (1, [], [])
    assert first.state.reporter != second.state.reporter


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    path = tmp_path / "reports"
    details = report(2, actor="charge", component=7, attempt=3, details={"soc": [0.5, None]})
    ended = report(3, ReportKind.STOPPED, dispatch_id=1, error="e", until=START, dry_run=True)
    rewrite(path, [report(1)], replace(STATE, next=2))
    append(path, [details, ended], replace(STATE, next=4, lost=5))
    saved = loaded(path)
    assert saved.state == replace(STATE, next=4, lost=5)
    assert [*saved.waiting] == [report(1), details, ended]
    assert [*saved.open_runs] == [details]


def test_run_that_has_not_ended_outlives_the_delivery_of_its_reports(tmp_path: Path) -> None:
    path = tmp_path / "reports"
    rewrite(path, [report(1), report(2)], replace(STATE, next=3))
    ended = report(3, ReportKind.COMPLETED, dispatch_id=1)
    append(path, [ended], replace(STATE, first=3, next=4))
    append(path, [], replace(STATE, first=4, next=4))
    saved = loaded(path)
    assert (saved.state.first, [*saved.waiting], [*saved.open_runs]) == (4, [], [report(2)])


def test_file_that_ends_anywhere_is_read_up_to_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    path = tmp_path / "reports"
    rewrite(path, [report(1)], replace(STATE, next=2))
    whole = path.stat().st_size
    append(path, [report(2), report(3)], replace(STATE, next=4))
    data = path.read_bytes()
    for end in range(whole, len(data)):
        for rest in (b"", bytes(40)):
            path.write_bytes(data[:end] + rest)
            saved = loaded(path)
            read = [each.sequence for each in saved.waiting]
            assert read == [1, 2, 3][: len(read)], "in order, without a gap"
            assert saved.state.reporter == "me"
            # No number of what was not delivered is used again.
            assert saved.state.next >= 4 or (not rest and end == whole)


@pytest.mark.parametrize(
    ("microgrid_id", "dispatcher", "why"),
    [(2, "site-7", "of microgrid 1, not 2"), (1, "site-8", "of dispatcher 'site-7', not 'site-8'")],
)
def test_file_of_another_dispatcher_is_renamed(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    microgrid_id: int,
    dispatcher: str,
    why: str,
) -> None:
    path = tmp_path / "reports"
    rewrite(path, [report(1)], replace(STATE, next=2))
    saved = load(path, microgrid_id, dispatcher)
    assert ([*saved.waiting], saved.state.next) == ([], 1)
    assert saved.state.reporter != "me"
    assert (path.exists(), (tmp_path / "reports.bad").exists()) == (False, True)
    assert why in caplog.text


def test_damaged_file_is_renamed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "reports"
    rewrite(path, [report(number) for number in range(1, 30)], replace(STATE, next=30))
    data = bytearray(path.read_bytes())
    rng = random.Random(0)
    for _ in range(30):
        damaged = data.copy()
        at = rng.randrange(len(data) // 2)
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        saved = loaded(path)
        if saved.state.reporter == "me":
            # A length that reaches beyond the end looks like an incomplete record.
            assert saved.state.next > 10**6
            continue
        assert [*saved.waiting] == []
        assert not path.exists()
    assert caplog.text.count("cannot be used") > 20


@pytest.mark.parametrize("content", [b"", b"hello", b"S" + bytes(200), bytes(100)])
def test_file_that_is_no_journal_is_renamed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reports"
    path.write_bytes(content)
    assert [*loaded(path).waiting] == []
    assert (tmp_path / "reports.bad").read_bytes() == content
