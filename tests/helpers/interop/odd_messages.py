"""Makes unusual and invalid messages from random bytes, each of which is a choice.

After the last byte, every choice is the first one, and the message ends.  So fewer and smaller
bytes make a simpler message.
"""

from __future__ import annotations

import struct
from typing import Any

import betterproto2 as bp

from trio_dispatch.protobuf._wire_format import class_of, fields_of

VARINT, FIXED64, DELIMITED, GROUP, END_GROUP, FIXED32 = range(6)
_FIXED = {
    bp.TYPE_DOUBLE: FIXED64,
    bp.TYPE_FIXED64: FIXED64,
    bp.TYPE_SFIXED64: FIXED64,
    bp.TYPE_FLOAT: FIXED32,
    bp.TYPE_FIXED32: FIXED32,
    bp.TYPE_SFIXED32: FIXED32,
}
_DELIMITED = {bp.TYPE_STRING, bp.TYPE_BYTES, bp.TYPE_MESSAGE, bp.TYPE_MAP}
_VALUES = [0, 1, 2, 5, 127, 128, 300, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1]
_STRINGS = [b"", b"a", b"fields", "ü€😀".encode(), b"\x00", b"a" * 200]
_NOT_UTF8 = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"a\x80"]
_NUMBERS = [9, 15, 99, 1000, 2**28, 2**29 - 1]
_DEEPEST = 6


class Choices:
    """A sequence of choices, read from bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    @property
    def any_left(self) -> bool:
        return self._pos < len(self._data)

    def below(self, count: int) -> int:
        if not self.any_left:
            return 0
        self._pos += 1
        return self._data[self._pos - 1] % count

    def of(self, items: list[Any]) -> Any:
        return items[self.below(len(items))]

    def rarely(self, once_in: int) -> bool:
        return self.below(once_in) == once_in - 1


def odd_message(choices: Choices, cls: Any) -> bytes:
    """Make a message of a class, valid or not."""
    data = _message(choices, cls, 0)
    if choices.rarely(3):
        data = _spoiled(choices, data)
    return data


def _message(choices: Choices, cls: Any, depth: int) -> bytes:
    out = b""
    fields = fields_of(cls)
    if not fields:
        return _unknown(choices, depth) if choices.rarely(4) else b""
    while choices.any_left and not choices.rarely(8 if depth else 30):
        match choices.below(24):
            case 20:
                out += _unknown(choices, depth)
            case 21:
                out += _wrong_type(choices, choices.of(fields)[1].number)
            case 22 if out:
                out += out[: choices.below(len(out)) + 1] if choices.rarely(8) else out
            case _:
                name, field = choices.of(fields)
                out += _field(choices, cls, name, field, depth)
    return out


def _field(choices: Choices, cls: Any, name: str, field: Any, depth: int) -> bytes:
    kind = field.proto_type
    if kind in _DELIMITED:
        if kind == bp.TYPE_MESSAGE:
            inner = class_of(cls, name, field)
            content = b"" if depth > _DEEPEST else _message(choices, inner, depth + 1)
        elif kind == bp.TYPE_MAP:
            # Map entries are as unusual as everything else.
            entry = cls._betterproto.cls_by_field[name]
            content = b"" if depth > _DEEPEST else _message(choices, entry, depth + 1)
        else:
            content = choices.of(_NOT_UTF8 if choices.rarely(40) else _STRINGS)
        return _tag(choices, field.number, DELIMITED) + _delimited(choices, content)
    if field.repeated and choices.below(2):
        content = b"".join(_scalar(choices, kind) for _ in range(choices.below(5)))
        return _tag(choices, field.number, DELIMITED) + _delimited(choices, content)
    wire = _FIXED.get(kind, VARINT)
    return _tag(choices, field.number, wire) + _scalar(choices, kind)


def _scalar(choices: Choices, kind: str) -> bytes:
    value: int = choices.of(_VALUES)
    if kind in {bp.TYPE_FLOAT, bp.TYPE_DOUBLE}:
        number: float = choices.of([0.0, 1.5, -0.0, float("inf"), float("nan"), 1e-310])
        return struct.pack("<d" if kind == bp.TYPE_DOUBLE else "<f", number)
    if kind in _FIXED:
        length = 8 if _FIXED[kind] == FIXED64 else 4
        return (value % (1 << 8 * length)).to_bytes(length, "little")
    return _varint(choices, value)


def _unknown(choices: Choices, depth: int, *, in_group: bool = False) -> bytes:
    """Make an unknown or impossible field."""
    number = 0 if choices.rarely(20) and not in_group else choices.of(_NUMBERS)
    match choices.below(8):
        case 0 | 1:
            return _tag(choices, number, VARINT) + _varint(choices, choices.of(_VALUES))
        case 2:
            return _tag(choices, number, FIXED64) + b"12345678"
        case 3:
            return _tag(choices, number, FIXED32) + b"1234"
        case 4:
            return _tag(choices, number, DELIMITED) + _delimited(choices, choices.of(_STRINGS))
        case 5 | 6:
            inner = b""
            while choices.any_left and depth <= _DEEPEST and not choices.rarely(3):
                inner += _unknown(choices, depth + 1, in_group=True)
            end = choices.of(_NUMBERS) if choices.rarely(12) else number
            return _tag(choices, number, GROUP) + inner + _tag(choices, end, END_GROUP)
        case _:
            wire = choices.of([VARINT, 6, 7, END_GROUP])
            return _tag(choices, number, wire) + _varint(choices, choices.of(_VALUES))


def _wrong_type(choices: Choices, number: int) -> bytes:
    """Make a known field with a wrong wire type."""
    match choices.below(5):
        case 0:
            return _tag(choices, number, VARINT) + _varint(choices, choices.of(_VALUES))
        case 1:
            return _tag(choices, number, FIXED32) + b"1234"
        case 2:
            return _tag(choices, number, FIXED64) + b"12345678"
        case 3:
            return _tag(choices, number, DELIMITED) + _delimited(choices, choices.of(_STRINGS))
        case _:
            return _tag(choices, number, GROUP) + _tag(choices, number, END_GROUP)


def _tag(choices: Choices, number: int, wire: int) -> bytes:
    return _varint(choices, number << 3 | wire)


def _delimited(choices: Choices, content: bytes) -> bytes:
    length = len(content)
    if choices.rarely(100):
        length = choices.of([length + 1, max(length - 1, 0), 2**31 - 1, 2**31, 2**63, 2**64 - 1])
    return _varint(choices, length) + content


def _varint(choices: Choices, value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    if choices.rarely(30):
        # Longer than necessary, longer than allowed, or with more than 64 bits.
        out[-1] |= 128
        out += b"\x80" * choices.below(11 - len(out) if len(out) < 10 else 2)
        out.append(choices.of([0, 1, 2, 127]))
    return bytes(out)


def _spoiled(choices: Choices, data: bytes) -> bytes:
    """Truncate a message, or change, remove or insert a byte."""
    place = (choices.below(256) << 8 | choices.below(256)) % (len(data) + 1)
    match choices.below(4):
        case 0:
            return data[:place]
        case 1:
            return data[:place] + bytes([choices.below(256)]) + data[place + 1 :]
        case 2:
            return data[:place] + data[place + 1 :]
        case _:
            return data[:place] + bytes([choices.below(256)]) + data[place:]
