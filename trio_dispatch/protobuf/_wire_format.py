"""The wire format of protobuf, for the compiled decoders and encoders.

It follows https://protobuf.dev/programming-guides/encoding/, and where that is silent, the C++
implementations (a varint is cut to 64 bits; messages nest at most 100 levels deep).
"""

from __future__ import annotations

import dataclasses
import math
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias, get_args, get_type_hints

import betterproto2 as bp

Decode = Callable[[bytes, int, int, int], Any]  # data, pos, end, depth
Encode = Callable[[Any], bytes]

MAX_DEPTH = 100

VARINT, FIXED64, DELIMITED, GROUP, END_GROUP, FIXED32 = range(6)

STRUCTS = {
    bp.TYPE_DOUBLE: struct.Struct("<d"),
    bp.TYPE_FLOAT: struct.Struct("<f"),
    bp.TYPE_FIXED32: struct.Struct("<I"),
    bp.TYPE_FIXED64: struct.Struct("<Q"),
    bp.TYPE_SFIXED32: struct.Struct("<i"),
    bp.TYPE_SFIXED64: struct.Struct("<q"),
}
_DELIMITED_TYPES = {bp.TYPE_STRING, bp.TYPE_BYTES, bp.TYPE_MESSAGE, bp.TYPE_MAP}


class DecodeError(ValueError):
    """The bytes are not a valid protobuf message of that type."""


class EncodeError(ValueError):
    """A value is not valid for its field."""


class _Elements(threading.local):
    """The number of elements that may still be decoded in this thread."""

    left = math.inf


_elements = _Elements()


@contextmanager
def limit_elements(count: int) -> Iterator[None]:
    """Make messages with more elements raise `DecodeError`, in this thread.

    Elements are the items of lists and maps and the unknown fields, at all levels.  Each may take
    some hundred times more memory than the two bytes in which it was sent.
    """
    _elements.left = count
    try:
        yield
    finally:
        _elements.left = math.inf


def spend(count: int = 1) -> None:
    """Count elements that are about to be decoded."""
    _elements.left -= count
    if _elements.left < 0:
        raise DecodeError("the message has too many elements")


# Every byte of a varint but the last one.
_CONTINUATIONS = bytes(range(0x80, 0x100))


def spend_varints(data: bytes) -> None:
    """Count the elements of a packed list."""
    if _elements.left < math.inf:
        spend(len(data.translate(None, _CONTINUATIONS)))


Field: TypeAlias = bp.FieldMetadata


def fields_of(cls: Any) -> list[tuple[str, Field]]:
    """The names and fields of a message class, by number."""
    fields = [(field.name, Field.get(field)) for field in dataclasses.fields(cls)]
    return sorted(fields, key=lambda each: each[1].number)


def class_of(cls: Any, name: str, field: Field) -> Any:
    """The message or enum class of a field; for a wrapped type, the message that wraps it."""
    if field.unwrap:
        return field.unwrap()
    hint = _hints_of(cls)[name]
    # Of a list, or of an optional field.
    arguments = get_args(hint)
    return arguments[0] if arguments else hint


@cache
def _hints_of(cls: Any) -> dict[str, Any]:
    """The types of the fields; betterproto2's own table evaluates all of them for each field."""
    return get_type_hints(cls, vars(sys.modules[cls.__module__]), {})


def wire_type(proto_type: str) -> int:
    """The wire type of a single value."""
    if proto_type in STRUCTS:
        return FIXED64 if STRUCTS[proto_type].size == 8 else FIXED32
    return DELIMITED if proto_type in _DELIMITED_TYPES else VARINT


class Source:
    """Python source that is being generated, with the names that it refers to."""

    def __init__(self, **names: Any) -> None:
        self._lines: list[str] = []
        self.names = names

    def add(self, indent: int, *lines: str) -> None:
        self._lines.extend("    " * indent + line for line in lines)

    def function(self, name: str, title: str) -> Any:
        """Compile the source, and return the function of this name."""
        exec(compile("\n".join(self._lines), title, "exec"), self.names)  # noqa: S102
        return self.names[name]


def read_varint(data: bytes, pos: int) -> tuple[int, int]:
    """A varint of up to ten bytes, and the position after it."""
    value = data[pos]
    pos += 1
    shift = 7
    if value < 0x80:
        return value, pos
    while True:
        byte = data[pos]
        pos += 1
        value += (byte - 1) << shift  # less the top bit of the byte before, which is no part of it
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, pos
        shift += 7
        if shift == 70:
            raise DecodeError(f"a varint of more than ten bytes before {pos}")


def read_tag(data: bytes, pos: int) -> tuple[int, int]:
    """A field's number and wire type, and the position after them."""
    tag, after = read_varint(data, pos)
    if after - pos > 5 or tag > 0xFFFF_FFFF:
        raise DecodeError(f"the tag at {pos} has more than 32 bits")
    return tag, after


def read_length(data: bytes, pos: int) -> tuple[int, int]:
    """The length of what follows, and the position after it; at most five bytes are read."""
    length, after = read_varint(data, pos)
    if after - pos > 5:
        raise DecodeError(f"the length at {pos} has more than five bytes")
    return length, after


def skip_field(tag: int, data: bytes, pos: int, end: int, depth: int) -> int:
    """The position after the content of an unknown field."""
    if tag < 8:
        raise DecodeError(f"field number 0 before {pos}")
    match tag & 7:
        case 0:
            _, pos = read_varint(data, pos)
        case 1:
            pos += 8
        case 2:
            length, pos = read_length(data, pos)
            pos += length
        case 3:
            pos = _skip_group(tag >> 3, data, pos, end, depth + 1)
        case 5:
            pos += 4
        case other:
            raise DecodeError(f"wire type {other} before {pos}")
    if pos > end:
        raise DecodeError("the message ends in the middle of a field")
    return pos


def check_fields(data: bytes, pos: int, end: int, depth: int) -> None:
    """Raises `DecodeError` unless ``data[pos:end]`` is a sequence of whole fields."""
    while pos < end:
        tag, pos = read_tag(data, pos)
        pos = skip_field(tag, data, pos, end, depth)


def _skip_group(number: int, data: bytes, pos: int, end: int, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise DecodeError(f"nested deeper than {MAX_DEPTH} levels")
    while pos < end:
        tag, pos = read_tag(data, pos)
        if tag & 7 == END_GROUP:
            if tag >> 3 != number:
                raise DecodeError(f"group {number} is ended as group {tag >> 3} before {pos}")
            return pos
        pos = skip_field(tag, data, pos, end, depth)
    raise DecodeError(f"group {number} does not end")


_ONE_BYTE = [bytes([value]) for value in range(0x80)]


def varint(value: int) -> bytes:
    """The shortest varint of a number of up to 64 bits; a negative one in two's complement."""
    if 0 <= value < 0x80:
        return _ONE_BYTE[value]
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
