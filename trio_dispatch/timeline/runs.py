"""The runs of a dispatch in a window, at a resolution.

Runs that follow each other too closely to be told apart are put into one.  So there are never more
than a few for each resolution of the window, and finding them costs no more than that: where a rule
is denser, it is asked for the last occurrence within reach instead of for every one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..model.dispatch import Dispatch

__all__ = ["Run", "runs"]

_NONE = timedelta()
_SEVERAL = 3
"""Starts that are fewer resolutions apart cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run, or several put into one.

    Attributes:
      start: The first occurrence.
      end: When the last run ends; None if it has no end.
      many: Whether there are several in it.
      share: How much of the time from start to end it runs, roughly.
    """

    start: datetime
    end: datetime | None
    many: bool = False
    share: float = 1.0


def runs(
    dispatch: Dispatch, begin: datetime, end: datetime, resolution: timedelta = _NONE
) -> Iterator[Run]:
    """The runs and pulses of a dispatch that touch a window in UTC, in order.

    A run ends where the next one of the same dispatch starts, if that is earlier than its own end.
    With a resolution of zero every run is by itself.
    """
    if not dispatch.active or dispatch.deleted:
        return
    start = dispatch.run_at(begin) or dispatch.first_after(begin, inclusive=True)
    while start is not None and start < end:
        stop, following = dispatch.end_of(start), dispatch.first_after(start)
        if stop is None or following is None or following >= end:
            yield Run(start, _earlier(stop, following))
        elif following - start < _SEVERAL * resolution:
            last = _last_in_reach(dispatch, following, end, _SEVERAL * resolution)
            share = min(1.0, (stop - start) / (following - start))
            following = dispatch.first_after(last)
            yield Run(start, _earlier(dispatch.end_of(last), following), True, share)
        else:
            yield Run(start, min(stop, following))
        start = following


def _last_in_reach(
    dispatch: Dispatch, start: datetime, end: datetime, reach: timedelta
) -> datetime:
    """The last occurrence before `end` to which one gets in steps that are shorter than `reach`."""
    while True:
        # Microseconds are the finest that there is: the limit itself is out of reach.
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
