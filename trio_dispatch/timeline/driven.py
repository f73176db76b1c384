"""What drives a component: the runs that do, and those that are overridden."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from ..model.arbitration import Priority, Sweep
from ..model.dispatch import Dispatch
from .runs import SEVERAL, Run, runs
from .window import Window

__all__ = ["Drive", "drives", "overridden_runs"]

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_LOOKS = 4
"""The most runs to look at within one resolution."""


@dataclass(frozen=True, slots=True)
class Drive:
    """A time in which a dispatch drives a component.

    Attributes:
      dispatch: What drives, or the first that does.
      run: When it drives.
      others: How many other dispatches drive in this time, too closely to be told apart.
    """

    dispatch: Dispatch
    run: Run
    others: int = 0


def drives(
    dispatches: Iterable[Dispatch], window: Window, resolution: timedelta, priority: Priority
) -> list[Drive]:
    """Return what drives a component, in order.

    Like `runs`, this merges what cannot be told apart, so that the number of steps is bounded.
    """
    found: list[Drive] = []
    latest = _BEGINNING  # the start of the last run that was merged
    for each in _told_apart(Sweep(dispatches, priority), window, resolution):
        last = found[-1] if found else None
        near = each.run.start - latest < SEVERAL * resolution
        latest = each.run.start
        if last is not None and near and _alike(last, each):
            merged = Run(last.run.start, each.run.end, True)
            found[-1] = Drive(last.dispatch, merged, max(last.others, each.others))
        else:
            found.append(each)
    return found


def _alike(first: Drive, second: Drive) -> bool:
    if first.others or second.others:
        return bool(first.others and second.others)
    return first.dispatch is second.dispatch


def _told_apart(sweep: Sweep, window: Window, resolution: timedelta) -> Iterator[Drive]:
    """Return what drives.  Short runs within one resolution are merged."""
    short: list[Drive] = []
    for each in _steps(sweep, window, resolution):
        start, end = each.run.start, each.run.end
        if short and start >= short[0].run.start + resolution:
            yield _merged(short)
            short = []
        if end is None or end - start >= resolution:
            if short:
                yield _merged(short)
                short = []
            yield each
        else:
            short.append(each)
    if short:
        yield _merged(short)


def _merged(short: Sequence[Drive]) -> Drive:
    others = len({id(each.dispatch) for each in short}) - 1
    first, last = short[0], short[-1]
    return Drive(first.dispatch, Run(first.run.start, last.run.end, len(short) > 1), others)


def _steps(sweep: Sweep, window: Window, resolution: timedelta) -> Iterator[Drive]:
    """Return what drives, at most `_LOOKS` times within one resolution."""
    moment, driven_until = window.begin, _BEGINNING
    cell, looks = moment, 0
    while moment < window.end:
        if moment >= cell + resolution:
            cell, looks = moment, 0
        elif looks == _LOOKS:
            cell = moment = cell + resolution
            looks = 0
            continue
        looks += 1
        run, change = sweep.look(moment)
        if run is None:
            moment = window.end if change is None else change
            continue
        end = run.dispatch.end_of(run.start)
        if change is not None and (end is None or change < end) and change < window.end:
            end = change
        yield Drive(run.dispatch, Run(max(run.start, driven_until), end))
        moment = driven_until = window.end if end is None else end


def overridden_runs(
    dispatch: Dispatch, driven: Sequence[Run], window: Window, resolution: timedelta
) -> Iterator[Run]:
    """Return the runs of a dispatch without the times in which it drives.

    Args:
      driven: When it drives, or may drive, in order.
    """
    starts = [each.start for each in driven]
    for run in runs(dispatch, window.begin, window.end, resolution):
        # What drives at the start of the run may have started before.
        near = islice(driven, max(0, bisect_right(starts, run.start) - 1), None)
        for rest in _without(run, near):
            # Merged runs leave rests that cannot be seen.
            if rest == run or rest.end is None or rest.end - rest.start > resolution:
                yield rest


def _without(run: Run, others: Iterable[Run]) -> Iterator[Run]:
    """Return the parts of a run that are outside of others, which are in order."""
    start = run.start
    for other in others:
        if run.end is not None and other.start >= run.end:
            break
        if start < other.start:
            yield Run(start, other.start, run.many)
        if other.end is None:
            return
        start = max(start, other.end)
    if run.end is None or start < run.end:
        yield Run(start, run.end, run.many)
