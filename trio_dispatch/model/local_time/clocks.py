"""The clocks of a time zone: when they change, and which moment a wall time is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from ..validation import shown

__all__ = ["Period", "load_zone", "periods", "resolve"]

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_STEP = timedelta(days=3)
"""No zone has ever changed its clocks and changed them back within this time."""
_FIRST_YEAR, _LAST_YEAR = 2, 9998
"""Between these years a moment has a wall time in every zone, and a wall time a moment."""


def load_zone(name: str) -> ZoneInfo:
    """Return the zone with a name of the IANA time zone database, such as ``Europe/Berlin``.

    The database is the system's, or else that of the package `tzdata`.

    Raises:
      ValueError: there is no such zone, or no database.
    """
    if not isinstance(name, str):
        raise ValueError(f"timezone {shown(name)} is not a str, such as 'Europe/Berlin'")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
    if not known:
        raise ValueError(
            f"timezone {shown(name)} cannot be looked up: this machine has no time zone database; "
            "install trio-dispatch[local-time], or the system's package tzdata"
        )
    near = {zone.lower(): zone for zone in known}
    close = get_close_matches(name.lower().replace(" ", "_"), near, n=1, cutoff=0.7)
    hint = f"did you mean {near[close[0]]!r}?" if close else "use a name such as 'Europe/Berlin'"
    raise ValueError(f"timezone {shown(name)} is unknown: {hint}")


def resolve(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment of a wall time, in UTC, by :rfc:`5545`, section 3.3.5.

    If the clocks show the time twice, it is the first of the two moments.  If they skip the time,
    the offset before the gap counts: 02:30 becomes 03:30 where the clocks go from 02:00 to 03:00.
    """
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


class Period(NamedTuple):
    """The time between two changes of the clocks.

    Wall times belong to the period whose offset gives their moment, see `resolve`.  So a period
    has the wall times that are skipped when it ends, and not those repeated when it begins.

    Attributes:
      offset: How far the clocks are ahead of UTC.
      begin, end: The changes, in UTC.  None for the end if no change is known.
      wall_begin, wall_end: The wall times that belong to the period; the end is not included.
      skipped: The first wall time of the gap at the end; `wall_end` if there is no gap.
    """

    offset: timedelta
    begin: datetime
    end: datetime | None
    wall_begin: datetime
    wall_end: datetime | None
    skipped: datetime | None


def periods(zone: ZoneInfo, start: datetime, first: datetime, last: datetime) -> Iterator[Period]:
    """Return the periods that two moments and what is between them are in.

    The last period has an end if the clocks change within the year that follows the later moment's.

    Args:
      start: No period needs to begin at a change before this moment.
      first, last: The moments, in UTC.
    """
    first = max(first, start)
    year = max(first.year - 1, _FIRST_YEAR)
    while year >= start.year and not _changes(zone, year):
        year -= 1
    years = range(max(year, _FIRST_YEAR), min(last.year + 1, _LAST_YEAR) + 1)
    changes = [change for each in years for change in _changes(zone, each)]
    begin = wall_begin = datetime(_FIRST_YEAR - 1, 1, 1, tzinfo=UTC)
    offset = changes[0].before if changes else _offset(zone, first)
    for change in changes:
        wall_end = change.moment + max(change.before, change.after)
        if change.moment + _DAY * 2 > first:
            skipped = min(change.moment + change.before, wall_end)
            yield Period(offset, begin, change.moment, wall_begin, wall_end, skipped)
        if change.moment > last + _DAY * 2:
            return
        begin, wall_begin, offset = change.moment, wall_end, change.after
    yield Period(offset, begin, None, wall_begin, None, None)


class _Change(NamedTuple):
    """A change of the clocks: the moment in UTC, and the offsets before and from then on."""

    moment: datetime
    before: timedelta
    after: timedelta


@lru_cache(maxsize=4096)
def _changes(zone: ZoneInfo, year: int) -> tuple[_Change, ...]:
    """Return the changes in a year of UTC."""
    found = []
    low = datetime(year, 1, 1, tzinfo=UTC) - _SECOND
    before = _offset(zone, low)
    end = datetime(year + 1, 1, 1, tzinfo=UTC) - _SECOND
    while low < end:
        high = min(low + _STEP, end)
        after = _offset(zone, high)
        if after != before:
            found.append(_Change(_first_with(zone, after, low, high), before, after))
        low, before = high, after
    return tuple(found)


def _first_with(zone: ZoneInfo, offset: timedelta, low: datetime, high: datetime) -> datetime:
    """Return the first second between two moments from which on an offset holds."""
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(zone, middle) == offset:
            high = middle
        else:
            low = middle
    return high


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
