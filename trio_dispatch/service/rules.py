"""The rules of the API: what a dispatch may be, and what an update makes of one.

Nothing here does I/O or reads a clock.  Times are nanoseconds since 1970, as everywhere in the
service: the API keeps nanoseconds, which a `datetime` cannot.  A rule that is broken raises
`InvalidRequestError`, which names the field and the rule.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from ..api import wire
from ..api.codec import WIRE, time_from_nanos, time_to_nanos
from ..api.decoding import rule_from_wire
from ..api.wire import Struct, Value
from .errors import InvalidRequestError

__all__ = ["SECOND", "UPDATE_PATHS", "new_data", "recurs", "run_end", "updated_data"]

SECOND = 1_000_000_000
_LAST_MOMENT = time_to_nanos(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)) + SECOND - 1

MAX_PAYLOAD_BYTES = 50 * 1024
MAX_PAYLOAD_LEVELS = 5
MAX_COUNT = 4096
MAX_INTERVAL = 10_000

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

UPDATE_PATHS = frozenset((*_PLAIN_PATHS, "recurrence", *_RECURRENCE_PATHS))
"""What an update mask may name; ``recurrence`` stands for everything under it."""

_Update = wire.UpdateMicrogridDispatchRequestDispatchUpdate
_RuleUpdate = wire.UpdateMicrogridDispatchRequestDispatchUpdateRecurrenceRuleUpdate


# What the two calls that write make of a dispatch.


def new_data(
    data: wire.DispatchData | None, *, start_immediately: bool, now: int
) -> wire.DispatchData:
    """What a dispatch that is created at `now` has to say, made from the `dispatch_data` sent.

    With `start_immediately` it starts at `now`, cut to the whole second, whatever was sent.

    Raises:
      InvalidRequestError: it breaks a rule.
    """
    if data is None:
        raise InvalidRequestError("dispatch_data", "is required")
    if not data.type:
        raise InvalidRequestError("dispatch_data.type", "must not be empty")
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
    """What a dispatch has to say after an update at `now`.  `data` is changed.

    Only what the mask names is changed, and only that is checked: a dispatch that has come in by
    another way, and would be refused as a whole, can still be deactivated or mended.  A path whose
    field is not set in `update` clears it.

    Args:
      update: The new values; None if none were sent, so that everything named is cleared.
      paths: What the update mask names.

    Raises:
      InvalidRequestError: the mask is empty or names something else than `UPDATE_PATHS`, or the
        dispatch would break a rule.
    """
    if not paths:
        raise InvalidRequestError("update_mask", "must name what to change")
    if unknown := sorted(set(paths) - UPDATE_PATHS):
        raise InvalidRequestError("update_mask", f"cannot name {unknown[0]!r}")
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
    """The fields of the recurrence rule that a mask names."""
    if "recurrence" in named:
        return _RECURRENCE_FIELDS
    return [name for path, name in _RECURRENCE_PATHS.items() if path in named]


def _updated_rule(
    rule: wire.RecurrenceRule | None, update: _RuleUpdate | None, fields: Collection[str]
) -> wire.RecurrenceRule:
    rule = rule or wire.RecurrenceRule()
    # What is not set stands for the field's default: nothing, zero, an empty list.
    values = update or _RuleUpdate()
    for name in fields:
        value = getattr(values, name)
        setattr(rule, name, getattr(_NO_RULE, name) if value is None else value)
    return rule


_NO_RULE = wire.RecurrenceRule()


# Single rules.


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
    if target.component_ids is not None:
        named = bool(target.component_ids.ids)
    elif target.component_categories is not None:
        named = bool(target.component_categories.categories)
    elif target.component_categories_types is not None:
        named = bool(target.component_categories_types.categories)
    else:
        # What it names may be of a kind that a later version of the API has.
        named = bool(target._unknown_fields)
    if not named:
        raise InvalidRequestError(field, "must name at least one component or category")


def _check_payload(payload: Struct | None, field: str) -> None:
    if payload is None:
        return
    size = len(WIRE.encode(payload, Struct))
    if size > MAX_PAYLOAD_BYTES:
        raise InvalidRequestError(field, f"must be at most {MAX_PAYLOAD_BYTES} bytes, not {size}")
    levels = _levels(payload.fields.values())
    if levels > MAX_PAYLOAD_LEVELS:
        raise InvalidRequestError(
            field, f"must be at most {MAX_PAYLOAD_LEVELS} levels deep, not {levels}"
        )


def _levels(values: Iterable[Value]) -> int:
    """How deep an object or a list with these values is: 1 if there is none within it."""
    return 1 + max(map(_levels_within, values), default=0)


def _levels_within(value: Value) -> int:
    if value.struct_value is not None:
        return _levels(value.struct_value.fields.values())
    return 0 if value.list_value is None else _levels(value.list_value.values)


def _checked_rule(rule: wire.RecurrenceRule | None, field: str) -> wire.RecurrenceRule | None:
    """The rule in its plain form: None for one that says nothing."""
    if rule is None:
        return None
    end = rule.end_criteria
    if end is not None and not WIRE.encode(end, wire.RecurrenceRuleEndCriteria):
        rule.end_criteria = None  # "Nothing set: nothing ends it."
    if not WIRE.encode(rule, wire.RecurrenceRule):
        return None
    if not 0 <= rule.freq <= wire.RecurrenceRuleFrequency.YEARLY:
        raise InvalidRequestError(f"{field}.freq", f"{int(rule.freq)} is no frequency")
    # What does not recur needs no interval.
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


# What follows from what a dispatch says.


def recurs(data: wire.DispatchData) -> bool:
    """Whether a dispatch recurs: it has a rule with a frequency."""
    return data.recurrence is not None and data.recurrence.freq != 0


def run_end(data: wire.DispatchData) -> int | None:
    """The end of the last occurrence; None if there is no last one, or it has no end."""
    if data.start_time is None or data.duration is None:
        return None
    start = time_to_nanos(data.start_time)
    rule = rule_from_wire(data.recurrence) if recurs(data) else None
    if rule is not None:
        last = rule.last(data.start_time)
        if last is None:
            return None
        start = time_to_nanos(last)
    end = start + data.duration * SECOND
    return end if end <= _LAST_MOMENT else None
