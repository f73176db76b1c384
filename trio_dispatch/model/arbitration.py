"""Which dispatch drives a component when several run for it.

Of the dispatches that run for a component, the one with the highest priority drives it; of several
with this priority the one that started last, and of several that started at the same moment the one
with the highest id.  When it ends, the next one takes over.  `rank` states this rule: of the runs
for a component, the one with the greatest rank drives it.

`Sweep` applies the rule along the time, and `plan` lists what it finds.  A sweep goes from change
to change.  Between two of them it looks only at dispatches that could win, those of the winner's
priority and above: however often a dispatch of a lower priority starts and stops, it costs nothing
until the winner has ended.  So a step asks each dispatch twice at most, and mostly asks one.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeAlias

from .dispatch import Dispatch
from .expansion import Components, component_resolver
from .target import ElectricalComponentCategory
from .validation import check_id, shown, utc

__all__ = [
    "PlannedInterval",
    "Priority",
    "Run",
    "Sweep",
    "equal_priority",
    "plan",
    "rank",
]

_NO_CATEGORY = ElectricalComponentCategory.UNSPECIFIED
_BEGINNING = datetime.min.replace(tzinfo=UTC)

Priority: TypeAlias = Callable[[Dispatch], float]
"""Returns the priority of a dispatch; the highest wins."""


class Run(Protocol):
    """A dispatch that runs, and the occurrence at which it started."""

    @property
    def dispatch(self) -> Dispatch: ...
    @property
    def start(self) -> datetime: ...


def equal_priority(dispatch: Dispatch) -> float:
    """Return the same priority for each dispatch."""
    return 0


def rank(run: Run, priority: float) -> tuple[float, datetime, int]:
    """Return the rank of a run: of all that run for a component, the highest drives it."""
    return priority, run.start, run.dispatch.id


@dataclass(frozen=True, slots=True)
class PlannedInterval:
    """A time in which one run of a dispatch drives a component.

    Attributes:
      begin: When it begins to drive, in UTC.
      end: When it no longer drives, itself not included.
      dispatch: What drives the component.
      start: The occurrence that runs.  It may be before `begin`, if something else drove first.
    """

    begin: datetime
    end: datetime
    dispatch: Dispatch
    start: datetime


def plan(
    dispatches: Iterable[Dispatch],
    component: int,
    begin: datetime,
    end: datetime,
    *,
    type: str | None = None,
    components: Components | None = None,
    priority: Priority = equal_priority,
    dry_runs: bool = False,
) -> Iterator[PlannedInterval]:
    """Return when which dispatch drives a component, in order.

    There is an interval for each run that drives, and nothing for a time in which nothing does.
    Pulses do not run and are not in it.  The intervals are found one by one as the iterator is
    asked for them; to find one takes two questions to each dispatch for the component at the most.

    Args:
      dispatches: Any, those for other components included.
      component: The id of the component.
      begin: The plan's begin, itself included.
      end: Its end, itself not included.
      type: Only dispatches of this type take part; None for all.  Actors act on one type: to see
        what an actor will be shown, pass its type.
      components: What the components are, to resolve targets by category, see
        `component_resolver`.  With None, only targets by id count.
      priority: Returns the priority of a dispatch.
      dry_runs: Whether dry runs take part.  An actor that is not shown dry runs is not driven by
        them either.

    Raises:
      ValueError: the component's id is invalid, a time is naive, or a priority is not a number; at
        once, not at the first item.
    """
    check_id("component", component)
    first, last = utc(begin, "begin"), utc(end, "end")
    resolve = component_resolver({component: _NO_CATEGORY} if components is None else components)
    kept = [
        each
        for each in dispatches
        if (type is None or each.type == type)
        and (dry_runs or not each.dry_run)
        and component in resolve(each.target)
    ]
    return _intervals(Sweep(kept, priority), first, last)


def _intervals(sweep: Sweep, begin: datetime, end: datetime) -> Iterator[PlannedInterval]:
    moment = begin
    while moment < end:
        run, change = sweep.look(moment)
        until = end if change is None else min(change, end)
        if run is not None:
            yield PlannedInterval(moment, until, run.dispatch, run.start)
        moment = until


class Sweep:
    """Finds the run that drives, and when that changes, at one moment after another.

    Args:
      dispatches: All that are for the component.
      priority: Returns the priority of a dispatch; called once for each.

    Raises:
      ValueError: a priority is not a number.
    """

    def __init__(self, dispatches: Iterable[Dispatch], priority: Priority = equal_priority) -> None:
        levels: dict[float, list[Dispatch]] = {}
        for each in dispatches:
            if each.active and not each.deleted and not each.is_pulse:
                levels.setdefault(_checked(priority(each), each), []).append(each)
        self._levels = [_Level(levels[number]) for number in sorted(levels, reverse=True)]

    def look(self, moment: datetime) -> tuple[Run | None, datetime | None]:
        """Return the run that drives at a moment, and the next moment at which another does.

        Args:
          moment: In UTC; not before the moment of the last call.

        Returns:
          The run, None if nothing runs; and the moment of the next change, None if nothing changes
          any more.  To start again is a change.
        """
        changes: list[datetime] = []
        for level in self._levels:
            run = level.look(moment)
            if level.next_start is not None:
                changes.append(level.next_start)
            if run is not None:
                if run.end is not None:
                    changes.append(run.end)
                return run, min(changes, default=None)
        return None, min(changes, default=None)


def _checked(priority: float, dispatch: Dispatch) -> float:
    if not isinstance(priority, int | float) or math.isnan(priority):
        raise ValueError(
            f"the priority {shown(priority)} of dispatch {dispatch.id} is not a number"
        )
    return priority


@dataclass(frozen=True, slots=True)
class _Running:
    """A dispatch that runs, since when, and until when."""

    dispatch: Dispatch
    start: datetime
    end: datetime | None


class _Level:
    """The dispatches of one priority.  Nothing of it is looked at while a higher level runs."""

    def __init__(self, dispatches: list[Dispatch]) -> None:
        self._dispatches = dispatches
        # When each dispatch, by its place in the list, starts next.
        self._starts: list[tuple[datetime, int]] = [
            (_BEGINNING, at) for at in range(len(dispatches))
        ]
        # What runs, the latest start first and then the highest id.  A run of which the dispatch
        # has started again ends before the later one, so it is over when it comes up.
        self._runs: list[tuple[timedelta, int, int, _Running]] = []
        self._latest: dict[int, _Running] = {}

    @property
    def next_start(self) -> datetime | None:
        """When the next run starts, after the moment of the last look."""
        return self._starts[0][0] if self._starts else None

    def look(self, moment: datetime) -> _Running | None:
        """Return the run that drives at a moment, if no higher level has one."""
        while self._starts and self._starts[0][0] <= moment:
            self._take(heapq.heappop(self._starts)[1], moment)
        while self._runs:
            run = self._runs[0][-1]
            if run.end is None or run.end > moment:
                return run
            heapq.heappop(self._runs)
        return None

    def _take(self, at: int, moment: datetime) -> None:
        """Find the run of a dispatch at a moment, and its next start."""
        dispatch = self._dispatches[at]
        start = dispatch.run_at(moment)
        if start is not None:
            run = self._latest[at] = _Running(dispatch, start, dispatch.end_of(start))
            heapq.heappush(self._runs, (_BEGINNING - start, -dispatch.id, at, run))
            if len(self._runs) > 2 * len(self._dispatches) + 64:
                self._runs = [item for item in self._runs if self._latest[item[2]] is item[3]]
                heapq.heapify(self._runs)
        following = dispatch.first_after(moment)
        if following is not None:
            heapq.heappush(self._starts, (following, at))
