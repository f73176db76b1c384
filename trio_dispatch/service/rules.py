"""The rules of the API: what a dispatch may contain, and what an update makes of one.

No I/O, no clock.  Times are nanoseconds since 1970, as everywhere in the service: the API keeps
nanoseconds, which a `datetime` cannot.  A broken rule raises `InvalidRequestError`, which names the
field and the rule.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sized
from datetime import UTC, datetime
from typing import Final

from ..api import wire
from ..api.codec import WIRE, time_from_nanos, time_to_nanos
from ..api.decoding import rule_from_wire
from ..api.wire import Struct, Value
from .errors import InvalidRequestError

__all__ = [
    "MAX_DISPATCH_BYTES",
    "SECOND",
    "UPDATE_PATHS",
    "check_count",
    "check_size",
    "check_text",
    "is_recurring",
    "last_run_end",
    "new_data",
    "updated_data",
]

SECOND: Final = 1_000_000_000
_LAST_TIME = time_to_nanos(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)) + SECOND - 1

MAX_DISPATCH_BYTES: Final = 256 * 1024
"""The size of a whole dispatch: with this, a page of several is well below a client's limit."""

MAX_TYPE_BYTES: Final = 256
MAX_TARGET_SIZE: Final = 1_000
MAX_PAYLOAD_BYTES: Final = 50 * 1024
MAX_PAYLOAD_LEVELS: Final = 5
_MAX_PAYLOAD_VALUES: Final = MAX_PAYLOAD_BYTES // 2  # A value has at least 2 bytes.
MAX_COUNT: Final = 4096
MAX_INTERVAL: Final = 10_000

_RECURRENCE_FIELDS = (
    "freq",
    "interval",
    "end_criteria",
    "byminutes",
    "byhours",
    "byweekdays",
    "bymonthdays",
    "bymonths",
)
_RECURRENCE_PATHS = {f"recurrence.{name}": name for name in _RECURRENCE_FIELDS}
_PLAIN_PATHS = ("start_time", "duration", "target", "is_active", "payload")

UPDATE_PATHS: Final = frozenset((*_PLAIN_PATHS, "recurrence", *_RECURRENCE_PATHS))
"""The paths of an update mask; ``recurrence`` stands for all fields of the rule."""

_Update = wire.UpdateMicrogridDispatchRequestDispatchUpdate
_RuleUpdate = wire.UpdateMicrogridDispatchRequestDispatchUpdateRecurrenceRuleUpdate


# The two calls that write content.


def new_data(
    data: wire.DispatchData | None, *, start_immediately: bool, now: int
) -> wire.DispatchData:
    """Return the content of a dispatch that is created at `now` with this `dispatch_data`.

    With `start_immediately` it starts at `now`, cut to the whole second; `start_time` is ignored.

    Raises:
      InvalidRequestError: the content breaks a rule.
    """
    if data is None:
        raise InvalidRequestError("dispatch_data", "is required")
    if not data.type:
        raise InvalidRequestError("dispatch_data.type", "must not be empty")
    check_text(data.type, "dispatch_data.type")
    if start_immediately:
        data.start_time = time_from_nanos(now - now % SECOND)
    else:
        _check_start(data.start_time, now, "dispatch_data.start_time")
    _check_target(data.target, "dispatch_data.target")
    _check_payload(data.payload, "dispatch_data.payload")
    data.recurrence = _checked_rule(data.recurrence, "dispatch_data.recurrence")
    return data


def updated_data(
    data: wire.DispatchData, update: _Update | None, paths: Collection[str], *, now: int
) -> wire.DispatchData:
    """Return the content of a dispatch after an update at `now`.  It modifies `data`.

    Only the fields that the mask names are changed and checked: a dispatch that was imported, or
    stored under older rules, can still be deactivated or corrected.  A path whose field is not set
    in `update` clears it.

    Args:
      update: The new values; None clears every field that the mask names.
      paths: The paths of the update mask.

    Raises:
      InvalidRequestError: the mask is empty or names a path that is not in `UPDATE_PATHS`, or the
        new content breaks a rule.
    """
    if not paths:
        raise InvalidRequestError("update_mask", "must name the fields to change")
    if unknown := sorted(set(paths) - UPDATE_PATHS):
        raise InvalidRequestError(
            "update_mask", f"contains {_shortened(unknown[0])}, which cannot be updated"
        )
    update = _Update() if update is None else update
    named = frozenset(paths)
    if "start_time" in named:
        _check_start(update.start_time, now, "update.start_time")
        data.start_time = update.start_time
    if "duration" in named:
        data.duration = update.duration
    if "target" in named:
        _check_target(update.target, "update.target")
        data.target = update.target
    if "is_active" in named:
        data.is_active = bool(update.is_active)
    if "payload" in named:
        _check_payload(update.payload, "update.payload")
        data.payload = update.payload
    if fields := _rule_fields(named):
        rule = _updated_rule(data.recurrence, update.recurrence, fields)
        data.recurrence = _checked_rule(rule, "update.recurrence")
    return data


def _rule_fields(named: frozenset[str]) -> Collection[str]:
    """Return the fields of the recurrence rule that a mask names."""
    if "recurrence" in named:
        return _RECURRENCE_FIELDS
    return [name for path, name in _RECURRENCE_PATHS.items() if path in named]


def _updated_rule(
    rule: wire.RecurrenceRule | None, update: _RuleUpdate | None, fields: Collection[str]
) -> wire.RecurrenceRule:
    rule = wire.RecurrenceRule() if rule is None else rule
    # A value that is not set stands for the field's default: None, zero, or an empty list.
    values = update or _RuleUpdate()
    for name in fields:
        value = getattr(values, name)
        setattr(rule, name, getattr(_NO_RULE, name) if value is None else value)
    return rule


_NO_RULE = wire.RecurrenceRule()


# Single rules.


def check_text(text: str, field: str) -> None:
    """Check the length of a type, or of a text that is looked for in types."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TYPE_BYTES:
        raise InvalidRequestError(field, f"must have at most {MAX_TYPE_BYTES} bytes, not {size}")


def check_count(values: Sized, most: int, field: str) -> None:
    """Check the number of values of a repeated field."""
    if len(values) > most:
        raise InvalidRequestError(field, f"must have at most {most} values, not {len(values)}")


def check_size(message: bytes, old: bytes | None = None) -> None:
    """Check the size of a whole dispatch; the content of an older, larger one may not grow."""
    size = len(message)
    if size <= MAX_DISPATCH_BYTES or (
        old is not None and _content_size(message) <= _content_size(old)
    ):
        return
    raise InvalidRequestError(
        "dispatch", f"must have at most {MAX_DISPATCH_BYTES} bytes in all, not {size}"
    )


def _content_size(message: bytes) -> int:
    data = WIRE.decode(message, wire.Dispatch).data or wire.DispatchData()
    return len(WIRE.encode(data, wire.DispatchData))


def _shortened(text: str) -> str:
    """Return a text of a client, in quotes, for a message."""
    return repr(text) if len(text) <= 100 else f"{text[:100]!r}..."


def _check_start(start: datetime | None, now: int, field: str) -> None:
    if start is None:
        raise InvalidRequestError(field, "is required")
    if time_to_nanos(start) < now:
        raise InvalidRequestError(
            field,
            f"must not be in the past, but {start.isoformat()} is before "
            f"{time_from_nanos(now).isoformat()}",
        )


def _check_target(target: wire.TargetComponents | None, field: str) -> None:
    if target is None:
        raise InvalidRequestError(field, "is required")
    named: Sized
    if target.component_ids is not None:
        named = target.component_ids.ids
    elif target.component_categories is not None:
        named = target.component_categories.categories
    elif target.component_categories_types is not None:
        named = target.component_categories_types.categories
    else:
        # A later version of the API may have further kinds of targets.
        named = target._unknown_fields[:1]
    if not named:
        raise InvalidRequestError(field, "must name at least one component or category")
    check_count(named, MAX_TARGET_SIZE, field)


def _check_payload(payload: Struct | None, field: str) -> None:
    if payload is None:
        return
    # Level by level, and no further than a payload of the permitted size can reach: to encode one
    # that is much larger would take long.
    count, levels = 0, 0
    containers: list[Collection[Value]] = [payload.fields.values()]
    while containers and count <= _MAX_PAYLOAD_VALUES:
        levels += 1
        count += sum(map(len, containers))
        containers = [inner for values in containers for inner in _containers_in(values)]
    if count > _MAX_PAYLOAD_VALUES:
        raise InvalidRequestError(field, f"must have at most {MAX_PAYLOAD_BYTES} bytes")
    size = len(WIRE.encode(payload, Struct))
    if size > MAX_PAYLOAD_BYTES:
        raise InvalidRequestError(field, f"must have at most {MAX_PAYLOAD_BYTES} bytes, not {size}")
    if levels > MAX_PAYLOAD_LEVELS:
        raise InvalidRequestError(
            field, f"must have at most {MAX_PAYLOAD_LEVELS} levels, not {levels}"
        )


def _containers_in(values: Iterable[Value]) -> Iterator[Collection[Value]]:
    """Return the values of the objects and lists among these values."""
    for value in values:
        if value.struct_value is not None:
            yield value.struct_value.fields.values()
        elif value.list_value is not None:
            yield value.list_value.values


def _checked_rule(rule: wire.RecurrenceRule | None, field: str) -> wire.RecurrenceRule | None:
    """Return the rule in its plain form, None for an empty one."""
    if rule is None:
        return None
    for name, numbers, most in (
        ("byminutes", rule.byminutes, 60),
        ("byhours", rule.byhours, 24),
        ("byweekdays", rule.byweekdays, 7),
        ("bymonthdays", rule.bymonthdays, 62),
        ("bymonths", rule.bymonths, 12),
    ):
        check_count(numbers, most, f"{field}.{name}")
    end = rule.end_criteria
    if end is not None and not WIRE.encode(end, wire.RecurrenceRuleEndCriteria):
        rule.end_criteria = None  # Empty end criteria end nothing.
    if not WIRE.encode(rule, wire.RecurrenceRule):
        return None
    if not 0 <= rule.freq <= wire.RecurrenceRuleFrequency.YEARLY:
        raise InvalidRequestError(f"{field}.freq", f"has the unknown value {int(rule.freq)}")
    # A rule without a frequency needs no interval.
    if rule.freq or rule.interval:
        _check_range(rule.interval, 1, MAX_INTERVAL, f"{field}.interval")
    if rule.end_criteria is not None and rule.end_criteria.count is not None:
        _check_range(rule.end_criteria.count, 1, MAX_COUNT, f"{field}.end_criteria.count")
    for name, values, low, high in (
        ("byminutes", rule.byminutes, 0, 59),
        ("byhours", rule.byhours, 0, 23),
        ("byweekdays", rule.byweekdays, 1, 7),
        ("bymonths", rule.bymonths, 1, 12),
    ):
        for value in values:
            _check_range(value, low, high, f"{field}.{name}")
    for day in rule.bymonthdays:
        if not 1 <= abs(day) <= 31:
            raise InvalidRequestError(
                f"{field}.bymonthdays", f"must be from 1 to 31 or from -31 to -1, not {day}"
            )
    if rule.bymonthdays and rule.freq == wire.RecurrenceRuleFrequency.WEEKLY:
        raise InvalidRequestError(f"{field}.bymonthdays", "must be empty in a weekly recurrence")
    return rule


def _check_range(value: int, low: int, high: int, field: str) -> None:
    if not low <= value <= high:
        raise InvalidRequestError(field, f"must be from {low} to {high}, not {int(value)}")


# Derived from the content.


def is_recurring(data: wire.DispatchData) -> bool:
    """Whether a dispatch recurs, which takes a rule with a frequency."""
    return data.recurrence is not None and data.recurrence.freq != 0


def last_run_end(data: wire.DispatchData) -> int | None:
    """Return the end of the last occurrence; None if there is no last one or it has no end."""
    if data.start_time is None or data.duration is None:
        return None
    start = time_to_nanos(data.start_time)
    rule = rule_from_wire(data.recurrence) if is_recurring(data) else None
    if rule is not None:
        last = rule.last(data.start_time)
        if last is None:
            return None
        start = time_to_nanos(last)
    end = start + data.duration * SECOND
    return end if end <= _LAST_TIME else None
