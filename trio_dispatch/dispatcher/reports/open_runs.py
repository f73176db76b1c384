"""The runs that were reported as started and have not ended: whatever happens, each ends once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from ...model.dispatch import Dispatch
from ...model.endings import ending_of
from ...model.events import MissedRun
from ...model.runs import ReportKind, RunKey, RunReport, StopReason
from ..notices import Notice, NoticeKind

__all__ = ["OpenRuns", "RunTable"]

_Occurrence = tuple[int, datetime]


class RunTable:
    """The last report about each run that goes on, or may go on since its dispatch still runs.

    An actor that failed is called again, and so is each actor after a restart.  Reports of details
    are not kept: they say nothing about the state.
    """

    def __init__(self) -> None:
        self._runs: dict[_Occurrence, dict[RunKey, RunReport]] = {}

    def __iter__(self) -> Iterator[RunReport]:
        for runs in self._runs.values():
            yield from runs.values()

    def get(self, key: RunKey) -> RunReport | None:
        """Return the last report about a run; None if it does not go on."""
        return self._runs.get(key[:2], {}).get(key)

    def of(self, occurrence: _Occurrence) -> list[RunKey]:
        """Return the keys of the runs of an occurrence."""
        return [*self._runs.get(occurrence, {})]

    def drop(self, key: RunKey) -> None:
        """Remove a run."""
        runs = self._runs.get(key[:2], {})
        runs.pop(key, None)
        if not runs:
            self._runs.pop(key[:2], None)

    def take(self, report: RunReport) -> None:
        """Take a further report."""
        if report.kind in _GOES_ON or _may_go_on(report):
            self._runs.setdefault(report.key[:2], {})[report.key] = report
        elif report.kind is not ReportKind.NOTED:
            self.drop(report.key)

    def tidy(self, occurrence: _Occurrence) -> None:
        """Remove the runs of an occurrence that have ended, if its dispatch does not run."""
        runs = self._runs.get(occurrence, {})
        if (*occurrence, "", None) not in runs:
            for report in [*runs.values()]:
                if has_ended(report):
                    self.drop(report.key)

    def tidy_all(self) -> None:
        """Do the same for all occurrences."""
        for occurrence in [*self._runs]:
            self.tidy(occurrence)


_GOES_ON = {ReportKind.STARTED, ReportKind.CHANGED}
_ENDS = {ReportKind.COMPLETED, ReportKind.STOPPED, ReportKind.FAILED}


def has_ended(report: RunReport) -> bool:
    """Whether a report ends its run."""
    return report.kind in _ENDS


def _may_go_on(ended: RunReport) -> bool:
    """Whether a run may go on after it has ended, while its dispatch runs."""
    return has_ended(ended) and (bool(ended.actor) or ended.reason is StopReason.SHUTDOWN)


class OpenRuns:
    """Turns what the scheduler announces into reports, and keeps track of the runs under way.

    Pure: the time is an argument.  A run that an earlier process left is *inherited*.  If it is
    announced again, it goes on, without another start.  An actor's run goes on when the actor is
    called for it again, as a further attempt.  Otherwise it is reported as crashed: when it is
    found not to run any more, see `settle`, or when the run of its dispatch ends.

    Args:
      put: Takes a report, numbers it, and returns it.
      inherited: The last reports about the runs that an earlier process left.

    Attributes:
      table: The runs that go on or may go on, inherited ones included.
    """

    def __init__(
        self, put: Callable[[RunReport], RunReport], inherited: Iterable[RunReport] = ()
    ) -> None:
        self._put = put
        self.table = RunTable()
        for report in inherited:
            self.table.take(report)
        self._inherited = {report.key for report in self.table}
        # The announced runs by dispatch.
        self._announced: dict[int, RunReport] = {}
        # How often an actor was called for a run before it was started anew.
        self._earlier_attempts: dict[_Occurrence, dict[RunKey, int]] = {}
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

    def settle(self, now: datetime, known: Mapping[int, Dispatch] | None = None) -> None:
        """End the inherited runs that do not go on; call it when what runs now was announced.

        Args:
          known: The dispatches that were loaded, before it is known whether they are up to date.
            What was started by an update that they lack may go on.
        """
        for last in [report for report in self.table if report.key in self._inherited]:
            id_, start = last.dispatch_id, last.start_time
            if known is not None and (
                id_ not in known or known[id_].update_time < last.update_time
            ):
                continue
            announced = self._announced.get(id_)
            if not last.actor or announced is None or announced.start_time != start:
                self._crash(last.key, now)

    def add(self, report: RunReport) -> None:
        """Put a report, unless this is closed."""
        if self._is_closed:
            return
        key, occurrence = report.key, report.key[:2]
        if report.kind is ReportKind.STARTED and report.attempt == 1:
            last = self.table.get(key)
            is_inherited = key in self._inherited
            # An actor that is shown a superseded run again is not called again.
            if last is not None and (is_inherited or last.reason is not StopReason.SUPERSEDED):
                self._earlier_attempts.setdefault(occurrence, {})[key] = last.attempt
        self._inherited.discard(key)
        earlier = self._earlier_attempts.get(occurrence, {}).get(key)
        if earlier is not None:
            report = replace(report, attempt=report.attempt + earlier)
        self.table.take(self._put(report))
        self.table.tidy(occurrence)

    def close(self, now: datetime) -> None:
        """End every run, since the dispatcher is shut down.  Whatever follows is ignored.

        Inherited runs stay: this process knows nothing new about them.
        """
        for report in [*self.table]:
            if report.key in self._inherited or has_ended(report):
                continue
            if report.until is not None and report.until <= now:
                self.add(_next(report, ReportKind.COMPLETED, now, None))
            else:
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
        if report.key in self._inherited:
            self._inherited.discard(report.key)
            before = self.table.get(report.key)
            if before is not None and has_ended(before):
                before = None
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
        occurrence = message.id, run.start_time
        inherited = self._inherited.intersection(self.table.of(occurrence))
        kind, reason = ending_of(run.start_time, run.until, message, moment)
        self.add(replace(_next(run, kind, now, reason), update_time=message.update_time))
        del self._announced[message.id]
        for key in inherited:
            self._crash(key, now)
        self._earlier_attempts.pop(occurrence, None)

    def _crash(self, key: RunKey, now: datetime) -> None:
        self._inherited.discard(key)
        last = self.table.get(key)
        if last is None or has_ended(last):
            self.table.drop(key)
        else:
            self.add(_next(last, ReportKind.STOPPED, now, StopReason.CRASHED))


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
