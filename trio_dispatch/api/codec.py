"""Conversion between the API's messages and the model.

`WIRE` decodes and encodes the API's messages as betterproto2 shows them.  `decode_dispatch` and
`encode_dispatch` go straight between bytes and a `Dispatch`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from ..model.dispatch import Dispatch
from ..model.recurrence.rule import EndCriteria, RecurrenceRule
from ..model.target import (
    BatteryType,
    EvChargerType,
    InverterType,
    Target,
    TargetCategories,
    TargetCategory,
    TargetIds,
)
from ..model.times import nanos_of, time_from_nanos, time_to_nanos
from ..model.validation import check_duration
from ..protobuf.codec import MessageCodec
from . import wire
from .decoding import BUILDERS, build_time
from .wire import ListValue, NullValue, Struct, Timestamp, Value

__all__ = [
    "WIRE",
    "decode_dispatch",
    "encode_dispatch",
    "message_field",
    "nanos_of",
    "time_from_nanos",
    "time_to_nanos",
]

_TIMESTAMP_SIZE = 17  # bytes at most: two tags, and varints of up to ten and five bytes

_plain = MessageCodec()


def _encode_timestamp(moment: datetime) -> bytes:
    return _timestamp_bytes(*divmod(time_to_nanos(moment), 1_000_000_000))


@lru_cache(1024)
def _timestamp_bytes(seconds: int, nanos: int) -> bytes:
    return _plain.encode(Timestamp(seconds=seconds, nanos=nanos), Timestamp)


WIRE = MessageCodec(
    builders={Timestamp: build_time},
    encoders={Timestamp: _encode_timestamp, bytes: bytes},
    decoders={bytes: bytes},
)
"""The API's messages.  With `bytes` as the message type, bytes pass as they are."""


def _decode_timestamp(data: bytes) -> datetime:
    moment: datetime = WIRE.decoder(Timestamp)(data, 0, len(data), 0)
    return moment


# Many dispatches begin or end at the same times, and most were never updated since they were
# created: to remember some times saves much of the decoding, and a copy of each.
_remembered_timestamp = lru_cache(4096)(_decode_timestamp)


def _timestamp(data: bytes) -> datetime:
    # A longer one has unknown fields, which are not worth the memory.
    return (_remembered_timestamp if len(data) <= _TIMESTAMP_SIZE else _decode_timestamp)(data)


_fields = MessageCodec(builders=BUILDERS, decoders={Timestamp: _timestamp})


def message_field(number: int, message: bytes) -> bytes:
    """Encode a field with a message in it: its tag, the length, the bytes."""
    size, tag = len(message), number << 3 | 2
    if size <= 0x7F:
        return bytes((tag, size)) + message
    if size <= 0x3FFF:
        return bytes((tag, size & 0x7F | 0x80, size >> 7)) + message
    head = bytearray([tag])
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + message


def decode_dispatch(data: bytes) -> Dispatch:
    """Decode the bytes of a `Dispatch` message.

    Raises:
      DecodeError: the bytes are invalid, or the message has no id or no start time.
    """
    message: type[object] = wire.Dispatch
    dispatch = _fields.decode(data, message)
    assert isinstance(dispatch, Dispatch)
    return dispatch


def encode_dispatch(dispatch: Dispatch) -> bytes:
    """Encode a dispatch as the bytes of a `Dispatch` message."""
    return WIRE.encode(dispatch_to_wire(dispatch), wire.Dispatch)


# From the model to messages.


def dispatch_to_wire(dispatch: Dispatch) -> wire.Dispatch:
    """Convert a dispatch to a message."""
    return wire.Dispatch(
        metadata=wire.DispatchMetadata(
            dispatch_id=dispatch.id,
            create_time=dispatch.create_time,
            update_time=dispatch.update_time,
            end_time=dispatch.end_time,
        ),
        data=wire.DispatchData(
            type=dispatch.type,
            start_time=dispatch.start_time,
            duration=duration_to_wire(dispatch.duration),
            target=target_to_wire(dispatch.target),
            is_active=dispatch.active,
            is_dry_run=dispatch.dry_run,
            payload=payload_to_wire(dispatch.payload) if dispatch.payload else None,
            recurrence=rule_to_wire(dispatch.recurrence),
        ),
    )


def duration_to_wire(duration: timedelta | None) -> int | None:
    """Convert a duration to seconds."""
    return None if duration is None else check_duration(duration)


def target_to_wire(target: Target | None) -> wire.TargetComponents | None:
    """Convert a target to a message, with its ids or categories in order."""
    match target:
        case TargetIds():
            ids = wire.TargetComponentsIdSet(ids=sorted(target))
            return wire.TargetComponents(component_ids=ids)
        case TargetCategories() if all(item.type is None for item in target):
            categories = wire.TargetComponentsCategorySet(
                categories=[
                    wire.ElectricalComponentCategory(item.category)
                    for item in sorted(target, key=_rank)
                ]
            )
            return wire.TargetComponents(component_categories=categories)
        case TargetCategories():
            types = wire.TargetComponentsCategoryTypeSet(
                categories=[_category_to_wire(item) for item in sorted(target, key=_rank)]
            )
            return wire.TargetComponents(component_categories_types=types)
        case None:
            return None
    raise ValueError(f"target {target!r} is not a TargetIds or TargetCategories")


def _rank(item: TargetCategory) -> tuple[int, str, int]:
    """A sort key that is equal for equal items only."""
    return item.category, type(item.type).__name__, item.type or 0


def _category_to_wire(item: TargetCategory) -> wire.TargetComponentsCategoryAndType:
    type_ = item.type
    return wire.TargetComponentsCategoryAndType(
        category=wire.ElectricalComponentCategory(item.category),
        battery=wire.BatteryType(type_) if isinstance(type_, BatteryType) else None,
        inverter=wire.InverterType(type_) if isinstance(type_, InverterType) else None,
        ev_charger=wire.EvChargerType(type_) if isinstance(type_, EvChargerType) else None,
    )


def payload_to_wire(payload: Any) -> Struct:
    """Convert a JSON mapping to a message."""
    return Struct(fields={key: _to_value(value) for key, value in payload.items()})


def _to_value(value: Any) -> Value:
    match value:
        case None:
            return Value(null_value=NullValue.NULL_VALUE)
        case bool():
            return Value(bool_value=value)
        case float() | int():
            return Value(number_value=value)
        case str():
            return Value(string_value=value)
        case list() | tuple():
            return Value(list_value=ListValue(values=[_to_value(item) for item in value]))
    return Value(struct_value=payload_to_wire(value))


def rule_to_wire(rule: RecurrenceRule | None) -> wire.RecurrenceRule | None:
    """Convert a recurrence rule to a message."""
    if rule is None:
        return None
    return wire.RecurrenceRule(
        freq=wire.RecurrenceRuleFrequency(rule.frequency),
        interval=rule.interval,
        end_criteria=criteria_to_wire(rule.end_criteria),
        byminutes=list(rule.byminutes),
        byhours=list(rule.byhours),
        byweekdays=[wire.RecurrenceRuleWeekday(day) for day in rule.byweekdays],
        bymonthdays=list(rule.bymonthdays),
        bymonths=list(rule.bymonths),
    )


def criteria_to_wire(criteria: EndCriteria | None) -> wire.RecurrenceRuleEndCriteria | None:
    """Convert the end of a recurrence rule to a message."""
    if criteria is None:
        return None
    return wire.RecurrenceRuleEndCriteria(count=criteria.count, until_time=criteria.until)
