"""Compiles the encoder of a message class from betterproto2's field metadata.

An encoder is ``encode(message)``.  It writes fields in the order of their numbers and packs lists
of numbers, as the C++ implementations do; unknown fields follow unchanged.
"""

from __future__ import annotations

import math
import struct
from collections.abc import MutableMapping
from typing import Any, NoReturn, Protocol, cast

import betterproto2 as bp

from ._wire_format import (
    DELIMITED,
    STRUCTS,
    VARINT,
    Encode,
    EncodeError,
    Field,
    Source,
    class_of,
    fields_of,
    varint,
    wire_type,
)

# The least and the greatest value of a type.
_BOUNDS = {
    bp.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    bp.TYPE_ENUM: (-(1 << 31), (1 << 31) - 1),
    bp.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    bp.TYPE_UINT32: (0, (1 << 32) - 1),
    bp.TYPE_UINT64: (0, (1 << 64) - 1),
    bp.TYPE_SINT32: (-(1 << 31), (1 << 31) - 1),
    bp.TYPE_SINT64: (-(1 << 63), (1 << 63) - 1),
}
_ZIGZAG = {bp.TYPE_SINT32, bp.TYPE_SINT64}
_FLOATS = {bp.TYPE_FLOAT, bp.TYPE_DOUBLE}


class GetEncoder(Protocol):
    """Returns the encoder of a class, see `MessageCodec.encoder`."""

    def __call__(self, cls: type, *, unwrap: bool = False) -> Encode: ...


def compile_encoder(cls: Any, encoders: MutableMapping[type, Encode], get: GetEncoder) -> Encode:
    """Compile the encoder of a class and of those it needs, and enter them in `encoders`."""
    fields = fields_of(cls)
    source = Source(varint=varint, sign=math.copysign, StructError=struct.error)
    source.add(0, "def encode(message):")
    source.add(1, "out = b''")
    for name, field in fields:
        path = f"{cls.__name__}.{name}"
        source.add(1, f"v = message.{name}")
        if not field.repeated and field.map_meta is None:
            source.add(1, f"if {_present(field)}:")
            source.add(2, *_value(path, str(field.number), field, source, field.number))
            continue
        # Bytes would be copied for each item.
        source.add(1, "if v:", "    many = bytearray()")
        if field.map_meta is not None:
            source.add(2, "for k, v in v.items():")
            source.add(3, *_map_entry(path, field, source))
            source.add(2, "out += many")
        elif wire_type(field.proto_type) == DELIMITED:
            source.add(2, "for v in v:")
            source.add(3, *_value(path, str(field.number), field, source, field.number, "many"))
            source.add(2, "out += many")
        else:
            source.add(2, "for v in v:")
            source.add(3, *_value(path, str(field.number), field, source, None, "many"))
            tag = varint(field.number << 3 | DELIMITED)
            source.add(2, f"out += {tag!r} + varint(len(many)) + many")
    source.add(1, "return out + message._unknown_fields")
    encode = cast(Encode, source.function("encode", f"<encoder of {cls.__name__}>"))
    # Entered before the inner encoders are looked up: a message may contain itself.
    encoders[cls] = encode
    for name, field in fields:
        if field.map_meta is not None:
            value = field.map_meta[1]
            if value.proto_type == bp.TYPE_MESSAGE:
                key = f"encode_{field.number}_value"
                inner = value.unwrap() if value.unwrap else _map_value_class(cls, name)
                source.names[key] = get(inner, unwrap=value.unwrap is not None)
        elif field.proto_type == bp.TYPE_MESSAGE:
            inner = class_of(cls, name, field)
            source.names[f"encode_{field.number}"] = get(inner, unwrap=field.unwrap is not None)
    return encode


def _map_value_class(cls: Any, name: str) -> Any:
    return cls._betterproto.cls_by_field[f"{name}.value"]


def _present(field: Field) -> str:
    """The condition for writing `v`."""
    if field.optional or field.group or field.proto_type == bp.TYPE_MESSAGE:
        return "v is not None"
    if field.proto_type in _FLOATS:
        return "v or sign(1, v) < 0"  # -0.0 is not the default
    return "v"


def _map_entry(path: str, field: Field, source: Source) -> list[str]:
    assert field.map_meta is not None
    key, value = field.map_meta
    tag = varint(field.number << 3 | DELIMITED)
    return [
        "entry = b''",
        *_value(f"{path} key", f"{field.number}_key", key, source, 1, "entry", "k"),
        *_value(f"{path} value", f"{field.number}_value", value, source, 2, "entry"),
        f"many += {tag!r} + varint(len(entry)) + entry",
    ]


def _value(
    path: str,
    suffix: str,
    field: Field,
    source: Source,
    number: int | None,
    out: str = "out",
    v: str = "v",
) -> list[str]:
    """Writes one value, with its tag unless `number` is None."""
    kind = field.proto_type
    wire = wire_type(kind)
    tag = b"" if number is None else varint(number << 3 | wire)
    if wire == DELIMITED:
        if kind == bp.TYPE_MESSAGE:
            body = f"encode_{suffix}({v})"
        else:
            body = f"{v}.encode()" if kind == bp.TYPE_STRING else v
        return [f"body = {body}", f"{out} += {tag!r} + varint(len(body)) + body"]
    refuse = f"refuse_{suffix}"
    source.names[refuse] = _refusal(path, kind)
    if wire == VARINT:
        number_of = f"{v} << 1 ^ {v} >> 63" if kind in _ZIGZAG else v
        write = f"{out} += {tag!r} + varint({number_of})"
        if kind == bp.TYPE_BOOL:
            return [write]
        low, high = _BOUNDS[kind]
        return [f"if not {low} <= {v} <= {high}: {refuse}({v})", write]
    source.names[f"pack_{suffix}"] = STRUCTS[kind].pack
    return [
        "try:",
        f"    {out} += {tag!r} + pack_{suffix}({v})",
        "except (StructError, OverflowError) as exc:",
        f"    {refuse}({v}, exc)",
    ]


def _refusal(path: str, kind: str) -> Any:
    def refuse(value: Any, cause: Exception | None = None) -> NoReturn:
        raise EncodeError(f"{path}: {value!r} is not a valid {kind}") from cause

    return refuse
