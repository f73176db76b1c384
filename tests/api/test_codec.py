"""The API's messages: golden samples, and round trips of values."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import betterproto2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.random_dispatches import dispatches
from trio_dispatch.api import codec, wire
from trio_dispatch.api.codec import (
    WIRE,
    decode_dispatch,
    encode_dispatch,
    nanos_of,
    time_from_nanos,
    time_to_nanos,
)
from trio_dispatch.api.signing import request_metadata
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule, Weekday
from trio_dispatch.model.target import (
    BatteryType,
    ElectricalComponentCategory,
    EvChargerType,
    InverterType,
    TargetCategories,
    TargetIds,
)
from trio_dispatch.protobuf.codec import DecodeError

DATA = Path(__file__).parents[1] / "data"
GOLDEN = json.loads((DATA / "golden_messages.json").read_text())
LEGAL = [row for row in GOLDEN if "error" not in row]
ILLEGAL = [row for row in GOLDEN if "error" in row]
DISPATCHES = [
    row
    for row in LEGAL
    if row["message"].endswith(".Dispatch")
    and "start_time" in row["json"].get("data", {})
    and "metadata" in row["json"]
]


def message_class(row: dict[str, Any]) -> Any:
    return getattr(wire, row["message"].rpartition(".")[2])


def rfc3339(moment: datetime) -> str:
    nanos = f"{moment.microsecond * 1000 + nanos_of(moment):09d}"
    while nanos.endswith("000"):
        nanos = nanos[:-3]
    return f"{moment:%Y-%m-%dT%H:%M:%S}".zfill(19) + (f".{nanos}Z" if nanos else "Z")


INT64 = {betterproto2.TYPE_INT64, betterproto2.TYPE_UINT64}


def meaning(message: Any) -> Any:
    """The content of a message, in the notation of the golden messages."""
    name = type(message).__name__
    if name == "Struct":
        return {key: struct_value(value) for key, value in message.fields.items()}
    if name == "FieldMask":
        return ",".join(
            re.sub("_(.)", lambda match: match[1].upper(), path) for path in message.paths
        )
    said = {}
    for field, meta in message._betterproto.meta_by_field_name.items():
        value = getattr(message, field)
        if value is None or (
            not (meta.optional or meta.group) and value == message._get_field_default(field)
        ):
            continue
        said[field] = (
            [scalar(item, meta) for item in value] if meta.repeated else scalar(value, meta)
        )
    return said


def scalar(value: Any, meta: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if meta.proto_type == betterproto2.TYPE_MESSAGE:
        return meaning(value)
    return (
        str(value)
        if meta.proto_type in INT64
        else int(value)
        if meta.proto_type == "enum"
        else value
    )


def struct_value(value: Any) -> Any:
    if value.struct_value is not None:
        return meaning(value.struct_value)
    if value.list_value is not None:
        return [struct_value(item) for item in value.list_value.values]
    for content in (value.number_value, value.string_value, value.bool_value):
        if content is not None:
            return content
    return None


@pytest.mark.parametrize("row", LEGAL, ids=lambda row: row["name"])
def test_a_valid_message_is_decoded_and_survives_a_round_trip(row: dict[str, Any]) -> None:
    cls = message_class(row)
    message = WIRE.decode(bytes.fromhex(row["hex"]), cls)
    assert meaning(message) == row["json"]
    assert meaning(WIRE.decode(WIRE.encode(message, cls), cls)) == row["json"]


@pytest.mark.parametrize("row", ILLEGAL, ids=lambda row: row["name"])
def test_an_invalid_message_is_rejected(row: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        WIRE.decode(bytes.fromhex(row["hex"]), message_class(row))


def test_no_golden_message_is_missing() -> None:
    assert (len(LEGAL), len(ILLEGAL)) == (67, 7)


@pytest.mark.parametrize("row", DISPATCHES, ids=lambda row: row["name"])
def test_a_dispatch_has_the_content_of_its_message(row: dict[str, Any]) -> None:
    said = row["json"]
    dispatch = decode_dispatch(bytes.fromhex(row["hex"]))
    data = said["data"]
    assert dispatch.id == int(said["metadata"]["dispatch_id"])
    assert dispatch.type == data["type"]
    seconds = data.get("duration")
    assert dispatch.duration == (None if seconds is None else timedelta(seconds=seconds))
    assert (dispatch.active, dispatch.dry_run) == (
        data.get("is_active", False),
        data.get("is_dry_run", False),
    )
    assert dispatch.payload == data.get("payload", {})
    assert rfc3339(dispatch.start_time)[:26] == data["start_time"][:26]
    assert (dispatch.recurrence is None) == ("recurrence" not in data)
    assert decode_dispatch(encode_dispatch(dispatch)) == dispatch


@pytest.mark.parametrize(
    ("row", "target"),
    [
        ("dispatch plain", TargetIds(1, 2, 300)),
        ("target empty id set", TargetIds()),
        ("no target", None),
        ("target category 5", TargetCategories(ElectricalComponentCategory.BATTERY)),
        (
            "target categories",
            TargetCategories(
                ElectricalComponentCategory.INVERTER,
                ElectricalComponentCategory.BATTERY,
                ElectricalComponentCategory.EV_CHARGER,
            ),
        ),
        ("target category 99", TargetCategories(ElectricalComponentCategory(99))),
        ("target battery type 1", TargetCategories(BatteryType.LI_ION)),
        ("target battery type 77", TargetCategories(BatteryType(77))),
        ("target inverter type 2", TargetCategories(InverterType.PV)),
        ("target ev_charger type 3", TargetCategories(EvChargerType.HYBRID)),
        (
            "target category and type mixed",
            TargetCategories(ElectricalComponentCategory.BATTERY, InverterType.BATTERY),
        ),
    ],
)
def test_targets(row: str, target: object) -> None:
    (found,) = (each for each in GOLDEN if each["name"] == row)
    assert decode_dispatch(bytes.fromhex(found["hex"])).target == target


def test_recurrence() -> None:
    (row,) = (each for each in GOLDEN if each["name"] == "recurrence weekly full")
    assert decode_dispatch(bytes.fromhex(row["hex"])).recurrence == RecurrenceRule(
        Frequency.WEEKLY,
        interval=2,
        end_criteria=EndCriteria(count=4096),
        byminutes=(0, 15, 30, 45),
        byhours=(8, 20),
        byweekdays=(Weekday.MONDAY, Weekday.WEDNESDAY, Weekday.FRIDAY),
    )


def test_nanoseconds_survive_a_round_trip() -> None:
    start, update = time_from_nanos(1_000_000_001), time_from_nanos(2_000_000_003)
    message = wire.Dispatch(
        metadata=wire.DispatchMetadata(dispatch_id=1, create_time=start, update_time=update),
        data=wire.DispatchData(type="A", start_time=start),
    )
    data = WIRE.encode(message, wire.Dispatch)
    assert encode_dispatch(decode_dispatch(data)) == data


@given(st.integers(-62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1))
def test_times_keep_their_nanoseconds(nanos: int) -> None:
    moment = time_from_nanos(nanos)
    assert time_to_nanos(moment) == nanos
    data = wire.DispatchMetadata(create_time=moment)
    again = WIRE.decode(WIRE.encode(data, wire.DispatchMetadata), wire.DispatchMetadata)
    assert again.create_time is not None
    assert time_to_nanos(again.create_time) == nanos


@given(dispatches())
def test_any_dispatch_survives_the_wire(dispatch: Dispatch) -> None:
    assert decode_dispatch(encode_dispatch(dispatch)) == dispatch


@pytest.mark.parametrize(
    "golden",
    json.loads((DATA / "golden_signatures.json").read_text()),
    ids=lambda golden: golden["method"],
)
def test_signatures(golden: dict[str, Any]) -> None:
    assert (
        request_metadata(
            golden["key"],
            golden["secret"],
            golden["method"],
            datetime.fromtimestamp(golden["unix_time"], UTC),
            bytes.fromhex(golden["nonce_hex"]),
        )
        == golden["metadata"]
    )


def test_without_a_secret_only_the_key_is_sent() -> None:
    assert request_metadata("k", None, "Any", datetime.now(UTC)) == {"key": "k"}


def test_only_short_timestamps_are_remembered() -> None:
    """Unknown fields may make one as long as a message."""
    codec._remembered_timestamp.cache_clear()
    short = b"\x08\x01"
    for padding in (b"", b"", b"\x1a\x40" + bytes(64)):
        assert codec._timestamp(short + padding) == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    known = codec._remembered_timestamp.cache_info()
    assert (known.hits, known.currsize) == (1, 1)
