"""The runs of a dispatch in a window, at a resolution.

Runs that follow each other too closely to be told apart are merged.  So their number is bounded by
the resolution, and so is the cost of finding them: where a rule is denser, it is asked for the last
occurrence within reach instead of for each one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..model.dispatch import Dispatch

__all__ = ["SEVERAL", "Run", "runs"]

_NONE = timedelta()
SEVERAL = 3
"""Starts that are fewer resolutions apart than this cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run, a part of one, or several merged.

    Attributes:
      start: When it starts.
      end: When it ends; None if it has no end.
      many: Whether several runs are merged.
    """

    start: datetime
    end: datetime | None
    many: bool = False


def runs(
    dispatch: Dispatch, begin: datetime, end: datetime, resolution: timedelta = _NONE
) -> Iterator[Run]:
    """Return the runs and pulses of a dispatch that touch a window in UTC, in order.

    A run ends where the next one of the same dispatch starts, if that is earlier than its own end.
    With a resolution of zero no runs are merged.
    """
    if not dispatch.active or dispatch.deleted:
        return
    start = dispatch.run_at(begin) or dispatch.first_after(begin, inclusive=True)
    while start is not None and start < end:
        stop, following = dispatch.end_of(start), dispatch.first_after(start)
        if stop is None or following is None or following >= end:
            yield Run(start, _earlier(stop, following))
        elif following - start < SEVERAL * resolution:
            last = _last_in_reach(dispatch, following, end, SEVERAL * resolution)
            following = dispatch.first_after(last)
            yield Run(start, _earlier(dispatch.end_of(last), following), True)
        else:
            yield Run(start, min(stop, following))
        start = following


def _last_in_reach(
    dispatch: Dispatch, start: datetime, end: datetime, reach: timedelta
) -> datetime:
    """Return the last occurrence before `end` that steps shorter than `reach` lead to."""
    while True:
        # The limit itself is out of reach, and no two moments are closer than a microsecond.
        limit = min(_later(start, reach, end), end) - timedelta.resolution
        last = dispatch.last_start(limit)
        if last is None or last <= start:
            return start
        start = last


def _later(moment: datetime, by: timedelta, otherwise: datetime) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return otherwise


def _earlier(stop: datetime | None, following: datetime | None) -> datetime | None:
    if stop is None or following is None:
        return stop or following
    return min(stop, following)
