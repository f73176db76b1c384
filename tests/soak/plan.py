"""The plan: which runs the dispatches demand, by arithmetic that is not the library's own."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trio_dispatch import Dispatch, EndCriteria, Frequency, RecurrenceRule, TargetIds

__all__ = ["FOREVER", "Habits", "Ledger", "Occurrence", "random_content", "random_update"]

SECOND: Final = timedelta(seconds=1)
_UNITS: Final = {
    Frequency.MINUTELY: timedelta(minutes=1),
    Frequency.HOURLY: timedelta(hours=1),
    Frequency.DAILY: timedelta(days=1),
}
FOREVER: Final = datetime.max.replace(tzinfo=UTC)

Occurrence = tuple[int, datetime]
"""A dispatch, and when a run of it is due."""


@dataclass(slots=True)
class Version:
    """The content of a dispatch for a time.

    Attributes:
      since, until: From when to when the service had it.
      start: The first occurrence.
      period: The time between two occurrences; None if there is only one.
      count: The number of occurrences; None for no end.
      active: Whether it is active.
    """

    since: datetime
    until: datetime
    start: datetime
    period: timedelta | None
    count: int | None
    active: bool

    @classmethod
    def of(cls, dispatch: Dispatch) -> Version:
        """Return the version that begins with the last update of a dispatch."""
        rule, period, count = dispatch.recurrence, None, None
        if rule is not None and dispatch.duration is not None:
            period = _UNITS[Frequency(rule.frequency)] * rule.interval
            count = None if rule.end_criteria is None else rule.end_criteria.count
        return cls(
            dispatch.update_time, FOREVER, dispatch.start_time, period, count, dispatch.active
        )

    def occurrences(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """Yield the occurrences from `begin` until before `end`."""
        if not self.active:
            return
        number = 0
        if self.period is not None and begin > self.start:
            number = -((self.start - begin) // self.period)
        moment = self.start + number * (self.period or timedelta())
        while begin <= moment < end and (self.count is None or number < self.count):
            yield moment
            if self.period is None:
                return
            number += 1
            moment += self.period

    def is_due(self, moment: datetime) -> bool:
        """Whether a moment is one of the occurrences."""
        return any(True for _ in self.occurrences(moment, moment + timedelta(microseconds=1)))


@dataclass
class Ledger:
    """All versions of the dispatches of one microgrid, as the service confirmed them.

    Attributes:
      present: The dispatches that the service has.
    """

    present: dict[int, Dispatch] = field(default_factory=dict)
    _versions: dict[int, list[Version]] = field(default_factory=dict)

    def write(self, dispatch: Dispatch) -> None:
        """A dispatch was created or updated."""
        versions = self._versions.setdefault(dispatch.id, [])
        if dispatch.id in self.present:
            versions[-1].until = dispatch.update_time
        versions.append(Version.of(dispatch))
        self.present[dispatch.id] = dispatch

    def delete(self, dispatch_id: int, now: datetime) -> None:
        """A dispatch was deleted."""
        del self.present[dispatch_id]
        self._versions[dispatch_id][-1].until = now

    def demanded(
        self, begin: datetime, end: datetime, *, before: timedelta, after: timedelta
    ) -> Iterator[Occurrence]:
        """Yield the runs of a time range that every dispatcher must have an account of.

        Args:
          before, after: How long before its start and after it the content that demands a run was
            the same.  For others it depends on when a dispatcher heard of the change.
        """
        for id_, versions in self._versions.items():
            for version in versions:
                first, last = version.since + before, version.until - after
                for moment in version.occurrences(max(begin, first), min(end, last)):
                    yield id_, moment

    def permits(self, run: Occurrence, *, before: timedelta, after: timedelta) -> bool:
        """Whether some content around the start of a run demands it."""
        id_, moment = run
        return any(
            version.since <= moment + after
            and version.until >= moment - before
            and version.is_due(moment)
            for version in self._versions.get(id_, ())
        )

    def forget(self, before: datetime) -> None:
        """Forget the versions that ended before a moment."""
        for id_, versions in [*self._versions.items()]:
            kept = [version for version in versions if version.until >= before]
            if kept:
                self._versions[id_] = kept
            else:
                del self._versions[id_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What dispatches are like.

    Attributes:
      horizon: How far ahead a single run may be.
      longest, shortest: The longest and the shortest duration.
      rules: Frequencies, intervals, and how many of 1,000 dispatches have them; others recur not.
    """

    horizon: timedelta
    longest: timedelta
    shortest: timedelta
    rules: Sequence[tuple[Frequency, Sequence[int], int]]


def random_content(rng: random.Random, now: datetime, habits: Habits) -> dict[str, Any]:
    """Return the arguments of a call that creates a dispatch."""
    start = now.replace(microsecond=0) + 5 * SECOND
    recurrence = None
    duration: timedelta | None = _random_duration(rng, habits)
    choice = rng.randrange(1000)
    for frequency, intervals, share in habits.rules:
        choice -= share
        if choice < 0:
            criteria = EndCriteria(count=rng.randint(1, 5)) if rng.random() < 0.05 else None
            recurrence = RecurrenceRule(frequency, rng.choice(intervals), criteria)
            start += rng.randrange(_UNITS[frequency] // SECOND) * SECOND
            break
    else:
        start += rng.randrange(habits.horizon // SECOND) * SECOND
        if rng.random() < 0.02:
            duration = None
    return {
        "type": "CHARGE",
        "start_time": start,
        "duration": duration,
        "target": TargetIds(*rng.sample(range(1, 100), rng.randint(1, 3))),
        "active": rng.random() < 0.95,
        "dry_run": rng.random() < 0.03,
        "payload": {"power_kw": rng.uniform(-50, 50)},
        "recurrence": recurrence,
    }


def random_update(
    rng: random.Random, now: datetime, dispatch: Dispatch, habits: Habits
) -> dict[str, Any]:
    """Return the arguments of a call that changes a dispatch."""
    changes: dict[str, Any] = {
        "payload": {"power_kw": rng.uniform(-50, 50)},
        "target": TargetIds(*rng.sample(range(1, 100), rng.randint(1, 3))),
    }
    # A run without an end would begin again after it was checked.
    if dispatch.duration is not None:
        changes |= {
            "active": not dispatch.active,
            "duration": _random_duration(rng, habits),
            "start_time": now.replace(microsecond=0)
            + 5 * SECOND
            + rng.randrange(habits.horizon // SECOND) * SECOND,
        }
    names = rng.sample([*changes], rng.choice([1, 1, 2]))
    return {name: changes[name] for name in names}


def _random_duration(rng: random.Random, habits: Habits) -> timedelta:
    if rng.random() < 0.05:
        return timedelta()
    return rng.randint(habits.shortest // SECOND, habits.longest // SECOND) * SECOND
