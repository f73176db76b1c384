"""Recurrence rules: numbers as people write them, and what local clocks make of a rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo

from ..model.dispatch import Dispatch
from ..model.recurrence.rule import Frequency, Weekday
from .times import find_offset_change, format_offset

_NUMBER = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_RANGE = re.compile(r"(\w+)-(\w+)")

FREQUENCIES = {frequency.name.lower(): frequency for frequency in Frequency if frequency}
WEEKDAYS = {day.name.lower(): int(day) for day in Weekday if day}
MONTHS = {
    "january": 1, "february": 2, "march": 3, "april": 4, "may": 5, "june": 6,
    "july": 7, "august": 8, "september": 9, "october": 10, "november": 11, "december": 12,
}  # fmt: skip


def parse_numbers(
    text: str, low: int, high: int, names: Mapping[str, int] = {}, *, negative: bool = False
) -> tuple[int, ...]:
    """Return the numbers that a text means: ``mon,wed-fri``, ``8-17``, ``-1``; ``none`` for none.

    Args:
      names: Names of numbers, which may be abbreviated.
      negative: Whether numbers may count from the end.

    Raises:
      ValueError: an item is not such a number or range.
    """
    if text.strip().lower() == "none":
        return ()
    found: dict[int, None] = {}
    lowest = -high if negative else low
    for item in map(str.strip, text.lower().split(",")):
        match = _RANGE.fullmatch(item)
        begin, end = (_number(part, names) for part in (match.groups() if match else (item, item)))
        valid = begin is not None and end is not None and lowest <= begin <= end <= high
        if begin is None or end is None or not valid or (negative and 0 in (begin, end)):
            numbers = f"{low} to {high}" + (f" or -{high} to -1" if negative else "")
            named = f", or {', '.join(name[:3] for name in names)}" if names else ""
            raise ValueError(f"{item!r} is not in the range {numbers}{named}")
        found.update(dict.fromkeys(range(begin, end + 1)))
    return tuple(found)


def _number(text: str, names: Mapping[str, int]) -> int | None:
    if _NUMBER.fullmatch(text):
        return int(text)
    matching = [number for name, number in names.items() if name.startswith(text)]
    return matching[0] if len(text) > 1 and len(matching) == 1 else None


def local_time_warning(dispatch: Dispatch, zone: tzinfo, now: datetime) -> str | None:
    """Return a warning about the hours of a recurring dispatch in a zone; None if none is due.

    The rules of the API are in UTC: what is 8:00 in winter is 9:00 in summer.
    """
    rule = dispatch.recurrence
    if rule is None or rule.problem is not None or rule.frequency == Frequency.UNSPECIFIED:
        return None
    if rule.frequency <= Frequency.HOURLY and not (rule.byhours or rule.byweekdays):
        return None
    offset = now.astimezone(zone).utcoffset() or timedelta()
    change = find_offset_change(zone, now)
    run = dispatch.next_run_after(now)
    if (not offset and change is None) or run is None:
        return None
    text = (
        "recurrences are in UTC and do not follow daylight saving time: the run at "
        f"{run:%H:%M} UTC is at {run + offset:%H:%M} in {zone} ({format_offset(offset)})"
    )
    if change is None or (not rule.byhours and rule.frequency <= Frequency.HOURLY):
        return text
    return (
        f"{text}, and from {change.moment.astimezone(zone):%Y-%m-%d} at "
        f"{run + change.after:%H:%M} ({format_offset(change.after)})"
    )
