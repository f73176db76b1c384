"""Dispatches as JSON objects, and back: what ``--json`` prints, `export` writes, `import` reads.

The keys are those of `Dispatch`, in its order.  Times are RFC 3339 in UTC, durations seconds or
null for ever; a target is a list of ids, or of categories such as ``"inverter:pv"``.  A recurrence
is an object with the fields of `RecurrenceRule`; text in the form of RFC 5545 is read as well.
What the API can keep comes back equal, sense or none, to the nanosecond.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from ..model.dispatch import Dispatch
from ..model.recurrence.rfc5545 import parse_rrule
from ..model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule, Weekday
from ..model.target import Target, TargetCategories, TargetIds
from ..model.times import nanos_of, time_from_nanos, time_to_nanos
from ._durations import parse_duration
from ._targets import format_category, parse_category, parse_target
from ._times import parse_absolute

__all__ = ["COMPUTED", "FIELDS", "json_time", "read_record", "record_of", "state_of"]

FIELDS = (
    "id", "type", "start_time", "duration", "target", "active", "dry_run", "payload", "recurrence",
    "create_time", "update_time", "end_time",
)  # fmt: skip
"""The keys of a dispatch, in order."""

COMPUTED = ("running", "until", "next_run")
"""The keys that say what a dispatch does now; whoever reads a dispatch ignores them."""

_NEEDED = ("type", "start_time", "duration", "target")
_RULE_FIELDS = (
    "frequency", "interval", "end_criteria",
    "byminutes", "byhours", "byweekdays", "bymonthdays", "bymonths",
)  # fmt: skip
_NANOS = re.compile(r"(.*:\d\d\.\d{6})(\d{1,3})(.*)")
_DAYS = {day.name[:3].lower(): day for day in Weekday if day}
_DAY_NAMES = {int(day): name for name, day in _DAYS.items()}
_FREQUENCIES = {frequency.name.lower(): frequency for frequency in Frequency}


# Writing.


def record_of(dispatch: Dispatch) -> dict[str, Any]:
    """A dispatch as an object of JSON."""
    rule = dispatch.recurrence
    return {
        "id": dispatch.id,
        "type": dispatch.type,
        "start_time": json_time(dispatch.start_time),
        "duration": None if dispatch.duration is None else int(dispatch.duration.total_seconds()),
        "target": _target_record(dispatch.target),
        "active": dispatch.active,
        "dry_run": dispatch.dry_run,
        "payload": {key: _plain(value) for key, value in dispatch.payload.items()},
        "recurrence": None if rule is None else _rule_record(rule),
        "create_time": json_time(dispatch.create_time),
        "update_time": json_time(dispatch.update_time),
        "end_time": json_time(dispatch.end_time),
    }


def state_of(dispatch: Dispatch, now: datetime) -> dict[str, Any]:
    """What a dispatch does at a moment, for whoever would have to work it out."""
    return {
        "running": dispatch.running_at(now),
        "until": json_time(dispatch.until_at(now)),
        "next_run": json_time(dispatch.next_run_after(now)) if dispatch.active else None,
    }


def json_time(moment: datetime | None) -> str | None:
    """RFC 3339, in UTC, with as many digits as it takes."""
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
        criteria |= {} if end.until is None else {"until": json_time(end.until)}
    names = {int(value): name for name, value in _FREQUENCIES.items()}
    return {
        "frequency": names.get(rule.frequency, int(rule.frequency)),
        "interval": rule.interval,
        "end_criteria": criteria,
        "byminutes": [*rule.byminutes],
        "byhours": [*rule.byhours],
        "byweekdays": [_DAY_NAMES.get(day, int(day)) for day in rule.byweekdays],
        "bymonthdays": [*rule.bymonthdays],
        "bymonths": [*rule.bymonths],
    }


def _plain(value: Any) -> Any:
    """A value of a payload, with whole numbers as people write them."""
    match value:
        case bool() | None | str():
            return value
        case float() if value.is_integer() and abs(value) < 1 << 53 and str(value) != "-0.0":
            return int(value)
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case tuple() | list():
            return [*map(_plain, value)]
    return value


# Reading.


def read_record(record: Mapping[str, Any], *, zone: tzinfo, whole: bool = False) -> Dispatch:
    """The dispatch that an object of JSON is.

    Args:
      zone: Of times that name none.
      whole: It has to have an id and times of its own, as from an export.

    Raises:
      ValueError: something is missing, or makes no sense; the message names the key.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"{record!r} is no object with the keys {', '.join(_NEEDED)}")
    for name in record:
        if name not in FIELDS and name not in COMPUTED:
            raise ValueError(f"there is no key {name!r}: there are {', '.join(FIELDS)}")
    needed = (*_NEEDED, "id", "create_time", "update_time") if whole else _NEEDED
    if missing := [name for name in needed if name not in record]:
        raise ValueError(f"{', '.join(missing)} missing")

    def read(name: str, parse: Any, default: Any = None) -> Any:
        if name not in record:
            return default
        try:
            return parse(record[name])
        except (ValueError, TypeError) as exc:
            raise ValueError(f"{name}: {exc}") from None

    def moment(value: Any) -> datetime:
        return _moment(value, zone)

    times = {
        name: read(name, moment)
        for name in ("start_time", "create_time", "update_time")
        if name in record
    }
    dispatch = Dispatch(
        id=read("id", _id, 0),
        type=read("type", _string),
        duration=read("duration", _duration),
        target=read("target", _target),
        active=read("active", _bool, True),
        dry_run=read("dry_run", _bool, False),
        payload=read("payload", _object, {}),
        recurrence=read("recurrence", lambda value: _rule(value, zone)),
        end_time=read("end_time", lambda value: None if value is None else moment(value)),
        **times,
    )
    if whole and "end_time" not in record:
        object.__setattr__(dispatch, "end_time", dispatch.last_end())
    return dispatch


def _moment(value: Any, zone: tzinfo) -> datetime:
    text = _string(value)
    if match := _NANOS.fullmatch(text):
        moment = parse_absolute(match[1] + match[3], zone=zone)
        return time_from_nanos(time_to_nanos(moment) + int(match[2].ljust(3, "0")))
    return parse_absolute(text, zone=zone)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no string")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no integer")
    return value


def _id(value: Any) -> int:
    if not 0 <= _integer(value) < 1 << 64:
        raise ValueError(f"{value!r} is not from 0 to 2**64 - 1")
    return int(value)


def _object(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is no object")
    return value


def _duration(value: Any) -> timedelta | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_duration(value)
    if not 0 <= _integer(value) < 1 << 32:
        raise ValueError(f"{value} is not from 0 to 2**32 - 1 seconds")
    return timedelta(seconds=value)


def _target(value: Any) -> Target | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_target(value)
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list of ids or of categories")
    if all(isinstance(item, str) for item in value) and value:
        return TargetCategories(*map(parse_category, value))
    return TargetIds(*map(_id, value))


def _rule(value: Any, zone: tzinfo) -> RecurrenceRule | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_rrule(value)
    for name in _object(value):
        if name not in _RULE_FIELDS:
            raise ValueError(f"there is no key {name!r}: there are {', '.join(_RULE_FIELDS)}")
    if "frequency" not in value:
        raise ValueError("frequency missing")

    def integers(name: str) -> list[int]:
        return [*map(_integer, _list(value.get(name, [])))]

    # As it is: what makes no sense is for whoever takes it to refuse.
    return RecurrenceRule.unchecked(
        frequency=_named(value["frequency"], _FREQUENCIES),
        interval=_integer(value.get("interval", 1)),
        end_criteria=_end(value.get("end_criteria"), zone),
        byminutes=integers("byminutes"),
        byhours=integers("byhours"),
        byweekdays=[_named(day, _DAYS) for day in _list(value.get("byweekdays", []))],
        bymonthdays=integers("bymonthdays"),
        bymonths=integers("bymonths"),
    )


def _end(value: Any, zone: tzinfo) -> EndCriteria | None:
    if value is None:
        return None
    for name in _object(value):
        if name not in {"count", "until"}:
            raise ValueError(f"there is no key {name!r}: there are count and until")
    return EndCriteria.unchecked(
        count=_integer(value["count"]) if "count" in value else None,
        until=_moment(value["until"], zone) if "until" in value else None,
    )


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list")
    return value


def _named(value: Any, names: Mapping[str, int]) -> int:
    if not isinstance(value, str):
        return _integer(value)
    if value.lower() not in names:
        raise ValueError(f"{value!r} is none of {', '.join(names)}")
    return names[value.lower()]
