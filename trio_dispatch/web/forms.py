"""What a person has entered, as values: each field is read, and has its error, on its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from ..model.dispatch import Dispatch
from ..model.formatting import format_target
from ..model.recurrence.rule import RecurrenceRule
from ..text.records import format_json_time, read_field
from ..text.rules import local_time_warning
from ..text.show import describe_recurrence
from .errors import PageError
from .records import occurrences_of

__all__ = ["NOW", "preview", "read_changes", "read_dispatch"]

NOW: Final = "NOW"

FIELDS: Final = (
    "type", "start_time", "duration", "target", "active", "dry_run", "payload", "recurrence",
)  # fmt: skip
CHANGEABLE: Final = ("start_time", "duration", "target", "active", "payload", "recurrence")
_REQUIRED: Final = ("type", "start_time", "duration", "target")
_RULE_FIELDS: Final = {
    "frequency": "frequency", "interval": "interval", "byminutes": "byminutes",
    "byhours": "byhours", "byweekdays": "byweekdays", "bymonthdays": "bymonthdays",
    "bymonths": "bymonths", "count": "end_criteria.count", "until": "end_criteria.until",
    "end_criteria": "end_criteria",
}  # fmt: skip


def read_dispatch(form: object, zone: tzinfo) -> dict[str, Any]:
    """Return the arguments of `DispatchClient.create`.

    Raises:
      PageError: a field is missing, unknown or invalid; the error has a message for each.
    """
    values, errors = _read(form, FIELDS, zone)
    errors |= {name: "required" for name in _REQUIRED if name not in values and name not in errors}
    if "target" in values and values["target"] is None:
        errors["target"] = "required"
    return _checked(values, errors)


def read_changes(form: object, zone: tzinfo) -> dict[str, Any]:
    """Return the arguments of `DispatchClient.update`.

    Raises:
      PageError: a field is invalid or cannot be changed, or no field is given.
    """
    values, errors = _read(form, CHANGEABLE, zone)
    if not values and not errors:
        errors[""] = "nothing to change"
    return _checked(values, errors)


def _checked(values: dict[str, Any], errors: dict[str, str]) -> dict[str, Any]:
    if errors:
        text = "; ".join(f"{name}: {text}" if name else text for name, text in errors.items())
        raise PageError(400, "invalid", text, fields=errors)
    return values


def _read(
    form: object, names: tuple[str, ...], zone: tzinfo
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the valid fields, and the errors of the others."""
    if not isinstance(form, Mapping):
        return {}, {"": "an object with the fields of a dispatch is required"}
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, value in form.items():
        if name not in names:
            errors[str(name)] = f"unknown or not changeable: use {', '.join(names)}"
        elif name == "start_time" and value == NOW:
            values[name] = NOW
        else:
            try:
                values[name] = _checked_value(name, read_field(name, value, zone=zone))
            except ValueError as exc:
                errors[_place(name, str(exc))] = str(exc)
    return values, errors


def _checked_value(name: str, value: Any) -> Any:
    if isinstance(value, RecurrenceRule) and value.problem is not None:
        raise ValueError(value.problem)
    if name == "type" and not value:
        raise ValueError("must not be empty")
    # What only a whole dispatch checks.
    if name in {"duration", "payload", "start_time"}:
        _dispatch({name: value}, datetime(2000, 1, 1, tzinfo=UTC))
    return value


def _place(name: str, error: str) -> str:
    """Return the name of the field that an error is about, for a rule the part of it."""
    if name != "recurrence":
        return name
    part = _RULE_FIELDS.get(error.split(" ", 1)[0].rstrip(":"))
    return name if part is None else f"{name}.{part}"


def _dispatch(values: Mapping[str, Any], now: datetime) -> Dispatch:
    """Return the dispatch of a form that is not complete yet."""
    given = {"type": "", "start_time": now, "duration": timedelta(), "target": None, **values}
    if given["start_time"] == NOW:
        given["start_time"] = now
    return Dispatch(id=0, **given)


def preview(form: object, now: datetime, zone: tzinfo, count: int) -> dict[str, Any]:
    """Return what a form means: the rule in words and the next occurrences; or its errors."""
    values, errors = _read(form, FIELDS, zone)
    if errors:
        return {"valid": False, "errors": errors}
    start = now.replace(microsecond=0)
    dispatch = _dispatch(values, start)
    since = dispatch.start_time if dispatch.effective_recurrence is None else start
    rule = dispatch.effective_recurrence
    total = 1 if rule is None else rule.count(dispatch.start_time)
    last = dispatch.start_time if rule is None else rule.last(dispatch.start_time)
    return {
        "valid": True,
        "rule": describe_recurrence(dispatch, zone),
        "target_text": format_target(dispatch.target),
        "occurrences": occurrences_of(dispatch, since, zone, count),
        "total": total,
        "last": format_json_time(last),
        "warning": local_time_warning(dispatch, zone, now),
    }
