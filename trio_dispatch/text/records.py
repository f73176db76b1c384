"""Dispatches as JSON objects, and back: what ``--json`` prints, `export` writes, `import` reads.

The keys are those of `Dispatch`, in its order.  Times are RFC 3339 in UTC.  A duration is in
seconds, or null for ever.  A target is a list of ids, or of categories such as ``"inverter:pv"``.
A recurrence is an object with the fields of `RecurrenceRule`; text in the form of RFC 5545 is read
as well.  Whatever the API can store is read back equal, to the nanosecond and even if it is
invalid.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from ..model.dispatch import Dispatch
from ..model.formatting import format_category
from ..model.recurrence.rfc5545 import parse_rrule
from ..model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule, Weekday
from ..model.target import Target, TargetCategories, TargetIds
from ..model.times import nanos_of, time_from_nanos, time_to_nanos
from ..model.validation import MAX_ID, MAX_SECONDS
from .durations import parse_duration
from .safe import dump_json
from .targets import parse_category, parse_target
from .times import parse_absolute

FIELDS = (
    "id", "type", "start_time", "duration", "target", "active", "dry_run", "payload", "recurrence",
    "create_time", "update_time", "end_time",
)  # fmt: skip
"""The keys of a dispatch, in order."""

COMPUTED = ("running", "until", "next_run")
"""The keys that tell the present state of a dispatch; reading ignores them."""

_REQUIRED = ("type", "start_time", "duration", "target")
_REQUIRED_OF_A_COPY = (*_REQUIRED, "id", "create_time", "update_time")
_EXAMPLES = {
    "type": "a word such as CHARGE",
    "start_time": "2026-12-01T08:00Z or '2026-12-01 08:00'",
    "duration": "90m, 0 for a pulse, or forever",
    "target": "1-3 or battery,inverter:pv",
    "id": "the id of the service",
    "create_time": "2026-12-01T08:00Z",
    "update_time": "2026-12-01T08:00Z",
}
_RULE_FIELDS = (
    "frequency", "interval", "end_criteria",
    "byminutes", "byhours", "byweekdays", "bymonthdays", "bymonths",
)  # fmt: skip
_NANOS = re.compile(r"(.*:\d\d\.\d{6})(\d{1,3})(.*)", re.ASCII)
_DAYS = {day.name[:3].lower(): day for day in Weekday if day}
_DAY_NAMES = {int(day): name for name, day in _DAYS.items()}
_FREQUENCIES = {frequency.name.lower(): frequency for frequency in Frequency}
_FREQUENCY_NAMES = {int(frequency): name for name, frequency in _FREQUENCIES.items()}


# Writing.


def record_of(dispatch: Dispatch) -> dict[str, Any]:
    """Return a dispatch as a JSON object."""
    rule = dispatch.recurrence
    return {
        "id": dispatch.id,
        "type": dispatch.type,
        "start_time": format_json_time(dispatch.start_time),
        "duration": None if dispatch.duration is None else int(dispatch.duration.total_seconds()),
        "target": _target_record(dispatch.target),
        "active": dispatch.active,
        "dry_run": dispatch.dry_run,
        "payload": plain(dispatch.payload),
        "recurrence": None if rule is None else _rule_record(rule),
        "create_time": format_json_time(dispatch.create_time),
        "update_time": format_json_time(dispatch.update_time),
        "end_time": format_json_time(dispatch.end_time),
    }


def format_json(dispatch: Dispatch, now: datetime) -> str:
    """Return what ``--json`` prints for a dispatch: the record, and the state at a moment."""
    state = {
        "running": dispatch.running_at(now),
        "until": format_json_time(dispatch.until_at(now)),
        "next_run": format_json_time(dispatch.next_run_after(now)) if dispatch.active else None,
    }
    return dump_json(record_of(dispatch) | state)


def payload_json(dispatch: Dispatch) -> str:
    """Return the payload of a dispatch as a line of JSON."""
    return dump_json(plain(dispatch.payload))


def format_json_time(moment: datetime | None) -> str | None:
    """Return a moment in RFC 3339, in UTC, with as many digits as it has."""
    if moment is None:
        return None
    text = moment.astimezone(UTC).isoformat().removesuffix("+00:00")
    if nanos := nanos_of(moment):
        text = f"{text if moment.microsecond else text + '.000000'}{nanos:03}"
    return f"{text}Z"


def _target_record(target: Target | None) -> list[int] | list[str] | None:
    if target is None:
        return None
    if isinstance(target, TargetIds):
        return sorted(target)
    return sorted(map(format_category, target))


def _rule_record(rule: RecurrenceRule) -> dict[str, Any]:
    end = rule.end_criteria
    criteria: dict[str, Any] | None = None
    if end is not None:
        criteria = {} if end.count is None else {"count": end.count}
        criteria |= {} if end.until is None else {"until": format_json_time(end.until)}
    return {
        "frequency": _FREQUENCY_NAMES.get(rule.frequency, int(rule.frequency)),
        "interval": rule.interval,
        "end_criteria": criteria,
        "byminutes": [*rule.byminutes],
        "byhours": [*rule.byhours],
        "byweekdays": [_DAY_NAMES.get(day, int(day)) for day in rule.byweekdays],
        "bymonthdays": [*rule.bymonthdays],
        "bymonths": [*rule.bymonths],
    }


def plain(value: Any) -> Any:
    """Return a value of a payload, with whole numbers as people write them."""
    match value:
        case float() if not math.isfinite(value):
            # As in the JSON of protobuf, since JSON itself has no such numbers.
            return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
        case float() if value.is_integer() and abs(value) < 1 << 53 and str(value) != "-0.0":
            return int(value)
        case str():
            return value
        case Mapping():
            return {key: plain(item) for key, item in value.items()}
        case tuple() | list():
            return [*map(plain, value)]
    return value


# Reading.


class InvalidRecordError(ValueError):
    """Fields of a record are missing, unknown or invalid.

    Attributes:
      problems: What is wrong with each of these fields.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in problems.items()))
        self.problems = problems


def read_record(record: object, *, zone: tzinfo, copy: bool = False) -> Dispatch:
    """Return the dispatch that a JSON object describes.

    Args:
      zone: The zone of times that name none.
      copy: Whether the record needs an id and times of the service, as in an export.

    Raises:
      InvalidRecordError: keys are missing, unknown, or have invalid values.
      ValueError: it is not an object.
    """
    if not isinstance(record, dict):
        raise ValueError(f"{record!r} is not an object with the keys {', '.join(_REQUIRED)}")
    known = (*FIELDS, *COMPUTED)
    problems = {name: unknown_key(name, known) for name in record if name not in known}
    required = _REQUIRED_OF_A_COPY if copy else _REQUIRED
    problems |= {name: f"missing: use {_EXAMPLES[name]}" for name in required if name not in record}

    values: dict[str, Any] = {"id": 0}
    for name in FIELDS:
        if name in record:
            try:
                values[name] = read_field(name, record[name], zone=zone)
            except ValueError as exc:
                problems[name] = str(exc)
    if problems:
        raise InvalidRecordError(problems)
    try:
        dispatch = Dispatch(**values)
    except ValueError as exc:
        name, _, text = str(exc).partition(" ")
        raise InvalidRecordError({name.rstrip(":"): text}) from None
    if copy and "end_time" not in record:
        object.__setattr__(dispatch, "end_time", dispatch.last_end())
    return dispatch


def read_field(name: str, value: object, *, zone: tzinfo) -> Any:
    """Return the value of one of `FIELDS`.

    Args:
      zone: The zone of times that name none.

    Raises:
      ValueError: the value is invalid; the message does not name the field.
    """
    match name:
        case "id":
            return _id(value)
        case "type":
            return _string(value)
        case "active" | "dry_run":
            return _bool(value)
        case "duration":
            return _duration(value)
        case "target":
            return _target(value)
        case "payload":
            return {} if value is None else _object(value)
        case "recurrence":
            return _rule(value, zone)
        case "end_time" if value is None:
            return None
    return read_time(value, zone)


def _check_keys(record: Mapping[str, object], *known: str) -> None:
    for name in record:
        if name not in known:
            raise ValueError(f"{name!r}: {unknown_key(name, known)}")


def unknown_key(name: object, known: Sequence[str]) -> str:
    """Return what to write in place of a key that is unknown."""
    word = str(name).strip().lower()
    near = [each for each in known if word and each.startswith(word)]
    near = near or difflib.get_close_matches(word, known, 1)
    return (
        f"unknown key: did you mean {near[0]}?" if near else f"unknown key: use {', '.join(known)}"
    )


def read_time(value: object, zone: tzinfo = UTC) -> datetime:
    """Return the moment of a text such as ``2026-12-01T08:00Z``, to the nanosecond.

    Args:
      zone: The zone of a time that names none.

    Raises:
      ValueError: it is not a date, with or without a time of day.
    """
    text = _string(value)
    if match := _NANOS.fullmatch(text):
        moment = parse_absolute(match[1] + match[3], zone=zone)
        return time_from_nanos(time_to_nanos(moment) + int(match[2].ljust(3, "0")))
    return parse_absolute(text, zone=zone)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a string")
    return value


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true or false")
    return value


def _integer(value: object, low: int = -(1 << 63), high: int = MAX_ID) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not an integer")
    if not low <= value <= high:
        raise ValueError(f"{value!r} is not in the range {low} to {high}")
    return value


def _id(value: object) -> int:
    return _integer(value, 0)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not an object")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")
    return value


def _duration(value: object) -> timedelta | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_duration(value)
    return timedelta(seconds=_integer(value, 0, MAX_SECONDS))


def _target(value: object) -> Target | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_target(value)
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list of ids or of categories")
    if value and all(isinstance(item, str) for item in value):
        return TargetCategories(*map(parse_category, value))
    return TargetIds(*map(_id, value))


def _rule(value: object, zone: tzinfo) -> RecurrenceRule | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_rrule(value)
    fields = _object(value)
    _check_keys(fields, *_RULE_FIELDS)
    if "frequency" not in fields:
        raise ValueError("frequency missing")

    def integers(name: str) -> list[int]:
        return [*map(_integer, _list(fields.get(name, [])))]

    # As it is: the service decides whether it takes an invalid rule.
    return RecurrenceRule.unchecked(
        frequency=_named(fields["frequency"], _FREQUENCIES),
        interval=_integer(fields.get("interval", 1)),
        end_criteria=_end(fields.get("end_criteria"), zone),
        byminutes=integers("byminutes"),
        byhours=integers("byhours"),
        byweekdays=[_named(day, _DAYS) for day in _list(fields.get("byweekdays", []))],
        bymonthdays=integers("bymonthdays"),
        bymonths=integers("bymonths"),
    )


def _end(value: object, zone: tzinfo) -> EndCriteria | None:
    if value is None:
        return None
    fields = _object(value)
    _check_keys(fields, "count", "until")
    return EndCriteria.unchecked(
        count=_integer(fields["count"]) if "count" in fields else None,
        until=read_time(fields["until"], zone) if "until" in fields else None,
    )


def _named(value: object, names: Mapping[str, int]) -> int:
    if not isinstance(value, str):
        return _integer(value)
    if value.lower() not in names:
        raise ValueError(f"unknown name {value!r}: use {', '.join(names)}")
    return names[value.lower()]
