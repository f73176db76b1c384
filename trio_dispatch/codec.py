"""Between the messages of the API and the domain: both ways, and strict.

`WIRE` decodes and encodes the API's messages as betterproto2 shows them.  `DOMAIN` has domain
objects where `Dispatch` messages stand, or an `Undecodable` for what makes no sense, so that one
bad dispatch does not spoil the page that it came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ._generated.frequenz.api.dispatch import v1 as wire
from ._generated.google.protobuf import ListValue, NullValue, Struct, Timestamp, Value
from ._payload import EMPTY, Payload
from .dispatch import Dispatch, check_duration
from .grpc.codec import DecodeError, MessageCodec
from .recurrence import EndCriteria, RecurrenceRule
from .targets import (
    BatteryType,
    ComponentType,
    EvChargerType,
    InverterType,
    Target,
    TargetCategories,
    TargetCategory,
    TargetIds,
)

__all__ = ["DOMAIN", "WIRE", "Undecodable", "decode_dispatch", "encode_dispatch"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


# Times.  The API keeps nanoseconds, a datetime microseconds.


class NanoTime(datetime):
    """A datetime that also knows the nanoseconds, 0 to 999, below its microsecond."""

    nanos = 0


_NANO_EPOCH = NanoTime(1970, 1, 1, tzinfo=UTC)


def time_from_nanos(nanos: int) -> datetime:
    """The moment so many nanoseconds after 1970.

    Raises:
      OverflowError: that is before the year 1 or after 9999.
    """
    micros, rest = divmod(nanos, 1000)
    if not rest:
        return _EPOCH + timedelta(microseconds=micros)
    moment = _NANO_EPOCH + timedelta(microseconds=micros)
    moment.nanos = rest
    return moment


def time_to_nanos(moment: datetime) -> int:
    """The nanoseconds from 1970 to a moment."""
    delta = moment - _EPOCH
    micros = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    return micros * 1000 + nanos_of(moment)


def nanos_of(moment: datetime) -> int:
    """The nanoseconds of a moment below its microsecond."""
    return moment.nanos if isinstance(moment, NanoTime) else 0


_plain = MessageCodec()


def _decode_timestamp(data: bytes) -> datetime:
    stamp = _plain.decode(data, Timestamp)
    if not 0 <= stamp.nanos < 1_000_000_000:
        raise DecodeError(f"a timestamp has {stamp.nanos} nanoseconds")
    try:
        return time_from_nanos(stamp.seconds * 1_000_000_000 + stamp.nanos)
    except OverflowError:
        raise DecodeError(f"a timestamp of {stamp.seconds} s is out of years 1 to 9999") from None


def _encode_timestamp(moment: datetime) -> bytes:
    seconds, nanos = divmod(time_to_nanos(moment), 1_000_000_000)
    return _plain.encode(Timestamp(seconds=seconds, nanos=nanos), Timestamp)


WIRE = MessageCodec(
    decoders={Timestamp: _decode_timestamp}, encoders={Timestamp: _encode_timestamp}
)


# Dispatches.


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A dispatch that came over the wire and makes no sense."""

    id: int | None
    reason: str


def decode_dispatch(data: bytes) -> Dispatch:
    """The dispatch that these bytes of a `Dispatch` message are.

    Raises:
      DecodeError: they are none, or lack what every dispatch has.
    """
    return dispatch_from_wire(WIRE.decode(data, wire.Dispatch))


def encode_dispatch(dispatch: Dispatch) -> bytes:
    """The bytes of the `Dispatch` message that says what the dispatch does."""
    return WIRE.encode(dispatch_to_wire(dispatch), wire.Dispatch)


def _decode_or_not(data: bytes) -> Dispatch | Undecodable:
    try:
        return decode_dispatch(data)
    except DecodeError as exc:
        return Undecodable(_id_of(data), str(exc))


def _id_of(data: bytes) -> int | None:
    """The id of a dispatch whose times or strings may be beyond reading."""
    try:
        # Without the hooks for times, the only thing read of the metadata is the id.
        metadata = (
            MessageCodec(decoders={wire.DispatchData: bytes, Timestamp: bytes})
            .decode(data, wire.Dispatch)
            .metadata
        )
    except DecodeError:
        return None
    return None if metadata is None else metadata.dispatch_id


DOMAIN = MessageCodec(
    decoders={Timestamp: _decode_timestamp, wire.Dispatch: _decode_or_not},
    encoders={Timestamp: _encode_timestamp, wire.Dispatch: encode_dispatch},
)


def dispatch_from_wire(message: wire.Dispatch) -> Dispatch:
    """The dispatch that a message means.

    Raises:
      DecodeError: it lacks what every dispatch has.
    """
    metadata, data = message.metadata, message.data
    if metadata is None:
        raise DecodeError("a dispatch has no metadata and so no id")
    if data is None or data.start_time is None:
        raise DecodeError(f"dispatch {metadata.dispatch_id} has no start time")
    update_time = metadata.update_time or _EPOCH
    return Dispatch(
        id=metadata.dispatch_id,
        type=data.type,
        start_time=data.start_time,
        duration=None if data.duration is None else timedelta(seconds=data.duration),
        target=target_from_wire(data.target),
        active=data.is_active,
        dry_run=data.is_dry_run,
        payload=payload_from_wire(data.payload),
        recurrence=rule_from_wire(data.recurrence),
        create_time=metadata.create_time or _EPOCH,
        update_time=update_time,
        end_time=metadata.end_time,
        _update_nanos=nanos_of(update_time),
    )


def dispatch_to_wire(dispatch: Dispatch) -> wire.Dispatch:
    """The message that says what a dispatch does."""
    return wire.Dispatch(
        metadata=wire.DispatchMetadata(
            dispatch_id=dispatch.id,
            create_time=dispatch.create_time,
            update_time=_with_nanos(dispatch.update_time, dispatch._update_nanos),
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


def _with_nanos(moment: datetime, nanos: int) -> datetime:
    return time_from_nanos(time_to_nanos(moment) - nanos_of(moment) + nanos)


def duration_to_wire(duration: timedelta | None) -> int | None:
    """The seconds of a duration."""
    return None if duration is None else check_duration(duration)


# Targets.


def target_from_wire(message: wire.TargetComponents | None) -> Target | None:
    """The target that a message means; None if it means none."""
    if message is None:
        return None
    if message.component_ids is not None:
        return TargetIds(*message.component_ids.ids)
    if message.component_categories is not None:
        return TargetCategories(*message.component_categories.categories)
    if message.component_categories_types is not None:
        return TargetCategories(
            *(
                TargetCategory(item.category, _component_type(item))
                for item in message.component_categories_types.categories
            )
        )
    return None


def _component_type(item: wire.TargetComponentsCategoryAndType) -> ComponentType | None:
    for value in (item.battery, item.inverter, item.ev_charger):
        if value is not None:
            return value
    return None


def target_to_wire(target: Target | None) -> wire.TargetComponents | None:
    """The message that says what a target does; ids and categories in order."""
    match target:
        case TargetIds():
            ids = wire.TargetComponentsIdSet(ids=sorted(target))
            return wire.TargetComponents(component_ids=ids)
        case TargetCategories() if all(item.type is None for item in target):
            categories = wire.TargetComponentsCategorySet(
                categories=sorted(item.category for item in target)
            )
            return wire.TargetComponents(component_categories=categories)
        case TargetCategories():
            types = wire.TargetComponentsCategoryTypeSet(
                categories=[_category_to_wire(item) for item in sorted(target, key=str)]
            )
            return wire.TargetComponents(component_categories_types=types)
        case None:
            return None
    raise ValueError(f"target {target!r} is not a TargetIds or TargetCategories")


def _category_to_wire(item: TargetCategory) -> wire.TargetComponentsCategoryAndType:
    type_ = item.type
    return wire.TargetComponentsCategoryAndType(
        category=item.category,
        battery=type_ if isinstance(type_, BatteryType) else None,
        inverter=type_ if isinstance(type_, InverterType) else None,
        ev_charger=type_ if isinstance(type_, EvChargerType) else None,
    )


# Payloads.


def payload_from_wire(message: Struct | None) -> Payload:
    """The payload that a message means."""
    return Payload(_struct(message)) if message is not None and message.fields else EMPTY


def _struct(message: Struct) -> dict[str, Any]:
    return {key: _value(value) for key, value in message.fields.items()}


def _value(value: Value) -> Any:
    for content in (value.number_value, value.string_value, value.bool_value):
        if content is not None:
            return content
    if value.struct_value is not None:
        return _struct(value.struct_value)
    if value.list_value is not None:
        return [_value(item) for item in value.list_value.values]
    return None


def payload_to_wire(payload: Any) -> Struct:
    """The message that says what a mapping of JSON does."""
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


# Recurrence rules.


def rule_from_wire(message: wire.RecurrenceRule | None) -> RecurrenceRule | None:
    """The rule that a message means; it may be one that makes no sense and never fires."""
    if message is None:
        return None
    criteria = message.end_criteria
    return RecurrenceRule._from_wire(
        frequency=int(message.freq),
        interval=message.interval,
        end_criteria=None
        if criteria is None
        else EndCriteria._from_wire(count=criteria.count, until=criteria.until_time),
        byminutes=tuple(message.byminutes),
        byhours=tuple(message.byhours),
        byweekdays=tuple(map(int, message.byweekdays)),
        bymonthdays=tuple(message.bymonthdays),
        bymonths=tuple(message.bymonths),
    )


def rule_to_wire(rule: RecurrenceRule | None) -> wire.RecurrenceRule | None:
    """The message that says what a rule does."""
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
    """The message that says what ends a rule."""
    if criteria is None:
        return None
    return wire.RecurrenceRuleEndCriteria(count=criteria.count, until_time=criteria.until)
