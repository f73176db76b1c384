"""Pictures of what runs when.  What draws them is imported when it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo

from .. import clock
from ..model.dispatch import Dispatch
from ..model.validation import utc
from .picture import Timeline
from .window import By, Window

__all__ = ["Timeline", "draw_timeline"]

_DAY = timedelta(days=1)
# So that nothing beside the picture is outside of what a datetime can say.
_EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)


def draw_timeline(
    dispatches: Iterable[Dispatch],
    begin: datetime | None = None,
    end: datetime | None = None,
    *,
    now: datetime | None = None,
    by: By = "type",
    time_zone: tzinfo = UTC,
) -> Timeline:
    """A picture of what runs when.

    There is a row for each type or target in which something runs, with the runs as bars.  Runs
    that overlap are in lanes below each other.  Pulses are diamonds, dry runs are hatched, what
    has no end is an arrow, and now is a line.  Runs that are too short to be told apart are one
    pale bar.  Dispatches that are inactive or deleted do not run::

        picture = trio_dispatch.draw_timeline(dispatcher.dispatches.values(), by="target")
        print(picture.text())
        picture.save("plan.svg")

    Nothing is drawn before a method of the picture is called.  With many dispatches drawing takes
    up to a second, in which it does not give way to other tasks: call such a method in a thread.

    Args:
      dispatches: What to draw, in any order.
      begin: The moment at which the picture begins; None for `now`.
      end: The moment at which it ends; None for a day after `begin`.
      now: Where to draw the line; None for what the clock shows.
      by: What the rows are: ``"type"`` or ``"target"``.
      time_zone: The zone in which times are written, and days begin.  It does not change what
        runs: recurrence rules are in UTC.

    Raises:
      ValueError: a time is naive, the end is not after the begin, or something else makes no
        sense; the message names it.
    """
    kept = tuple(dispatches)
    for each in kept:
        if not isinstance(each, Dispatch):
            raise ValueError(
                f"{each!r} is not a Dispatch: of a mapping of dispatches, give the values()"
            )
    if by not in ("type", "target"):
        raise ValueError(f"by {by!r} is not 'type' or 'target'")
    if not isinstance(time_zone, tzinfo):
        raise ValueError(
            f"time_zone {time_zone!r} is not a tzinfo, such as zoneinfo.ZoneInfo('Europe/Berlin')"
        )
    present = clock.now() if now is None else utc(now, "now")
    first = present if begin is None else utc(begin, "begin")
    if not _EARLIEST <= first < _LATEST:
        raise ValueError(f"begin {first} is not within the years 1000 to 8999")
    last = min(first + _DAY, _LATEST) if end is None else utc(end, "end")
    if last > _LATEST:
        raise ValueError(f"end {last} is after the year 8999")
    if last <= first:
        raise ValueError(f"end {last} is not after begin {first}")
    return Timeline(kept, Window(first, last, present, time_zone), by)
