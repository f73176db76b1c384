"""The runs that were reported as started and have not ended: whatever happens, each ends once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from ...model.dispatch import Dispatch
from ...model.endings import ending_of
from ...model.events import MissedRun
from ...model.runs import ReportKind, RunKey, RunReport, StopReason
from ..notices import Notice, NoticeKind

__all__ = ["OpenRuns", "fold"]


def fold(open_: dict[RunKey, RunReport], report: RunReport) -> None:
    """Take a further report into a dictionary of the last reports about runs that have not ended.

    Details are no such report: they may be long, and say nothing about the run's state.
    """
    match report.kind:
        case ReportKind.STARTED | ReportKind.CHANGED:
            open_[report.key] = report
        case ReportKind.NOTED:
            pass
        case _:
            open_.pop(report.key, None)


class OpenRuns:
    """Turns what the scheduler announces into reports, and keeps track of the runs under way.

    Pure: the time is an argument.  A run that an earlier process left is *inherited*.  If it is
    announced again, it goes on, without another start.  An actor's run goes on when the actor is
    called for it again, as a further attempt.  Otherwise it is reported as crashed: when it is
    found not to run any more, see `settle`, or when the run of its dispatch ends.

    Args:
      put: Takes a report, numbers it, and returns it.
      inherited: The last reports about the runs that an earlier process left, in order.

    Attributes:
      runs: The last report about each run that has not ended, inherited ones included.
    """

    def __init__(
        self, put: Callable[[RunReport], RunReport], inherited: Iterable[RunReport] = ()
    ) -> None:
        self._put = put
        self.runs: dict[RunKey, RunReport] = {report.key: report for report in inherited}
        self._inherited = dict.fromkeys(self.runs)
        # The announced runs by dispatch.
        self._announced: dict[int, RunReport] = {}
        # How often earlier processes have called the actors of runs that go on.
        self._earlier_attempts: dict[RunKey, int] = {}
        self._is_closed = False

    def announce(self, notice: Notice, now: datetime) -> None:
        """Report what is announced."""
        message = notice.message
        if isinstance(message, MissedRun):
            self._miss(message.dispatch, message.start, now)
        elif notice.kind is NoticeKind.START and message.pulse is not None:
            self.add(_report(ReportKind.STARTED, message, message.pulse, now))
            self.add(_report(ReportKind.COMPLETED, message, message.pulse, now))
        elif notice.kind is NoticeKind.START:
            self._start(message, notice.moment, now)
        elif notice.kind is NoticeKind.STOP:
            run = self._announced.get(message.id)
            # A late stop may be about an earlier run.
            if run is not None and not notice.moment < run.start_time <= now:
                self._end(run, message, notice.moment, now)

    def settle(self, now: datetime) -> None:
        """End the inherited runs that do not go on; call it when what runs now was announced."""
        for key in [*self._inherited]:
            dispatch_id, start, actor, _ = key
            announced = self._announced.get(dispatch_id)
            if not actor or announced is None or announced.start_time != start:
                self._crash(key, now)

    def add(self, report: RunReport) -> None:
        """Put a report, unless this is closed."""
        if self._is_closed:
            return
        key = report.key
        if report.kind is ReportKind.STARTED and key in self._inherited:
            del self._inherited[key]
            self._earlier_attempts[key] = self.runs[key].attempt
        earlier = self._earlier_attempts.get(key)
        if earlier is not None:
            report = replace(report, attempt=report.attempt + earlier)
        fold(self.runs, self._put(report))

    def close(self, now: datetime) -> None:
        """End every run, since the dispatcher is shut down.  Whatever follows is ignored.

        Inherited runs stay: this process knows nothing new about them.
        """
        for key, report in [*self.runs.items()]:
            if key not in self._inherited:
                self.add(_next(report, ReportKind.STOPPED, now, StopReason.SHUTDOWN))
        self._is_closed = True

    def _start(self, message: Dispatch, moment: datetime, now: datetime) -> None:
        # A receiver evaluates the message when it reads it.  If the message is late, the run that
        # it announces may be over.
        start = message.run_at(max(now, moment))
        before = self._announced.get(message.id)
        due = message.run_at(moment)
        if due not in {None, start, None if before is None else before.start_time}:
            assert due is not None
            self._miss(message, due, now)
        if start is None:
            return
        report = _report(ReportKind.STARTED, message, start, now)
        if before is not None and before.start_time != start:
            self._end(before, message, moment, now)
            before = None
        elif report.key in self._inherited:
            del self._inherited[report.key]
            before = self.runs[report.key]
        if before is None:
            self.add(report)
        elif _content_of(before) != _content_of(report):
            self.add(replace(report, kind=ReportKind.CHANGED))
        self._announced[message.id] = report

    def _miss(self, dispatch: Dispatch, start: datetime, now: datetime) -> None:
        report = _report(ReportKind.MISSED, dispatch, start, now)
        # What has started was not missed: the process has died since.
        if report.key not in self._inherited:
            self.add(report)

    def _end(self, run: RunReport, message: Dispatch, moment: datetime, now: datetime) -> None:
        """End the announced run of a dispatch."""
        kind, reason = ending_of(run.start_time, run.until, message, moment)
        self.add(replace(_next(run, kind, now, reason), update_time=message.update_time))
        del self._announced[message.id]
        occurrence = message.id, run.start_time
        for key in [key for key in self._inherited if key[:2] == occurrence]:
            self._crash(key, now)
        for key in [key for key in self._earlier_attempts if key[:2] == occurrence]:
            del self._earlier_attempts[key]

    def _crash(self, key: RunKey, now: datetime) -> None:
        del self._inherited[key]
        self.add(_next(self.runs[key], ReportKind.STOPPED, now, StopReason.CRASHED))


def _report(kind: ReportKind, dispatch: Dispatch, start: datetime, now: datetime) -> RunReport:
    """Return a report about the announcement of a run; the queue numbers it."""
    return RunReport(
        sequence=1,
        dispatch_id=dispatch.id,
        start_time=start,
        kind=kind,
        time=now,
        update_time=dispatch.update_time,
        type=dispatch.type,
        dry_run=dispatch.dry_run,
        until=dispatch.end_of(start),
    )


def _next(
    report: RunReport, kind: ReportKind, now: datetime, reason: StopReason | None
) -> RunReport:
    return replace(report, kind=kind, time=now, reason=reason, error="", details={})


def _content_of(report: RunReport) -> tuple[object, ...]:
    return report.update_time, report.type, report.dry_run, report.until
