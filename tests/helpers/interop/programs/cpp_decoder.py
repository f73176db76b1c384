"""Runs Google's protobuf decoder, and prints the content that it finds.

It runs in the environment of the peers.  Each line on stdin is a JSON object, and is answered by a
line on stdout.  With "define", the serialized descriptor of a file in hex, its messages are known
from then on.  Otherwise it is the "type" of a message and its bytes as "hex"; the answer is what
`meaning` says of it, or None for what is no such message.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from typing import Any

from frequenz.api.dispatch.v1 import dispatch_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor as Kind
from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

POOL = descriptor_pool.Default()
assert dispatch_pb2.DESCRIPTOR.pool is POOL
assert api_implementation.Type() in {"upb", "cpp"}


def meaning(message: Any) -> list[Any]:
    """Return the fields that are set, by number, followed by the unknown ones in their order."""
    fields = [[field.number, content(field, value)] for field, value in message.ListFields()]
    entries = {
        field.number: message_factory.GetMessageClass(field.message_type)
        for field in message.DESCRIPTOR.fields
        if is_map(field)
    }
    return [sorted(fields), unknown(UnknownFieldSet(message), entries)]


def is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def content(field: Any, value: Any) -> Any:
    if is_map(field):
        key, item = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        return sorted([single(key, k), single(item, v)] for k, v in value.items())
    if field.is_repeated:
        return [single(field, item) for item in value]
    return single(field, value)


def single(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return meaning(value)
    if field.type in {Kind.TYPE_DOUBLE, Kind.TYPE_FLOAT}:
        return "nan" if math.isnan(value) else struct.pack("<d", value).hex()
    return value.hex() if isinstance(value, bytes) else int(value) if value in {0, 1} else value


def unknown(fields: Any, entries: dict[int, Any]) -> list[Any]:
    """Return the number, the wire type and the content of each field.

    A map's entry with unknown fields is kept here, written anew: it is shown by what it means.
    """
    found = []
    for field in fields:
        number, wire_type, data = field.field_number, field.wire_type, field.data
        if wire_type == 3:
            data = unknown(data, {})
        elif wire_type == 2 and number in entries:
            data = meaning(entries[number].FromString(data))
        elif isinstance(data, bytes):
            data = data.hex()
        found.append([number, wire_type, data])
    return found


def answer(order: dict[str, str]) -> Any:
    if "define" in order:
        file = descriptor_pb2.FileDescriptorProto.FromString(bytes.fromhex(order["define"]))
        POOL.Add(file)
        return True
    cls = message_factory.GetMessageClass(POOL.FindMessageTypeByName(order["type"]))
    try:
        return meaning(cls.FromString(bytes.fromhex(order["hex"])))
    except DecodeError:
        return None


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
