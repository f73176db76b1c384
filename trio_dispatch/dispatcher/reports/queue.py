"""The queue of the reports that the service has not stored yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import takewhile

from ...model.runs import RunReport, details_size

__all__ = ["MAX_BYTES", "MAX_REPORTS", "ReportQueue"]

MAX_REPORTS = 100_000
MAX_BYTES = 64 * 2**20
"""The queue keeps at most this many reports and about this many bytes."""

_BASE_SIZE = 400


class ReportQueue:
    """The reports that wait to be delivered, in the order of their sequence numbers.

    Pure.  When it is full, the oldest reports are dropped and counted.

    Args:
      next_sequence: The sequence number of the next report.
      waiting: The reports that wait already; they are stored.
      lost: How many were dropped before.
      max_reports, max_bytes: The limits; one report is always kept.

    Attributes:
      next_sequence: The sequence number of the next report.
      stored: The sequence number of the last report that is on the disk; only reports up to it may
        be delivered.
      lost: How many reports were dropped because too many were waiting, or refused by the service.
    """

    def __init__(
        self,
        next_sequence: int = 1,
        waiting: Iterable[RunReport] = (),
        *,
        lost: int = 0,
        max_reports: int = MAX_REPORTS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.next_sequence = next_sequence
        self.stored = next_sequence - 1
        self.lost = lost
        self._max_reports = max_reports
        self._max_bytes = max_bytes
        self._waiting = deque(waiting)
        self._size = sum(map(_size_of, self._waiting))
        self._limit()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting(self) -> Iterable[RunReport]:
        """The reports that wait, in order."""
        return self._waiting

    @property
    def first(self) -> int:
        """The sequence number of the first report that waits, or of the next one."""
        return self._waiting[0].sequence if self._waiting else self.next_sequence

    def put(self, report: RunReport) -> RunReport:
        """Append a report, and return it with its sequence number."""
        report = replace(report, sequence=self.next_sequence)
        self.next_sequence += 1
        self._waiting.append(report)
        self._size += _size_of(report)
        self._limit()
        return report

    def unstored(self) -> list[RunReport]:
        """Return the reports that are not on the disk yet."""
        new = [*takewhile(lambda each: each.sequence > self.stored, reversed(self._waiting))]
        new.reverse()
        return new

    def batch(self, max_reports: int, max_bytes: int) -> list[RunReport]:
        """Return the first reports, as far as they are stored: one, or more within the limits."""
        reports: list[RunReport] = []
        size = 0
        for report in self._waiting:
            size += _size_of(report)
            full = len(reports) == max_reports or size > max_bytes
            if report.sequence > self.stored or (reports and full):
                break
            reports.append(report)
        return reports

    def acknowledge(self, sequence: int) -> int:
        """Remove the reports up to a sequence number; returns how many."""
        number = 0
        while self._waiting and self._waiting[0].sequence <= sequence:
            self._drop()
            number += 1
        return number

    def _limit(self) -> None:
        while len(self._waiting) > self._max_reports or (
            self._size > self._max_bytes and len(self._waiting) > 1
        ):
            self._drop()
            self.lost += 1

    def _drop(self) -> None:
        self._size -= _size_of(self._waiting.popleft())


def _size_of(report: RunReport) -> int:
    """Return about how many bytes a report takes."""
    return _BASE_SIZE + len(report.error) + (details_size(report.details) if report.details else 0)
