"""Pictures of what runs when.  Modules that draw are imported when they are needed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import get_args

from .. import clock
from ..model.arbitration import Priority, equal_priority
from ..model.dispatch import Dispatch
from ..model.expansion import Components
from ..model.validation import shown, utc
from .grouping import By, Grouping
from .picture import Timeline
from .window import Window

__all__ = ["Timeline", "draw_timeline"]

_DAY = timedelta(days=1)
# Far enough from the ends of the datetime range for axis labels and time zones.
_EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)


def draw_timeline(
    dispatches: Iterable[Dispatch],
    begin: datetime | None = None,
    end: datetime | None = None,
    *,
    now: datetime | None = None,
    by: By = "type",
    components: Components | None = None,
    priority: Priority = equal_priority,
    height: str | None = None,
    time_zone: tzinfo = UTC,
) -> Timeline:
    """Return a picture of what runs when.

    There is a row for each type, target or component for which something runs, with the runs as
    bars.  Runs that overlap are in lanes below each other.  Pulses are diamonds, dry runs are
    hatched, runs without an end are arrows, and the present is a line.  Runs that are too short to
    be told apart are merged into one striped bar.  Inactive and deleted dispatches do not run::

        picture = trio_dispatch.draw_timeline(dispatcher.dispatches.values(), by="target")
        print(picture.text())
        picture.save("plan.svg")

    By component, the top of a row shows which dispatch drives the component, as actors with
    `MergeByComponent` see it.  Overridden runs are pale, in the lanes below.  Dispatches
    of different types do not override each other.

    Nothing is drawn before a method of the picture is called.  Drawing many dispatches takes up to
    a second and blocks the event loop: call the method in a thread.

    Args:
      dispatches: What to draw, in any order.
      begin: The moment at which the picture begins; None for `now`.
      end: The moment at which it ends; None for a day after `begin`.
      now: Where to draw the line; None for the current time of the Trio run.
      by: What the rows are: ``"type"``, ``"target"`` or ``"component"``.
      components: For rows by component, what the components are, as for `MergeByComponent`.  With
        None, targets by category are left out.
      priority: For rows by component, returns the priority of a dispatch, as for `run_actors`.
      height: The key of a number in the payload that gives the heights of bars, such as
        ``"power_kw"``; dots are between nested keys.  All bars are on one scale, which includes
        zero; negative numbers go down from its line.  Bars without such a number are full.
      time_zone: The zone in which times are shown, and days begin.  It does not change what
        runs: recurrence rules are in UTC.

    Raises:
      ValueError: a time is naive, the end is not after the begin, or another argument is invalid;
        the message names it.
    """
    kept = tuple(dispatches)
    for each in kept:
        if not isinstance(each, Dispatch):
            raise ValueError(
                f"{shown(each)} is not a Dispatch: for a mapping of dispatches, pass its values()"
            )
    if by not in get_args(By):
        raise ValueError(f"by {shown(by)} is not 'type', 'target' or 'component'")
    if not isinstance(time_zone, tzinfo):
        raise ValueError(
            f"time_zone {shown(time_zone)} is not a tzinfo, such as ZoneInfo('Europe/Berlin')"
        )
    if height is not None and not (isinstance(height, str) and height):
        raise ValueError(f"height {shown(height)} is not a key of the payload, such as 'power_kw'")
    present = clock.now() if now is None else utc(now, "now")
    first = present if begin is None else utc(begin, "begin")
    if not _EARLIEST <= first < _LATEST:
        raise ValueError(f"begin {first} is not within the years 1000 to 8999")
    last = min(first + _DAY, _LATEST) if end is None else utc(end, "end")
    if last > _LATEST:
        raise ValueError(f"end {last} is after the year 8999")
    if last <= first:
        raise ValueError(f"end {last} is not after begin {first}")
    grouping = Grouping.by_component(components, priority) if by == "component" else Grouping(by)
    return Timeline(kept, Window(first, last, present, time_zone), grouping, height)
