"""A codec with decoders, builders and encoders of the user."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from trio_dispatch.api.wire import ListValue, Struct, Timestamp, Value
from trio_dispatch.grpc import MessageCodec
from trio_dispatch.protobuf.codec import DecodeError

PLAIN = MessageCodec()


def value(
    null_value: object,
    number_value: float | None,
    string_value: str | None,
    bool_value: bool | None,
    struct_value: dict[str, Any] | None,
    list_value: list[Any] | None,
) -> Any:
    every = (number_value, string_value, bool_value, struct_value, list_value)
    return next((content for content in every if content is not None), None)


JSON = MessageCodec(
    builders={
        Struct: lambda fields: fields,
        ListValue: lambda values: values,
        Value: value,
    }
)


def encoded(content: Any) -> bytes:
    return PLAIN.encode(Struct.from_dict(content), Struct)


def decoded(data: bytes) -> Any:
    return JSON.decode(data, Struct)


@pytest.mark.parametrize(
    "content",
    [{}, {"a": 1.5}, {"a": None, "b": [True, "x", {"c": [[]]}]}, {"a": {"b": {"c": {}}}}],
)
def test_objects_are_built_without_messages(content: dict[str, Any]) -> None:
    assert decoded(encoded(content)) == content


def test_pieces_of_a_message_are_merged_before_building() -> None:
    built: list[tuple[int, int]] = []

    def build(seconds: int, nanos: int) -> str:
        built.append((seconds, nanos))
        return f"{seconds}.{nanos}"

    one = PLAIN.encode(Timestamp(seconds=1), Timestamp)
    two = PLAIN.encode(Timestamp(nanos=2), Timestamp)
    codec = MessageCodec(builders={Timestamp: build})
    assert codec.decode(one + two, Timestamp) == "1.2"
    assert built == [(1, 2)]


def test_a_missing_field_has_its_default() -> None:
    assert MessageCodec(builders={Timestamp: dict}).decode(b"", Timestamp) == {
        "seconds": 0,
        "nanos": 0,
    }


def test_a_map_entry_without_a_value_has_the_built_default() -> None:
    entry = b"\x0a\x01a"
    data = b"\x0a" + bytes([len(entry)]) + entry
    assert decoded(data) == {"a": None}
    assert PLAIN.decode(data, Struct).fields == {"a": Value()}


def test_unknown_fields_are_dropped() -> None:
    assert decoded(encoded({"a": True}) + b"\x58\x05") == {"a": True}


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05ab", b"\x00\x01", b"\x0a\x03\x0a\x01\xff"])
def test_invalid_bytes_raise_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decoded(data)


def test_a_builder_may_refuse() -> None:
    def refuse(seconds: int, nanos: int) -> None:
        raise DecodeError(f"{seconds} s is too late")

    codec = MessageCodec(builders={Timestamp: refuse})
    with pytest.raises(DecodeError, match="9 s is too late"):
        codec.decode(PLAIN.encode(Timestamp(seconds=9), Timestamp), Timestamp)


def test_threads_that_use_a_codec_for_the_first_time_find_complete_functions() -> None:
    message = Value(
        list_value=ListValue(values=[Value(struct_value=Struct(fields={"a": Value()}))])
    )
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            for _ in range(30):
                codec, together = MessageCodec(), Barrier(4)

                def use(codec: MessageCodec = codec, together: Barrier = together) -> Value:
                    together.wait()
                    return codec.decode(codec.encode(message, Value), Value)

                uses = [threads.submit(use) for _ in range(4)]
                assert [each.result() for each in uses] == [message] * 4
    finally:
        sys.setswitchinterval(interval)
