"""Requests to a dispatch service, from the arguments of a call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from ..api import wire
from ..api.codec import (
    criteria_to_wire,
    duration_to_wire,
    payload_to_wire,
    rule_to_wire,
    target_to_wire,
)
from ..api.wire import FieldMask, Interval, PaginationParams, Struct
from ..model.payload import Payload
from ..model.recurrence.rule import RecurrenceRule
from ..model.target import Target
from ..model.validation import check_id, check_text, shown, utc

SortBy = Literal["start_time", "create_time", "update_time"]
_SORT_FIELDS = {
    "start_time": wire.SortField.START_TIME,
    "create_time": wire.SortField.CREATE_TIME,
    "update_time": wire.SortField.LAST_UPDATE_TIME,
}
# Parsers of protobuf read up to 100 nested messages, and a level of a payload is up to three.
_MAX_DEPTH = 30
_MAX_PAGE_SIZE = 2**32 - 1
_RULE_PATHS = (
    "freq",
    "interval",
    "end_criteria",
    "byminutes",
    "byhours",
    "byweekdays",
    "bymonthdays",
    "bymonths",
)


def _check(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{name} {shown(value)} is not a {kind.__name__}")


def _payload(content: Mapping[str, Any]) -> Struct:
    payload = Payload(content)
    if _depth(payload) > _MAX_DEPTH:
        raise ValueError(f"payload is nested deeper than {_MAX_DEPTH} levels")
    return payload_to_wire(payload)


def _depth(value: object) -> int:
    match value:
        case Mapping():
            return 1 + max(map(_depth, value.values()), default=0)
        case tuple():
            return 1 + max(map(_depth, value), default=0)
    return 0


class Unset:
    """The type of `UNSET`, which marks an argument that was not given."""

    def __repr__(self) -> str:
        return "unchanged"


UNSET: Final = Unset()
"""The value of an argument that was not given: the field stays as it is."""


def list_request(
    microgrid_id: int,
    *,
    targets: Collection[Target],
    ids: Collection[int],
    active: bool | None,
    dry_run: bool | None,
    recurring: bool | None,
    start: tuple[datetime | None, datetime | None],
    end: tuple[datetime | None, datetime | None],
    update: tuple[datetime | None, datetime | None],
    queries: Collection[str],
    sort_by: SortBy | None,
    descending: bool,
    page_size: int | None,
) -> wire.ListMicrogridDispatchesRequest:
    """Make the request for the first page of a list."""
    check_id("microgrid_id", microgrid_id)
    for id_ in ids:
        check_id("id", id_)
    if sort_by is not None and sort_by not in _SORT_FIELDS:
        raise ValueError(f"sort_by {shown(sort_by)} is not one of {', '.join(_SORT_FIELDS)}")
    request = wire.ListMicrogridDispatchesRequest(
        microgrid_id=microgrid_id,
        filter=wire.DispatchFilter(
            targets=[message for t in targets if (message := target_to_wire(t)) is not None],
            is_active=active,
            is_dry_run=dry_run,
            is_recurring=recurring,
            start_time_interval=interval("start", *start),
            end_time_interval=interval("end", *end),
            update_time_interval=interval("update", *update),
            dispatch_ids=[*ids],
            queries=check_texts("queries", queries),
        ),
        pagination_params=first_page(page_size),
    )
    if sort_by is not None or not descending:
        field = _SORT_FIELDS[sort_by or "create_time"]
        order = wire.SortOrder.DESCENDING if descending else wire.SortOrder.ASCENDING
        request.sort_options = wire.SortOptions(sort_field=field, sort_order=order)
    return request


def check_texts(name: str, texts: Collection[str]) -> list[str]:
    """Return a collection of strings as a list.

    Raises:
      ValueError: it is a single string, or one of them cannot be sent.
    """
    if isinstance(texts, str):
        raise ValueError(f"{name} {shown(texts)} is a str: give a collection of strings")
    return [check_text(f"{name}:", text) for text in texts]


def first_page(size: int | None) -> PaginationParams | None:
    """Return the parameters of the first page of a list; None lets the service decide its size."""
    if size is None:
        return None
    if not (isinstance(size, int) and 1 <= size <= _MAX_PAGE_SIZE):
        raise ValueError(f"page_size {shown(size)} is not an integer from 1 to 2**32 - 1")
    return PaginationParams(page_size=size)


def create_request(
    microgrid_id: int,
    *,
    type: str,
    start_time: datetime | Literal["NOW"],
    duration: timedelta | None,
    target: Target,
    active: bool,
    dry_run: bool,
    payload: Mapping[str, Any] | None,
    recurrence: RecurrenceRule | None,
) -> wire.CreateMicrogridDispatchRequest:
    """Make the request that creates a dispatch."""
    check_id("microgrid_id", microgrid_id)
    check_text("type", type)
    _check("active", active, bool)
    _check("dry_run", dry_run, bool)
    if recurrence is not None:
        _check("recurrence", recurrence, RecurrenceRule)
    at_once = start_time == "NOW"
    if isinstance(start_time, str) and not at_once:
        raise ValueError(f"start_time {shown(start_time)} is neither an aware datetime nor 'NOW'")
    return wire.CreateMicrogridDispatchRequest(
        microgrid_id=microgrid_id,
        dispatch_data=wire.DispatchData(
            type=type,
            start_time=None if isinstance(start_time, str) else utc(start_time, "start_time"),
            duration=duration_to_wire(duration),
            target=target_to_wire(target),
            is_active=active,
            is_dry_run=dry_run,
            payload=_payload(payload) if payload else None,
            recurrence=rule_to_wire(recurrence),
        ),
        start_immediately=True if at_once else None,
    )


def update_request(
    microgrid_id: int,
    dispatch_id: int,
    *,
    start_time: datetime | Unset,
    duration: timedelta | Unset | None,
    target: Target | Unset,
    active: bool | Unset,
    payload: Mapping[str, Any] | Unset,
    recurrence: RecurrenceRule | Unset | None,
) -> wire.UpdateMicrogridDispatchRequest:
    """Make the request that changes the given fields."""
    check_id("microgrid_id", microgrid_id)
    check_id("dispatch_id", dispatch_id)
    update = wire.UpdateMicrogridDispatchRequestDispatchUpdate()
    paths: list[str] = []
    if not isinstance(start_time, Unset):
        paths.append("start_time")
        update.start_time = utc(start_time, "start_time")
    if not isinstance(duration, Unset):
        paths.append("duration")
        update.duration = duration_to_wire(duration)
    if not isinstance(target, Unset):
        paths.append("target")
        update.target = target_to_wire(target)
    if not isinstance(active, Unset):
        paths.append("is_active")
        _check("active", active, bool)
        update.is_active = active
    if not isinstance(payload, Unset):
        paths.append("payload")
        update.payload = _payload(payload)
    if not isinstance(recurrence, Unset):
        if recurrence is not None:
            _check("recurrence", recurrence, RecurrenceRule)
        paths += [f"recurrence.{name}" for name in _RULE_PATHS]
        update.recurrence = _rule_update(recurrence)
    if not paths:
        raise ValueError(f"dispatch {dispatch_id}: nothing to change was given")
    return wire.UpdateMicrogridDispatchRequest(
        microgrid_id=microgrid_id,
        dispatch_id=dispatch_id,
        update_mask=FieldMask(paths=paths),
        update=update,
    )


def interval(name: str, start: datetime | None, end: datetime | None) -> Interval | None:
    """Return a time range whose bounds have the arguments `{name}_from` and `{name}_to`."""
    if start is None and end is None:
        return None
    return Interval(
        start_time=None if start is None else utc(start, f"{name}_from"),
        end_time=None if end is None else utc(end, f"{name}_to"),
    )


def _rule_update(
    rule: RecurrenceRule | None,
) -> wire.UpdateMicrogridDispatchRequestDispatchUpdateRecurrenceRuleUpdate | None:
    message = rule_to_wire(rule)
    if rule is None or message is None:
        return None
    return wire.UpdateMicrogridDispatchRequestDispatchUpdateRecurrenceRuleUpdate(
        freq=message.freq,
        interval=message.interval,
        end_criteria=criteria_to_wire(rule.end_criteria),
        byminutes=message.byminutes,
        byhours=message.byhours,
        byweekdays=message.byweekdays,
        bymonthdays=message.bymonthdays,
        bymonths=message.bymonths,
    )
