"""Compares our decoder with Google's in C++, see ``cpp_decoder.py``."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import betterproto2 as bp
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as FieldProto
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests.helpers.interop.peers import PROGRAMS, ROOT, interop_python
from trio_dispatch.api.wire import Timestamp
from trio_dispatch.grpc import MessageCodec
from trio_dispatch.protobuf._wire_format import fields_of
from trio_dispatch.protobuf.codec import DecodeError

PACKAGE = "interop"
PROTO = Path(__file__).parents[3] / "proto"
PLAIN = MessageCodec()
# A Timestamp stays a message here; the library converts it to a `datetime`.
OURS = MessageCodec(
    decoders={Timestamp: lambda data: PLAIN.decode(data, Timestamp)},
    encoders={Timestamp: lambda message: PLAIN.encode(message, Timestamp)},
)
FLOATS = {bp.TYPE_DOUBLE, bp.TYPE_FLOAT}


@dataclass(eq=False, repr=False)
class Every(bp.Message):
    """A field of every type, singular, repeated, in a oneof and in a map, with nesting."""

    int32: int = bp.field(1, bp.TYPE_INT32)
    int64: int = bp.field(2, bp.TYPE_INT64)
    uint32: int = bp.field(3, bp.TYPE_UINT32)
    uint64: int = bp.field(4, bp.TYPE_UINT64)
    sint32: int = bp.field(5, bp.TYPE_SINT32)
    sint64: int = bp.field(6, bp.TYPE_SINT64)
    bool_: bool = bp.field(7, bp.TYPE_BOOL)
    float_: float = bp.field(8, bp.TYPE_FLOAT)
    double: float = bp.field(9, bp.TYPE_DOUBLE)
    fixed32: int = bp.field(10, bp.TYPE_FIXED32)
    fixed64: int = bp.field(11, bp.TYPE_FIXED64)
    sfixed32: int = bp.field(12, bp.TYPE_SFIXED32)
    sfixed64: int = bp.field(13, bp.TYPE_SFIXED64)
    string: str = bp.field(14, bp.TYPE_STRING)
    bytes_: bytes = bp.field(15, bp.TYPE_BYTES)
    every: Every | None = bp.field(16, bp.TYPE_MESSAGE, optional=True)  # noqa: RUF009
    maybe: int | None = bp.field(17, bp.TYPE_SINT32, optional=True)

    int32s: list[int] = bp.field(21, bp.TYPE_INT32, repeated=True)  # noqa: RUF009
    int64s: list[int] = bp.field(22, bp.TYPE_INT64, repeated=True)  # noqa: RUF009
    uint32s: list[int] = bp.field(23, bp.TYPE_UINT32, repeated=True)  # noqa: RUF009
    uint64s: list[int] = bp.field(24, bp.TYPE_UINT64, repeated=True)  # noqa: RUF009
    sint32s: list[int] = bp.field(25, bp.TYPE_SINT32, repeated=True)  # noqa: RUF009
    sint64s: list[int] = bp.field(26, bp.TYPE_SINT64, repeated=True)  # noqa: RUF009
    bools: list[bool] = bp.field(27, bp.TYPE_BOOL, repeated=True)  # noqa: RUF009
    floats: list[float] = bp.field(28, bp.TYPE_FLOAT, repeated=True)  # noqa: RUF009
    doubles: list[float] = bp.field(29, bp.TYPE_DOUBLE, repeated=True)  # noqa: RUF009
    fixed32s: list[int] = bp.field(30, bp.TYPE_FIXED32, repeated=True)  # noqa: RUF009
    sfixed64s: list[int] = bp.field(33, bp.TYPE_SFIXED64, repeated=True)  # noqa: RUF009
    strings: list[str] = bp.field(34, bp.TYPE_STRING, repeated=True)  # noqa: RUF009
    many_bytes: list[bytes] = bp.field(35, bp.TYPE_BYTES, repeated=True)  # noqa: RUF009
    many: list[Every] = bp.field(36, bp.TYPE_MESSAGE, repeated=True)  # noqa: RUF009

    one_int: int | None = bp.field(41, bp.TYPE_INT32, optional=True, group="one")
    one_string: str | None = bp.field(42, bp.TYPE_STRING, optional=True, group="one")
    one_message: Every | None = bp.field(  # noqa: RUF009
        43, bp.TYPE_MESSAGE, optional=True, group="one"
    )
    one_double: float | None = bp.field(44, bp.TYPE_DOUBLE, optional=True, group="one")
    other_message: Every | None = bp.field(  # noqa: RUF009
        45, bp.TYPE_MESSAGE, optional=True, group="one"
    )

    by_string: dict[str, Every] = bp.field(  # noqa: RUF009
        51, bp.TYPE_MAP, map_meta=bp.map_meta(bp.TYPE_STRING, bp.TYPE_MESSAGE)
    )
    by_int: dict[int, str] = bp.field(  # noqa: RUF009
        52, bp.TYPE_MAP, map_meta=bp.map_meta(bp.TYPE_SINT64, bp.TYPE_STRING)
    )
    by_bool: dict[bool, float] = bp.field(  # noqa: RUF009
        53, bp.TYPE_MAP, map_meta=bp.map_meta(bp.TYPE_BOOL, bp.TYPE_DOUBLE)
    )
    # Tags of two and of five bytes, the latter with the greatest field number.
    far: int = bp.field(2_000, bp.TYPE_UINT32)
    last: int = bp.field(2**29 - 1, bp.TYPE_UINT32)


class GooglesDecoder:
    """A process that decodes messages with Google's decoder."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [interop_python(), "-m", f"{PROGRAMS}.cpp_decoder"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask(define=descriptor_of(Every).SerializeToString().hex())

    def meaning(self, cls: Any, data: bytes) -> Any:
        """Return the decoded content, or None if the bytes are invalid."""
        return self._ask(type=name_of(cls), hex=data.hex())

    def _ask(self, **order: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def our_meaning(cls: Any, data: bytes) -> Any:
    """Return the content that our decoder finds, in the same form."""
    try:
        message = OURS.decode(data, cls)
    except DecodeError:
        return None
    return _meaning(message)


def encoded_again(cls: Any, data: bytes) -> bytes:
    """Decode and encode with our codec."""
    return OURS.encode(OURS.decode(data, cls), cls)


def cpp_takes(cls: Any, data: bytes) -> bool:
    """Whether Google's C++ runtime, which is in protoc, accepts these bytes."""
    with tempfile.TemporaryDirectory() as folder:
        if cls is Every:
            known = Path(folder) / "every"
            known.write_bytes(FileDescriptorSet(file=[descriptor_of(cls)]).SerializeToString())
            source = [f"--descriptor_set_in={known}", f"{cls.__name__}.proto"]
        else:
            source = [f"-I{PROTO}", "frequenz/api/dispatch/v1/dispatch.proto"]
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--decode={name_of(cls)}", *source]
        done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0 or b"Failed to parse input" in done.stderr, done.stderr
    return done.returncode == 0


def name_of(cls: Any) -> str:
    """Return the full name of a message class."""
    if cls is Every:
        return f"{PACKAGE}.{cls.__name__}"
    name: str = cls.__module__.partition("._generated.")[2]
    return f"{name}.{cls.__name__}"


def descriptor_of(cls: Any) -> FileDescriptorProto:
    """Return the descriptor of the file that defines a message class."""
    file = FileDescriptorProto(name=f"{cls.__name__}.proto", package=PACKAGE, syntax="proto3")
    message = file.message_type.add(name=cls.__name__)
    groups = dict.fromkeys(field.group for _, field in fields_of(cls) if field.group)
    for name in groups:
        message.oneof_decl.add(name=name)
    for name, field in fields_of(cls):
        shown = message.field.add(name=name, number=field.number, label=FieldProto.LABEL_OPTIONAL)
        if field.map_meta is not None:
            entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
            entry.options.map_entry = True
            for number, part, meta in zip((1, 2), ("key", "value"), field.map_meta, strict=True):
                inner = entry.field.add(name=part, number=number, label=FieldProto.LABEL_OPTIONAL)
                _set_type(inner, cls, meta.proto_type)
            shown.type, shown.type_name = FieldProto.TYPE_MESSAGE, f".{name_of(cls)}.{entry.name}"
            shown.label = FieldProto.LABEL_REPEATED
            continue
        _set_type(shown, cls, field.proto_type)
        if field.repeated:
            shown.label = FieldProto.LABEL_REPEATED
        elif field.group:
            shown.oneof_index = list(groups).index(field.group)
        elif field.optional and field.proto_type != bp.TYPE_MESSAGE:
            shown.proto3_optional = True
            shown.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{name}")
    return file


def _set_type(shown: FieldProto, cls: Any, proto_type: str) -> None:
    shown.type = getattr(FieldProto, f"TYPE_{proto_type.upper()}")
    if proto_type == bp.TYPE_MESSAGE:
        shown.type_name = f".{name_of(cls)}"


def _meaning(message: Any) -> list[Any]:
    cls = type(message)
    fields = []
    for name, field in fields_of(cls):
        value = getattr(message, name)
        shown: list[Any] | None
        if field.map_meta is not None:
            key, item = field.map_meta
            shown = sorted([_single(key, k), _single(item, v)] for k, v in value.items())
        elif field.repeated:
            shown = [_single(field, each) for each in value]
        elif field.optional or field.group or field.proto_type == bp.TYPE_MESSAGE:
            shown = None if value is None else [_single(field, value)]
        else:
            is_there = value or (field.proto_type in FLOATS and math.copysign(1, value) < 0)
            shown = [_single(field, value)] if is_there else None
        if shown:
            one = not (field.repeated or field.map_meta)
            fields.append([field.number, shown[0] if one else shown])
    entries = {
        field.number: cls._betterproto.cls_by_field[name]
        for name, field in fields_of(cls)
        if field.map_meta is not None
    }
    return [sorted(fields), _unknown(message._unknown_fields, entries)]


def _single(field: Any, value: Any) -> Any:
    if field.proto_type == bp.TYPE_MESSAGE:
        return _meaning(value)
    if field.proto_type in FLOATS:
        return "nan" if math.isnan(value) else struct.pack("<d", value).hex()
    return (
        value.hex() if isinstance(value, bytes) else value if isinstance(value, str) else int(value)
    )


def _unknown(data: bytes, entries: dict[int, Any]) -> list[Any]:
    """Return the content of unknown fields that are known to be valid."""
    found, rest = _read_fields(data, 0, entries)
    assert rest == len(data)
    return found


def _read_fields(data: bytes, pos: int, entries: dict[int, Any]) -> tuple[list[Any], int]:
    found: list[Any] = []
    while pos < len(data):
        tag, pos = _read_varint(data, pos)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == 4:
            break
        if wire == 0:
            value, pos = _read_varint(data, pos)
        elif wire == 3:
            value, pos = _read_fields(data, pos, {})
        elif wire == 2:
            length, pos = _read_varint(data, pos)
            content, pos = data[pos : pos + length], pos + length
            value = our_meaning(entries[number], content) if number in entries else content.hex()
        else:
            length = 8 if wire == 1 else 4
            value, pos = int.from_bytes(data[pos : pos + length], "little"), pos + length
        found.append([number, wire, value])
    return found, pos


def _read_varint(data: bytes, pos: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[pos]
        value |= (byte & 127) << shift
        pos, shift = pos + 1, shift + 7
        if byte < 128:
            return value % 2**64, pos
