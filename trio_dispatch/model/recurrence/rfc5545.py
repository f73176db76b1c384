"""Recurrence rules as text, in the form of :rfc:`5545`: ``FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=8``.

The API's rules are less than those of the RFC.  What they cannot say is refused, and nothing is
taken to mean something else.
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
_DAY_NAMES = {day: name for name, day in _DAYS.items()}
_FREQUENCIES = {frequency.name: frequency for frequency in Frequency if frequency}
_UNTIL = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,10}", re.ASCII)
_PARTS = (
    "FREQ", "INTERVAL", "COUNT", "UNTIL", "BYMONTH", "BYMONTHDAY", "BYDAY", "BYHOUR", "BYMINUTE",
)  # fmt: skip
_CANNOT = {
    "BYSECOND": "its occurrences take the second of the start",
    "BYSETPOS": "it has no positions within a set",
    "BYYEARDAY": "it has days of the month, BYMONTH and BYMONTHDAY, but none of the year",
    "BYWEEKNO": "it has no numbers of weeks",
    "BYEASTER": "it knows nothing of Easter",
}


def parse_rrule(text: str) -> RecurrenceRule:
    """The rule that a text means, ``RRULE:`` before it or not; in UTC, as all rules of the API.

    Raises:
      ValueError: it is no rule, or one that the API cannot say; the message names the part.
    """
    parts = _split(text)
    try:
        if "FREQ" not in parts:
            raise ValueError("FREQ is missing, say FREQ=DAILY")
        count, until = parts.get("COUNT"), parts.get("UNTIL")
        if count is not None and until is not None:
            raise ValueError("it has both COUNT and UNTIL, and takes one of them")
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
    """A rule as text that `parse_rrule` reads as an equal one.

    Raises:
      ValueError: no text says it: it makes no sense, has no frequency, or ends between seconds.
    """
    if rule.problem is not None:
        raise ValueError(f"the rule cannot be written: {rule.problem}")
    if rule.frequency == Frequency.UNSPECIFIED:
        raise ValueError("the rule cannot be written: its frequency is unspecified")
    parts = [f"FREQ={Frequency(rule.frequency).name}"]
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
        if name in _CANNOT:
            raise ValueError(f"the rule {text!r}: the API cannot say {name}: {_CANNOT[name]}")
        if name not in _PARTS and name != "WKST":
            raise ValueError(f"the rule {text!r}: {name} is none of {', '.join(_PARTS)}")
        if name in parts:
            raise ValueError(f"the rule {text!r}: {name} is there twice")
        parts[name] = value
    return parts


def _frequency(value: str) -> Frequency:
    if value == "SECONDLY":
        raise ValueError("the API cannot say FREQ=SECONDLY: MINUTELY is the finest there is")
    if value not in _FREQUENCIES:
        raise ValueError(f"FREQ={value} is none of {', '.join(_FREQUENCIES)}")
    return _FREQUENCIES[value]


def _integer(name: str, value: str) -> int:
    if not _NUMBER.fullmatch(value):
        raise ValueError(f"{name} has {value!r}, which is no number")
    return int(value)


def _weekday(name: str, value: str) -> Weekday:
    if value in _DAYS:
        return _DAYS[value]
    if value[-2:] in _DAYS and _NUMBER.fullmatch(value[:-2]):
        raise ValueError(
            f"the API cannot say {name}={value}: it has days of the week, but none counted within "
            "the month or year"
        )
    raise ValueError(f"{name} has {value!r}, which is none of {', '.join(_DAYS)}")


def _list(parts: dict[str, str], name: str, read: Callable[[str, str], _T]) -> tuple[_T, ...]:
    if name not in parts:
        return ()
    return tuple(read(name, item.strip()) for item in parts[name].split(","))


def _until(value: str) -> datetime:
    match = _UNTIL.fullmatch(value)
    try:
        if match is None:
            raise ValueError
        return datetime(*map(int, match.groups()), tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError:
        raise ValueError(
            f"UNTIL={value} is no moment in UTC, which is written 20261201T080000Z"
        ) from None


def _check_week_start(value: str, rule: RecurrenceRule) -> None:
    if value not in _DAYS:
        raise ValueError(f"WKST={value} is none of {', '.join(_DAYS)}")
    # Only where whole weeks are left out does it matter on which day they begin.
    if value != "MO" and rule.frequency == Frequency.WEEKLY and rule.interval > 1:
        raise ValueError(f"the API cannot say WKST={value}: its weeks begin on Monday")
