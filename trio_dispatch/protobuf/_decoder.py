"""Compiles the decoder of a message class from betterproto2's field metadata.

A decoder is ``decode(data, pos, end, depth)``: it reads the message in ``data[pos:end]`` in a
single pass.  Reading past ``data`` is an `IndexError`; reading past ``end`` shows when the loop
does not stop there.  A singular message is only located in the pass and decoded after it, because
it may come in several pieces, which protobuf merges: the concatenation of two encodings decodes to
their merge, if each of them consists of whole fields.  Every byte is decoded exactly once: a
message in a oneof is decoded before another member replaces it.  Unknown field numbers, and known
ones with another wire type, are kept in ``_unknown_fields``.  The entry of a map has no such
attribute, so an entry with unknown fields is itself kept there, as Google's runtime for Python
does it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, MutableMapping
from typing import Any, Protocol, cast

import betterproto2 as bp

from ._wire_format import (
    DELIMITED,
    MAX_DEPTH,
    STRUCTS,
    VARINT,
    Decode,
    DecodeError,
    Field,
    Source,
    check_fields,
    class_of,
    fields_of,
    read_length,
    read_tag,
    read_varint,
    skip_field,
    spend,
    spend_varints,
    wire_type,
)

# The value of the varint `n`, by type.
_FROM_VARINT = {
    bp.TYPE_BOOL: "n != 0",
    bp.TYPE_INT32: "(n & 0xFFFFFFFF ^ 0x80000000) - 0x80000000",
    bp.TYPE_INT64: "(n ^ 0x8000000000000000) - 0x8000000000000000",
    bp.TYPE_UINT32: "n & 0xFFFFFFFF",
    bp.TYPE_UINT64: "n",
    bp.TYPE_SINT32: "(n & 0xFFFFFFFF) >> 1 ^ -(n & 1)",
    bp.TYPE_SINT64: "n >> 1 ^ -(n & 1)",
    bp.TYPE_ENUM: "class_{number}((n & 0xFFFFFFFF ^ 0x80000000) - 0x80000000)",
}

# In place of the beginning of a singular message: it was not sent, or came in pieces.
_ABSENT, _IN_PIECES = -1, -2

# Most varints have one byte or two.
_READ_VARINT = (
    "n = data[pos]",
    "pos += 1",
    "if n >= 0x80:",
    "    second = data[pos]",
    "    if second < 0x80: n += (second - 1) << 7; pos += 1",
    "    else: n, pos = read_varint(data, pos - 1)",
)
_READ_LENGTH = (
    "n = data[pos]",
    "pos += 1",
    "if n >= 0x80: n, pos = read_length(data, pos - 1)",
    "stop = pos + n",
    "if stop > end: raise IndexError",
)
# A list: appending to bytes repeatedly takes quadratic time.
_KEEP = (
    "spend()",
    "if unknown is None: unknown = []",
    "unknown.append(data[start:pos])",
)


class GetDecoder(Protocol):
    """Returns the decoder of a class, see `MessageCodec.decoder`."""

    def __call__(self, cls: type, *, unwrap: bool = False) -> Decode: ...


def compile_decoder(
    cls: Any,
    decoders: MutableMapping[type, Decode],
    get: GetDecoder,
    build: Callable[..., Any] | None = None,
    *,
    whole: bool = False,
) -> Decode:
    """Compile the decoder of a class and of those it needs, and enter them in `decoders`.

    Args:
      build: Called with the fields by name, in place of the class; unknown fields are dropped.
      whole: Whether a message with unknown fields decodes to None.
    """
    fields = fields_of(cls)
    source = Source(
        cls=cls,
        build=build or cls,
        check_fields=check_fields,
        read_length=read_length,
        read_varint=read_varint,
        read_tag=read_tag,
        skip_field=skip_field,
        spend=spend,
        spend_varints=spend_varints,
        DecodeError=DecodeError,
        StructError=struct.error,
    )
    source.add(0, "def decode(data, pos, end, depth):")
    source.add(
        1,
        f"if depth > {MAX_DEPTH}:",
        f"    raise DecodeError('nested deeper than {MAX_DEPTH} levels')",
    )
    source.add(1, "unknown = None")
    for name, field in fields:
        source.add(1, *_begin(cls, name, field, source))
    source.add(
        1,
        "try:",
        "    while pos < end:",
        "        start = pos",
        "        tag = data[pos]",
        "        pos += 1",
        "        if tag >= 0x80: tag, pos = read_tag(data, start)",
        "        if not tag: raise DecodeError(f'field number 0 at {start}')",
    )
    for name, field in fields:
        others = [f for n, f in fields if field.group and f.group == field.group and n != name]
        for wire, lines in _branches(field, source):
            source.add(3, f"elif tag == {field.number << 3 | wire}:")
            source.add(4, *lines)
            for other in others:
                source.add(4, *_discard(other))
    source.add(3, "else:")
    source.add(4, "pos = skip_field(tag, data, pos, end, depth)", *_KEEP)
    source.add(
        1,
        "except (IndexError, StructError):",
        "    raise DecodeError('the message ends in the middle of a field') from None",
        "except UnicodeDecodeError as exc:",
        "    raise DecodeError(f'a string of {cls.__name__} is not UTF-8: {exc}') from None",
        "if pos != end:",
        "    raise DecodeError('the message ends in the middle of a field')",
    )
    for _, field in fields:
        source.add(1, *_finish(field))
    arguments = ", ".join(f"{name}=value_{field.number}" for name, field in fields)
    if whole:
        source.add(1, "if unknown is not None: return None")
    source.add(1, f"message = build({arguments})")
    if build is None:
        source.add(1, "if unknown is not None: message._unknown_fields = b''.join(unknown)")
    source.add(1, "return message")
    decode = cast(Decode, source.function("decode", f"<decoder of {cls.__name__}>"))
    # Entered before the inner decoders are looked up: a message may contain itself.
    if not whole:
        decoders[cls] = decode
    for name, field in fields:
        if field.proto_type == bp.TYPE_MESSAGE:
            inner = get(class_of(cls, name, field), unwrap=field.unwrap is not None)
            source.names[f"decode_{field.number}"] = inner
        elif field.proto_type == bp.TYPE_MAP:
            entry = cls._betterproto.cls_by_field[name]
            source.names[f"decode_{field.number}"] = compile_decoder(
                entry, decoders, get, _pair, whole=True
            )
            source.names[f"default_{field.number}"] = _map_default(entry, field, get)
    return decode


def _pair(key: Any, value: Any) -> tuple[Any, Any]:
    return key, value


def _begin(cls: Any, name: str, field: Field, source: Source) -> list[str]:
    """Initialises a field."""
    number = field.number
    if field.proto_type == bp.TYPE_ENUM:
        source.names[f"class_{number}"] = class_of(cls, name, field)
    if field.repeated:
        return [f"value_{number} = []"]
    if field.proto_type == bp.TYPE_MAP:
        return [f"value_{number} = {{}}"]
    if field.proto_type == bp.TYPE_MESSAGE:
        return [_clear(field)]
    default = cls.__dataclass_fields__[name].default_factory
    source.names[f"default_{number}"] = default()
    return [f"value_{number} = default_{number}"]


def _map_default(entry: Any, field: Field, get: GetDecoder) -> Any:
    """Makes the value of a map's entry that was sent without a value."""
    assert field.map_meta is not None
    value = field.map_meta[1]
    if value.proto_type != bp.TYPE_MESSAGE:
        return None
    decode = get(class_of(entry, "value", value), unwrap=value.unwrap is not None)
    return lambda: decode(b"", 0, 0, 0)


def _clear(field: Field) -> str:
    number = field.number
    if field.proto_type == bp.TYPE_MESSAGE:
        return f"begin_{number} = {_ABSENT}"
    return f"value_{number} = None"


def _discard(field: Field) -> list[str]:
    """Discards a field for another member of its oneof; its content has to be valid, too."""
    count = []
    if field.proto_type == bp.TYPE_MESSAGE:
        count = [f"if begin_{field.number} != {_ABSENT}: spend()"]
    return [*count, *_finish(field), _clear(field)]


def _branches(field: Field, source: Source) -> list[tuple[int, list[str]]]:
    """The wire types that a field may have, and the code that reads each."""
    value = f"value_{field.number}"
    wire = wire_type(field.proto_type)
    if wire == DELIMITED:
        return [(wire, [*_READ_LENGTH, *_delimited(field), "pos = stop"])]
    if wire == VARINT:
        expression = _FROM_VARINT[field.proto_type].format(number=field.number)
        read = [*_READ_VARINT]
        packed = [
            "spend_varints(data[pos:stop])",
            "while pos < stop:",
            *(f"    {line}" for line in read),
            f"    {value}.append({expression})",
            "if pos != stop: raise IndexError",
        ]
    else:
        layout = STRUCTS[field.proto_type]
        source.names[f"unpack_{field.number}"] = layout.unpack_from
        source.names[f"iter_unpack_{field.number}"] = layout.iter_unpack
        expression = "n"
        read = [f"(n,) = unpack_{field.number}(data, pos)", f"pos += {layout.size}"]
        packed = [
            f"spend((stop - pos) // {layout.size})",
            f"{value}.extend([n for (n,) in iter_unpack_{field.number}(data[pos:stop])])",
            "pos = stop",
        ]
    if not field.repeated:
        return [(wire, [*read, f"{value} = {expression}"])]
    return [
        (DELIMITED, [*_READ_LENGTH, *packed]),
        (wire, ["spend()", *read, f"{value}.append({expression})"]),
    ]


def _delimited(field: Field) -> list[str]:
    """Reads ``data[pos:stop]``."""
    number = field.number
    value = f"value_{number}"
    if field.proto_type == bp.TYPE_MAP:
        return [
            "spend()",
            f"entry = decode_{number}(data, pos, stop, depth + 1)",
            "if entry is None:",
            "    pos = stop",
            *(f"    {line}" for line in _KEEP),
            "else:",
            "    key, n = entry",
            f"    {value}[key] = default_{number}() if n is None else n",
        ]
    if field.proto_type == bp.TYPE_MESSAGE:
        if field.repeated:
            return ["spend()", f"{value}.append(decode_{number}(data, pos, stop, depth + 1))"]
        begin, end, pieces = f"begin_{number}", f"end_{number}", f"pieces_{number}"
        return [
            f"if {begin} == {_ABSENT}: {begin} = pos; {end} = stop",
            "else:",
            "    spend()",
            f"    if {begin} != {_IN_PIECES}:",
            f"        check_fields(data, {begin}, {end}, depth + 1)",
            f"        {pieces} = [data[{begin}:{end}]]",
            f"        {begin} = {_IN_PIECES}",
            "    check_fields(data, pos, stop, depth + 1)",
            f"    {pieces}.append(data[pos:stop])",
        ]
    single = (
        "str(data[pos:stop], 'utf-8')" if field.proto_type == bp.TYPE_STRING else "data[pos:stop]"
    )
    return ["spend()", f"{value}.append({single})"] if field.repeated else [f"{value} = {single}"]


def _finish(field: Field) -> list[str]:
    """Decodes a singular message when all of its pieces were found."""
    number = field.number
    if field.proto_type != bp.TYPE_MESSAGE or field.repeated:
        return []
    begin, end, pieces = f"begin_{number}", f"end_{number}", f"pieces_{number}"
    return [
        f"if {begin} == {_ABSENT}: value_{number} = None",
        f"elif {begin} == {_IN_PIECES}:",
        f"    n = b''.join({pieces})",
        f"    value_{number} = decode_{number}(n, 0, len(n), depth + 1)",
        f"else: value_{number} = decode_{number}(data, {begin}, {end}, depth + 1)",
    ]
