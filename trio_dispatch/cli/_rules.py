"""Recurrence rules from options, and in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, tzinfo
from typing import Any

from ..model.dispatch import Dispatch
from ..model.recurrence.description import describe_rule as _in_words
from ..model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule, Weekday
from ._times import find_offset_change, format_moment, format_offset

__all__ = ["RuleOptions", "describe_rule", "local_time_warning", "parse_numbers"]

_NUMBER = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_RANGE = re.compile(r"(\w+)-(\w+)")

WEEKDAYS = {day.name.lower(): int(day) for day in Weekday if day}
MONTHS = {
    "january": 1, "february": 2, "march": 3, "april": 4, "may": 5, "june": 6,
    "july": 7, "august": 8, "september": 9, "october": 10, "november": 11, "december": 12,
}  # fmt: skip


class _None:
    """An option that was given as ``none``: what it says is to be taken away."""

    def __repr__(self) -> str:
        return "none"


NONE = _None()


def parse_numbers(
    text: str, low: int, high: int, names: Mapping[str, int] = {}, *, negative: bool = False
) -> tuple[int, ...]:
    """The numbers that a text means, by their names or not: ``mon,wed-fri``, ``8-17``, ``-1``.

    ``none`` means no numbers.

    Args:
      negative: Whether they may count from the end.

    Raises:
      ValueError: it means nothing.
    """
    if text.strip().lower() == "none":
        return ()
    found: dict[int, None] = {}
    for item in text.lower().split(","):
        first, last = item.strip(), item.strip()
        if match := _RANGE.fullmatch(first):
            first, last = match[1], match[2]
        begin, end = _number(first, names), _number(last, names)
        ends = (-high, high) if negative else (low, high)
        if (
            begin is None
            or end is None
            or not ends[0] <= begin <= end <= ends[1]
            or (negative and not begin)
        ):
            span = f"{low} to {high}" + (f" or -{high} to -1" if negative else "")
            named = f", or {', '.join(name[:3] for name in names)}" if names else ""
            raise ValueError(f"{item.strip()!r} is not from {span}{named}")
        found.update(dict.fromkeys(range(begin, end + 1)))
    return tuple(found)


def _number(text: str, names: Mapping[str, int]) -> int | None:
    if _NUMBER.fullmatch(text):
        return int(text)
    if len(text) < 2:
        return None
    fits = [number for name, number in names.items() if name.startswith(text)]
    return fits[0] if len(fits) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """What was said of a recurrence; None is for what was not."""

    rrule: RecurrenceRule | None = None
    frequency: Frequency | None = None
    interval: int | None = None
    by_minute: tuple[int, ...] | None = None
    by_hour: tuple[int, ...] | None = None
    by_weekday: tuple[int, ...] | None = None
    by_month_day: tuple[int, ...] | None = None
    by_month: tuple[int, ...] | None = None
    count: int | _None | None = None
    until: datetime | _None | None = None

    def given(self) -> list[str]:
        """The names of the options that were given."""
        return [
            f"--{each.name.replace('_', '-')}"
            for each in fields(self)
            if getattr(self, each.name) is not None
        ]

    def build(self, base: RecurrenceRule | None = None) -> RecurrenceRule | None:
        """The rule they make, of another one if there is one; None if nothing was said.

        Raises:
          ValueError: they contradict each other, or make no sense; the message names the option.
        """
        given = self.given()
        if not given:
            return None
        if self.rrule is not None:
            if len(given) > 1:
                raise ValueError(f"--rrule says it all: leave out {', '.join(given[1:])}")
            return self.rrule
        if base is not None and base.frequency == Frequency.UNSPECIFIED:
            base = None
        if self.frequency is None and base is None:
            raise ValueError(f"{given[0]} needs a --frequency, say --frequency daily")

        def pick(value: Any, name: str, default: Any = ()) -> Any:
            if value is not None:
                return value
            return default if base is None else getattr(base, name)

        return RecurrenceRule(
            pick(self.frequency, "frequency"),
            interval=pick(self.interval, "interval", 1),
            end_criteria=self._end(None if base is None else base.end_criteria),
            byminutes=pick(self.by_minute, "byminutes"),
            byhours=pick(self.by_hour, "byhours"),
            byweekdays=pick(self.by_weekday, "byweekdays"),
            bymonthdays=pick(self.by_month_day, "bymonthdays"),
            bymonths=pick(self.by_month, "bymonths"),
        )

    def _end(self, base: EndCriteria | None) -> EndCriteria | None:
        count, until = self.count, self.until
        if isinstance(count, int) and isinstance(until, datetime):
            raise ValueError("--count and --until were both given: a recurrence takes one of them")
        if isinstance(count, int):
            return EndCriteria(count=count)
        if isinstance(until, datetime):
            return EndCriteria(until=until)
        return base if count is None and until is None else None


# In words.


def describe_rule(dispatch: Dispatch, zone: tzinfo) -> str:
    """How a dispatch recurs, in words; its hours are UTC, and the end is shown in the zone."""
    rule = dispatch.effective_recurrence
    return _in_words(rule, dispatch.start_time, lambda moment: format_moment(moment, zone))


# The API's rules are UTC.


def local_time_warning(dispatch: Dispatch, zone: tzinfo, now: datetime) -> str | None:
    """What people in a zone have to know of the hours of a dispatch that recurs; None if nothing.

    The API's rules are UTC: what is 8:00 in winter is 9:00 in summer.
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
    hours = "its hours and days are UTC and do not follow daylight saving"
    text = (
        f"{hours}: the run at {run:%H:%M} UTC is at {_wall(run, offset)} in {zone} "
        f"({format_offset(offset)})"
    )
    if change is None or (not rule.byhours and rule.frequency <= Frequency.HOURLY):
        return text
    return (
        f"{text}, and from {change.moment.astimezone(zone):%Y-%m-%d} on at "
        f"{_wall(run, change.after)} ({format_offset(change.after)})"
    )


def _wall(run: datetime, offset: timedelta) -> str:
    return f"{run + offset:%H:%M}"
