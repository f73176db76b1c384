"""The queue of reports: its order and its limits."""

from __future__ import annotations

from datetime import UTC, datetime

from trio_dispatch.dispatcher.reports.queue import ReportQueue
from trio_dispatch.model.runs import ReportKind, RunReport

START = datetime(2026, 1, 1, tzinfo=UTC)


def report(**fields: object) -> RunReport:
    defaults: dict[str, object] = {
        "sequence": 1,
        "dispatch_id": 1,
        "start_time": START,
        "kind": ReportKind.STARTED,
        "time": START,
        "update_time": START,
        "type": "CHARGE",
    }
    return RunReport(**(defaults | fields))  # type: ignore[arg-type]


def sequences(reports: object) -> list[int]:
    return [each.sequence for each in reports]  # type: ignore[attr-defined]


def test_reports_are_numbered_and_wait_until_acknowledged() -> None:
    queue = ReportQueue()
    assert sequences([queue.put(report()) for _ in range(4)]) == [1, 2, 3, 4]
    assert queue.acknowledge(3) == 3
    assert (queue.first, sequences(queue.waiting)) == (4, [4])
    assert queue.acknowledge(9) == 1
    assert (queue.first, queue.next_sequence, len(queue)) == (5, 5, 0)


def test_only_what_is_stored_is_delivered() -> None:
    queue = ReportQueue()
    for _ in range(3):
        queue.put(report())
    assert queue.batch(10, 10**6) == []
    assert sequences(queue.unstored()) == [1, 2, 3]
    queue.stored = 2
    assert sequences(queue.batch(10, 10**6)) == [1, 2]
    assert sequences(queue.unstored()) == [3]


def test_batch_is_limited_by_number_and_size_but_never_empty() -> None:
    queue = ReportQueue()
    for _ in range(5):
        queue.put(report(details={"log": "x" * 1000}))
    queue.stored = 5
    assert sequences(queue.batch(3, 10**6)) == [1, 2, 3]
    assert sequences(queue.batch(9, 3000)) == [1, 2]
    assert sequences(queue.batch(9, 10)) == [1]


def test_full_queue_drops_the_oldest_reports_and_counts_them() -> None:
    queue = ReportQueue(lost=7, max_reports=3)
    for _ in range(5):
        queue.put(report())
    assert (sequences(queue.waiting), queue.lost) == ([3, 4, 5], 9)


def test_queue_is_limited_by_size_too() -> None:
    queue = ReportQueue(max_bytes=5000)
    for _ in range(20):
        queue.put(report(error="x" * 600))
    assert (len(queue), queue.lost) == (5, 15)
    queue.put(report(error="x" * 4096))
    assert len(queue) == 1


def test_queue_goes_on_with_what_was_saved() -> None:
    queue = ReportQueue(12, [report(sequence=10), report(sequence=11)], lost=3)
    assert sequences(queue.batch(9, 10**6)) == [10, 11]
    assert queue.put(report()).sequence == 12
    assert sequences(queue.unstored()) == [12]
