"""Model values straight from the fields of the API's messages.

`BUILDERS` names the function that a codec calls with the decoded fields of each message of which a
dispatch consists, timestamps excepted.  Content is not validated: an invalid rule and unknown enum
numbers are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from ..model.dispatch import Dispatch
from ..model.payload import EMPTY, FrozenList, Payload, freeze_number
from ..model.recurrence.rule import EndCriteria, RecurrenceRule
from ..model.target import (
    BatteryType,
    ComponentType,
    ElectricalComponentCategory,
    EvChargerType,
    InverterType,
    Target,
    TargetCategories,
    TargetCategory,
    TargetIds,
)
from ..model.times import time_of
from ..protobuf.codec import DecodeError
from . import wire
from .wire import ListValue, Struct, Value

__all__ = ["BUILDERS", "build_time", "rule_from_wire", "target_from_wire"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def build_time(seconds: int, nanos: int) -> datetime:
    """Convert the fields of a `Timestamp`.

    Raises:
      DecodeError: the nanoseconds are out of range, or the year is not between 1 and 9999.
    """
    if not 0 <= nanos < 1_000_000_000:
        raise DecodeError(f"a timestamp has {nanos} nanoseconds, not 0 to 999,999,999")
    try:
        return time_of(seconds, nanos)
    except OverflowError:
        raise DecodeError(f"a timestamp of {seconds} s is outside of the years 1 to 9999") from None


# Plain dicts, which take a fraction of the time of a class.


class _Metadata(TypedDict):
    dispatch_id: int
    create_time: datetime | None
    update_time: datetime | None
    end_time: datetime | None


class _Data(TypedDict):
    type: str
    start_time: datetime | None
    duration: int | None
    target: Target | None
    is_active: bool
    is_dry_run: bool
    payload: Payload | None
    recurrence: RecurrenceRule | None


def _dispatch(metadata: _Metadata | None, data: _Data | None) -> Dispatch:
    if metadata is None:
        raise DecodeError("the dispatch has no metadata and so no id")
    id_ = metadata["dispatch_id"]
    if data is None or data["start_time"] is None:
        raise DecodeError("it has no start time")
    duration = data["duration"]
    return Dispatch.unchecked(
        id=id_,
        type=data["type"],
        start_time=data["start_time"],
        duration=None if duration is None else timedelta(seconds=duration),
        target=data["target"],
        active=data["is_active"],
        dry_run=data["is_dry_run"],
        payload=data["payload"] or EMPTY,
        recurrence=data["recurrence"],
        create_time=metadata["create_time"] or _EPOCH,
        update_time=metadata["update_time"] or _EPOCH,
        end_time=metadata["end_time"],
    )


# Payloads.


def _value(
    null_value: object,
    number_value: float | None,
    string_value: str | None,
    bool_value: bool | None,
    struct_value: Payload | None,
    list_value: FrozenList | None,
) -> object:
    if number_value is not None:
        return freeze_number(number_value)
    for value in (string_value, bool_value, struct_value):
        if value is not None:
            return value
    return list_value


def _list(values: Iterable[Any]) -> FrozenList:
    return FrozenList(values)


# Targets.


def _target(
    component_ids: Target | None,
    component_categories: Target | None,
    component_categories_types: Target | None,
) -> Target | None:
    for target in (component_ids, component_categories, component_categories_types):
        if target is not None:
            return target
    return None


def _category(
    category: int,
    battery: int | None,
    inverter: int | None,
    ev_charger: int | None,
) -> TargetCategory:
    return TargetCategory(
        ElectricalComponentCategory(category), _component_type(battery, inverter, ev_charger)
    )


def _component_type(
    battery: int | None, inverter: int | None, ev_charger: int | None
) -> ComponentType | None:
    if battery is not None:
        return BatteryType(battery)
    if inverter is not None:
        return InverterType(inverter)
    return None if ev_charger is None else EvChargerType(ev_charger)


def _categories(categories: Iterable[int]) -> TargetCategories:
    return TargetCategories(*map(ElectricalComponentCategory, categories))


def target_from_wire(message: wire.TargetComponents | None) -> Target | None:
    """Convert a message to a target; None if the message names no target."""
    if message is None:
        return None
    if message.component_ids is not None:
        return TargetIds(*message.component_ids.ids)
    if message.component_categories is not None:
        return _categories(message.component_categories.categories)
    if message.component_categories_types is not None:
        return TargetCategories(
            *(
                _category(item.category, item.battery, item.inverter, item.ev_charger)
                for item in message.component_categories_types.categories
            )
        )
    return None


# Recurrence rules.


def _criteria(count: int | None, until_time: datetime | None) -> EndCriteria:
    return EndCriteria.unchecked(count=count, until=until_time)


def _rule(
    freq: int,
    interval: int,
    end_criteria: EndCriteria | None,
    byminutes: Iterable[int],
    byhours: Iterable[int],
    byweekdays: Iterable[int],
    bymonthdays: Iterable[int],
    bymonths: Iterable[int],
) -> RecurrenceRule:
    return RecurrenceRule.unchecked(
        frequency=freq,
        interval=interval,
        end_criteria=end_criteria,
        byminutes=byminutes,
        byhours=byhours,
        byweekdays=byweekdays,
        bymonthdays=bymonthdays,
        bymonths=bymonths,
    )


def rule_from_wire(message: wire.RecurrenceRule | None) -> RecurrenceRule | None:
    """Convert a message to a recurrence rule, without validating it."""
    if message is None:
        return None
    end = message.end_criteria
    return _rule(
        message.freq,
        message.interval,
        None if end is None else _criteria(end.count, end.until_time),
        message.byminutes,
        message.byhours,
        message.byweekdays,
        message.bymonthdays,
        message.bymonths,
    )


BUILDERS: dict[type, Callable[..., Any]] = {
    wire.Dispatch: _dispatch,
    wire.DispatchMetadata: dict,
    wire.DispatchData: dict,
    Struct: Payload.unchecked,
    ListValue: _list,
    Value: _value,
    wire.TargetComponents: _target,
    wire.TargetComponentsIdSet: TargetIds.unchecked,
    wire.TargetComponentsCategorySet: _categories,
    wire.TargetComponentsCategoryTypeSet: lambda categories: TargetCategories(*categories),
    wire.TargetComponentsCategoryAndType: _category,
    wire.RecurrenceRule: _rule,
    wire.RecurrenceRuleEndCriteria: _criteria,
}
