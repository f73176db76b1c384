"""The options of a recurrence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

from ...model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule
from ...text.rules import FREQUENCIES
from .options import option
from .params import (
    COUNT,
    FREQUENCY,
    HOURS,
    INTERVAL,
    MINUTES,
    MONTH_DAYS,
    MONTH_NAMES,
    RULE,
    UNTIL,
    WEEKDAY_NAMES,
)

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """The values of the options of a recurrence; None is for those that were not given.

    `count` and `until` may also be `params.NONE`, which clears them.
    """

    rrule: RecurrenceRule | None = None
    frequency: Frequency | None = None
    interval: int | None = None
    by_minute: tuple[int, ...] | None = None
    by_hour: tuple[int, ...] | None = None
    by_weekday: tuple[int, ...] | None = None
    by_month_day: tuple[int, ...] | None = None
    by_month: tuple[int, ...] | None = None
    count: object = None
    until: object = None

    def given(self) -> list[str]:
        """Return the names of the options that were given."""
        return [
            f"--{each.name.replace('_', '-')}"
            for each in fields(self)
            if getattr(self, each.name) is not None
        ]

    def build(self, base: RecurrenceRule | None = None) -> RecurrenceRule | None:
        """Return the rule that the options make, or make of another rule; None if none was given.

        Raises:
          ValueError: options contradict each other, or make an invalid rule.
        """
        given = self.given()
        if not given:
            return None
        if self.rrule is not None:
            if len(given) > 1:
                raise ValueError(f"--rrule is the whole rule: leave out {', '.join(given[1:])}")
            return self.rrule
        if base is not None and base.frequency == Frequency.UNSPECIFIED:
            base = None
        if self.frequency is None and base is None:
            raise ValueError(f"{given[0]} requires --frequency, such as --frequency daily")

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
            raise ValueError("--count and --until exclude each other: give one of them")
        if isinstance(count, int):
            return EndCriteria(count=count)
        if isinstance(until, datetime):
            return EndCriteria(until=until)
        return base if count is None and until is None else None


_OPTIONS = (
    option("--frequency", FREQUENCY, f"Recur: {', '.join(FREQUENCIES)}."),
    option("--interval", INTERVAL, "Every N units."),
    option("--by-weekday", WEEKDAY_NAMES, "On these days: mon,wed or mon-fri."),
    option("--by-hour", HOURS, "At these hours of the day in UTC: 8,12-14."),
    option("--by-minute", MINUTES, "At these minutes of the hour: 0,30."),
    option("--by-month-day", MONTH_DAYS, "On these days of the month, or from its end: 1,15,-1."),
    option("--by-month", MONTH_NAMES, "In these months: jun-aug or 6,7,8."),
    option("--count", COUNT, "Stop after N occurrences."),
    option("--until", UNTIL, "Stop after this time."),
    option("--rrule", RULE, 'The rule as in RFC 5545: "FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=8".'),
)


def rule_options(function: _F) -> _F:
    """Have a command take the options of a recurrence; it gets them as `RuleOptions`, as `rule`."""

    @wraps(function)
    def command(*args: Any, rule: RuleOptions | None = None, **options: Any) -> Any:
        if rule is None:
            given = {each.name: options.pop(each.name, None) for each in fields(RuleOptions)}
            rule = RuleOptions(**given)
        return function(*args, rule=rule, **options)

    for add in reversed(_OPTIONS):
        add(command)
    return command  # type: ignore[return-value]
