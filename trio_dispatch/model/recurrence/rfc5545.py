"""Recurrence rules as text, in the form of :rfc:`5545`: ``FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=8``.

The API supports only a part of the RFC.  Text that needs more is refused; nothing is taken to mean
something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from ..times import nanos_of
from .rule import EndCriteria, Frequency, RecurrenceRule, Weekday

__all__ = ["format_rrule", "parse_rrule"]

_T = TypeVar("_T")

_DAYS = {day.name[:2]: day for day in Weekday if day}
_DAY_NAMES = {int(day): name for name, day in _DAYS.items()}
_FREQUENCIES = {frequency.name: frequency for frequency in Frequency if frequency}
_UNTIL = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,10}", re.ASCII)
_PARTS = (
    "FREQ", "INTERVAL", "COUNT", "UNTIL", "BYMONTH", "BYMONTHDAY", "BYDAY", "BYHOUR", "BYMINUTE",
)  # fmt: skip
_UNSUPPORTED = {
    "BYSECOND": "occurrences have the second of the start",
    "BYSETPOS": "there are no positions within a set",
    "BYYEARDAY": "use BYMONTH and BYMONTHDAY",
    "BYWEEKNO": "there are no week numbers",
    "BYEASTER": "there is no Easter",
}


def parse_rrule(text: str) -> RecurrenceRule:
    """Return the rule that a text means, with or without a leading ``RRULE:``.

    The rule is in UTC, as all rules of the API.

    Raises:
      ValueError: the text is not a rule, or the API does not support it; the message names the
        part.
    """
    parts = _split(text)
    try:
        if "FREQ" not in parts:
            raise ValueError("FREQ is missing: write FREQ=DAILY, for example")
        count, until = parts.get("COUNT"), parts.get("UNTIL")
        if count is not None and until is not None:
            raise ValueError("it has both COUNT and UNTIL: it takes exactly one")
        end = None
        if count is not None:
            end = EndCriteria(count=_integer("COUNT", count))
        elif until is not None:
            end = EndCriteria(until=_until(until))
        rule = RecurrenceRule(
            _frequency(parts["FREQ"]),
            interval=_integer("INTERVAL", parts.get("INTERVAL", "1")),
            end_criteria=end,
            byminutes=_list(parts, "BYMINUTE", _integer),
            byhours=_list(parts, "BYHOUR", _integer),
            byweekdays=_list(parts, "BYDAY", _weekday),
            bymonthdays=_list(parts, "BYMONTHDAY", _integer),
            bymonths=_list(parts, "BYMONTH", _integer),
        )
        _check_week_start(parts.get("WKST", "MO"), rule)
    except ValueError as exc:
        raise ValueError(f"the rule {text!r}: {exc}") from None
    return rule


def format_rrule(rule: RecurrenceRule) -> str:
    """Return a rule as text, which `parse_rrule` reads as an equal rule.

    Raises:
      ValueError: the rule is invalid, has no frequency, or ends between two seconds.
    """
    if rule.problem is not None:
        raise ValueError(f"the rule cannot be written: {rule.problem}")
    if rule.frequency == Frequency.UNSPECIFIED:
        raise ValueError("the rule cannot be written: its frequency is unspecified")
    parts = [f"FREQ={rule.frequency.name}"]
    if rule.interval != 1:
        parts.append(f"INTERVAL={rule.interval}")
    end = rule.end_criteria
    if end is not None and end.count is not None:
        parts.append(f"COUNT={end.count}")
    if end is not None and end.until is not None:
        until = end.until.astimezone(UTC)
        if until.microsecond or nanos_of(end.until):
            raise ValueError(f"the rule cannot be written: until {until} is not a whole second")
        parts.append(f"UNTIL={until.isoformat()[:19].replace('-', '').replace(':', '')}Z")
    days = tuple(_DAY_NAMES[day] for day in rule.byweekdays)
    lists: tuple[tuple[str, tuple[object, ...]], ...] = (
        ("BYMONTH", rule.bymonths),
        ("BYMONTHDAY", rule.bymonthdays),
        ("BYDAY", days),
        ("BYHOUR", rule.byhours),
        ("BYMINUTE", rule.byminutes),
    )
    parts += [f"{name}={','.join(map(str, values))}" for name, values in lists if values]
    return ";".join(parts)


def _split(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for item in text.strip().upper().removeprefix("RRULE:").removesuffix(";").split(";"):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not name or not value:
            raise ValueError(
                f"the rule {text!r}: {item!r} is not NAME=VALUE, as in FREQ=WEEKLY;BYDAY=MO,WE"
            )
        if name in _UNSUPPORTED:
            reason = _UNSUPPORTED[name]
            raise ValueError(f"the rule {text!r}: the API does not support {name}: {reason}")
        if name not in _PARTS and name != "WKST":
            raise ValueError(f"the rule {text!r}: {name} is not one of {', '.join(_PARTS)}")
        if name in parts:
            raise ValueError(f"the rule {text!r}: {name} is given twice")
        parts[name] = value
    return parts


def _frequency(value: str) -> Frequency:
    if value == "SECONDLY":
        raise ValueError("the API does not support FREQ=SECONDLY: MINUTELY is the finest")
    if value not in _FREQUENCIES:
        raise ValueError(f"FREQ={value} is not one of {', '.join(_FREQUENCIES)}")
    return _FREQUENCIES[value]


def _integer(name: str, value: str) -> int:
    if not _NUMBER.fullmatch(value):
        raise ValueError(f"{name} has {value!r}, which is not a number")
    return int(value)


def _weekday(name: str, value: str) -> Weekday:
    if value in _DAYS:
        return _DAYS[value]
    if value[-2:] in _DAYS and _NUMBER.fullmatch(value[:-2]):
        raise ValueError(
            f"the API does not support {name}={value}: days of the week are not counted within a "
            "month or year"
        )
    raise ValueError(f"{name} has {value!r}, which is not one of {', '.join(_DAYS)}")


def _list(parts: dict[str, str], name: str, read: Callable[[str, str], _T]) -> tuple[_T, ...]:
    if name not in parts:
        return ()
    return tuple(read(name, item.strip()) for item in parts[name].split(","))


def _until(value: str) -> datetime:
    try:
        if not _UNTIL.fullmatch(value):
            raise ValueError
        return datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(
            f"UNTIL={value} is not a time in UTC, which is written 20261201T080000Z"
        ) from None


def _check_week_start(value: str, rule: RecurrenceRule) -> None:
    if value not in _DAYS:
        raise ValueError(f"WKST={value} is not one of {', '.join(_DAYS)}")
    # The day on which weeks begin matters only if the interval skips weeks.
    if value != "MO" and rule.frequency == Frequency.WEEKLY and rule.interval > 1:
        raise ValueError(f"the API does not support WKST={value}: weeks begin on Monday")
