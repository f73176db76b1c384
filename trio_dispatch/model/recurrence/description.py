"""Recurrence rules in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ..formatting import format_ranges
from .rule import Frequency, RecurrenceRule, Weekday

__all__ = ["describe_rule"]

_UNITS = {
    Frequency.MINUTELY: "minute",
    Frequency.HOURLY: "hour",
    Frequency.DAILY: "day",
    Frequency.WEEKLY: "week",
    Frequency.MONTHLY: "month",
    Frequency.YEARLY: "year",
}
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def describe_rule(
    rule: RecurrenceRule | None, start: datetime, format_moment: Callable[[datetime], str]
) -> str:
    """Return a rule in words: ``every week Mon-Fri at 07:30 UTC until ...``; empty for no rule.

    Args:
      start: In UTC; the rule takes from it the time of day that it leaves open.
      format_moment: Formats the moment at which the rule ends.  Times of day are always UTC.
    """
    if rule is None or rule.frequency == Frequency.UNSPECIFIED:
        return ""
    if rule.problem is not None:
        return f"never: {rule.problem}"
    unit = _UNITS[rule.frequency]
    parts = [f"every {unit}" if rule.interval == 1 else f"every {rule.interval} {unit}s"]
    if rule.bymonths:
        parts.append(f"in {format_ranges(rule.bymonths, lambda month: _MONTHS[month - 1])}")
    if rule.bymonthdays:
        parts.append(f"on day {','.join(map(str, rule.bymonthdays))}")
    if rule.byweekdays:
        parts.append(format_ranges(rule.byweekdays, lambda day: Weekday(day).name.capitalize()[:3]))
    parts += _times(rule, start)
    end = rule.end_criteria
    if end is not None and end.count is not None:
        parts.append("once" if end.count == 1 else f"{end.count} times")
    if end is not None and end.until is not None:
        parts.append(f"until {format_moment(end.until)}")
    return " ".join(parts)


def _times(rule: RecurrenceRule, start: datetime) -> list[str]:
    """Return the times of day of a rule in words."""
    hours, minutes = sorted(set(rule.byhours)), sorted(set(rule.byminutes))
    if rule.frequency >= Frequency.DAILY:
        hours, minutes = hours or [start.hour], minutes or [start.minute]
    if hours and rule.frequency == Frequency.HOURLY:
        minutes = minutes or [start.minute]
    if hours and minutes and len(hours) * len(minutes) <= 4:
        times = [f"{hour:02}:{minute:02}" for hour in hours for minute in minutes]
        return [f"at {','.join(times)} UTC"]
    parts = [f"at minute {format_ranges(minutes)}"] if minutes else []
    return [*parts, f"of hours {format_ranges(hours)} UTC"] if hours else parts
