"""Reports from announcements, compared with a look at every half minute of random stories."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.helpers.effort import cases
from trio_dispatch.dispatcher.agenda import Agenda
from trio_dispatch.dispatcher.notices import Notice
from trio_dispatch.dispatcher.reports.open_runs import OpenRuns
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule
from trio_dispatch.model.runs import ReportKind, RunReport
from trio_dispatch.testing.factory import make_dispatch

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, MINUTE, STEP = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=30)
SEEDS = cases(150, long=10_000)

Entry = tuple[datetime, int, datetime, str, str]
"""When, which dispatch, which occurrence, what, and why."""


class Dispatcher:
    """An agenda and what it has reported, both of which a crash may interrupt."""

    def __init__(self) -> None:
        self.reports: list[RunReport] = []
        self.agenda = Agenda()
        self.runs = OpenRuns(self._take)

    def announce(self, notices: list[Notice], now: datetime) -> None:
        for notice in notices:
            self.runs.announce(notice, now)

    def put(self, dispatch: Dispatch, now: datetime) -> None:
        if dispatch.deleted:
            self.announce(self.agenda.remove(dispatch, now), now)
        else:
            self.announce(self.agenda.upsert(dispatch, now), now)

    def restart(self, known: list[Dispatch], died: datetime, now: datetime) -> None:
        """Start with what a cache had when the process died."""
        self.agenda = Agenda()
        self.runs = OpenRuns(self._take, [*self.runs.table])
        for dispatch in known:
            self.announce(self.agenda.upsert(dispatch, now, dealt_with=died, limit=0), now)
        self.announce(self.agenda.advance(now), now)
        self.runs.settle(now)

    def entries(self) -> list[Entry]:
        """The starts and the ends."""
        kept = {ReportKind.STARTED, ReportKind.COMPLETED, ReportKind.STOPPED}
        return sorted(
            (
                each.time,
                each.dispatch_id,
                each.start_time,
                each.kind.name,
                each.reason.name if each.reason else "",
            )
            for each in self.reports
            if each.kind in kept
        )

    def _take(self, report: RunReport) -> RunReport:
        report = replace(report, sequence=len(self.reports) + 1)
        self.reports.append(report)
        return report


class Observer:
    """Looks at what runs at a moment, by trying every occurrence, and notes the differences."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.running: dict[int, tuple[datetime, datetime | None]] = {}

    def look(self, dispatch: Dispatch, now: datetime, *, restarted: bool = False) -> None:
        before = self.running.pop(dispatch.id, None)
        present = None
        if dispatch.active and not dispatch.deleted:
            present = running(dispatch, now)
        if present is not None:
            self.running[dispatch.id] = present
        if before is not None and (present is None or before[0] != present[0]):
            why = "STOPPED", "CRASHED"
            if not restarted:
                why = self._why(dispatch, before, present, now)
            self.entries.append((now, dispatch.id, before[0], *why))
        if present is not None and (before is None or before[0] != present[0]):
            self.entries.append((now, dispatch.id, present[0], "STARTED", ""))

    def _why(
        self,
        dispatch: Dispatch,
        before: tuple[datetime, datetime | None],
        present: tuple[datetime, datetime | None] | None,
        now: datetime,
    ) -> tuple[str, str]:
        until = before[1]
        if until is not None and until <= now:
            return "COMPLETED", ""
        if dispatch.deleted:
            return "STOPPED", "DELETED"
        if not dispatch.active:
            return "STOPPED", "DEACTIVATED"
        if present is not None and before in runs_of(dispatch):
            return "COMPLETED", ""
        return "STOPPED", "CHANGED"


def runs_of(dispatch: Dispatch) -> list[tuple[datetime, datetime | None]]:
    """Every run of a dispatch, by the definition: it starts once a minute, or only once."""
    starts = [dispatch.start_time]
    rule = dispatch.recurrence
    if rule is not None and dispatch.duration is not None:
        count = rule.end_criteria.count if rule.end_criteria else None
        starts = [dispatch.start_time + n * rule.interval * MINUTE for n in range(count or 40)]
    return [
        (start, None if dispatch.duration is None else start + dispatch.duration)
        for start in starts
    ]


def running(dispatch: Dispatch, now: datetime) -> tuple[datetime, datetime | None] | None:
    begun = [run for run in runs_of(dispatch) if run[0] <= now]
    return begun[-1] if begun and (begun[-1][1] is None or begun[-1][1] > now) else None


def random_content(rng: random.Random, id_: int, now: datetime) -> Dispatch:
    rule = None
    if rng.random() < 0.5:
        criteria = EndCriteria(count=3) if rng.random() < 0.5 else None
        rule = RecurrenceRule(
            Frequency.MINUTELY, interval=rng.choice([1, 2, 3]), end_criteria=criteria
        )
    return make_dispatch(
        id_,
        start_time=now + rng.randint(-4, 4) * STEP,
        duration=rng.choice([None, STEP, 2 * STEP, 3 * STEP, 5 * STEP]),
        recurrence=rule,
        active=rng.random() < 0.8,
        payload={"version": (now - START) / STEP},
        create_time=now,
        update_time=now,
    )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_starts_and_ends_are_those_that_a_look_at_every_moment_finds(seed: int) -> None:
    rng = random.Random(seed)
    dispatcher, observer = Dispatcher(), Observer()
    dispatches: dict[int, Dispatch] = {}
    died: datetime | None = None
    known: list[Dispatch] = []
    for step in range(60):
        now = START + step * STEP
        if died is not None and rng.random() < 0.4:
            dispatcher.restart(known, died, now)
            for dispatch in known:
                observer.look(dispatch, now, restarted=True)
            for changed in dispatches.values():
                if changed not in known:
                    dispatcher.put(changed, now)
                    observer.look(changed, now)
            died = None
        elif died is None:
            dispatcher.announce(dispatcher.agenda.advance(now), now)
            for dispatch in dispatches.values():
                observer.look(dispatch, now)
        for id_ in rng.sample(range(4), rng.choice([0, 0, 1, 2])):
            old = dispatches.get(id_)
            if old is None or (not old.deleted and rng.random() < 0.7):
                new = random_content(rng, id_, now)
            elif not old.deleted:
                new = replace(old, deleted=True, update_time=now)
            else:
                continue
            dispatches[id_] = new
            if died is None:
                dispatcher.put(new, now)
                observer.look(new, now)
        if died is None and rng.random() < 0.05:
            died, known = now, [each for each in dispatches.values() if not each.deleted]
    assert dispatcher.entries() == sorted(observer.entries)
    started = set()
    for report in dispatcher.reports:
        if report.kind is ReportKind.STARTED:
            started.add(report.key)
        assert report.kind is not ReportKind.MISSED or report.key not in started
