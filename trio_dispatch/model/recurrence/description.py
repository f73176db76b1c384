"""Recurrence rules in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ..dispatch import Dispatch
from ..formatting import format_ranges
from .rule import Frequency, RecurrenceRule, Weekday

__all__ = ["rule_text"]

_UNITS = {
    Frequency.MINUTELY: "minute",
    Frequency.HOURLY: "hour",
    Frequency.DAILY: "day",
    Frequency.WEEKLY: "week",
    Frequency.MONTHLY: "month",
    Frequency.YEARLY: "year",
}
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def rule_text(dispatch: Dispatch, moment_text: Callable[[datetime], str]) -> str:
    """How a dispatch recurs: ``every week Mon-Fri at 07:30 UTC until ...``; empty if it does not.

    Args:
      moment_text: Says when it ends, in UTC or in another zone; its hours are UTC in any case.
    """
    rule = dispatch.recurrence
    if rule is None or rule.frequency == Frequency.UNSPECIFIED or dispatch.duration is None:
        return ""
    if rule.problem is not None:
        return f"never: {rule.problem}"
    unit = _UNITS[Frequency(rule.frequency)]
    parts = [f"every {unit}" if rule.interval == 1 else f"every {rule.interval} {unit}s"]
    if rule.bymonths:
        parts.append(f"in {format_ranges(rule.bymonths, lambda month: _MONTHS[month - 1])}")
    if rule.bymonthdays:
        parts.append(f"on day {','.join(map(str, rule.bymonthdays))}")
    if rule.byweekdays:
        parts.append(format_ranges(rule.byweekdays, lambda day: Weekday(day).name.capitalize()[:3]))
    parts += _times(rule, dispatch.start_time)
    end = rule.end_criteria
    if end is not None and end.count is not None:
        parts.append("once" if end.count == 1 else f"{end.count} times")
    if end is not None and end.until is not None:
        parts.append(f"until {moment_text(end.until)}")
    return " ".join(parts)


def _times(rule: RecurrenceRule, start: datetime) -> list[str]:
    """The times of day of a rule; what it leaves open is as at the start."""
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
