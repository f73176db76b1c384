"""The messages of gRPC's interoperability tests, ``grpc/testing/messages.proto``, as used here.

This package runs in both environments: beside our gRPC and beside C-core's.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELDS: Final = {
    "Empty": [],
    "BoolValue": [("value", 1, "bool")],
    "Payload": [("type", 1, "int32"), ("body", 2, "bytes")],
    "EchoStatus": [("code", 1, "int32"), ("message", 2, "string")],
    "SimpleRequest": [
        ("response_type", 1, "int32"),
        ("response_size", 2, "int32"),
        ("payload", 3, "Payload"),
        ("response_compressed", 6, "BoolValue"),
        ("response_status", 7, "EchoStatus"),
        ("expect_compressed", 8, "BoolValue"),
    ],
    "SimpleResponse": [("payload", 1, "Payload")],
    "StreamingInputCallRequest": [("payload", 1, "Payload"), ("expect_compressed", 2, "BoolValue")],
    "StreamingInputCallResponse": [("aggregated_payload_size", 1, "int32")],
    "ResponseParameters": [
        ("size", 1, "int32"),
        ("interval_us", 2, "int32"),
        ("compressed", 3, "BoolValue"),
    ],
    "StreamingOutputCallRequest": [
        ("response_type", 1, "int32"),
        ("response_parameters", 2, "[ResponseParameters]"),
        ("payload", 3, "Payload"),
        ("response_status", 7, "EchoStatus"),
    ],
    "StreamingOutputCallResponse": [("payload", 1, "Payload")],
}


def _classes() -> dict[str, Any]:
    kinds = descriptor_pb2.FieldDescriptorProto
    package = "grpc.testing"
    file = descriptor_pb2.FileDescriptorProto(
        name="interop_messages.proto", package=package, syntax="proto3"
    )
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            added = message.field.add(name=field, number=number, label=kinds.LABEL_OPTIONAL)
            if kind[0] == "[":
                added.label, kind = kinds.LABEL_REPEATED, kind[1:-1]  # noqa: PLW2901
            if kind[0].isupper():
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                added.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in _FIELDS
    }


CLASSES: Final = _classes()

Empty = CLASSES["Empty"]
BoolValue = CLASSES["BoolValue"]
Payload = CLASSES["Payload"]
EchoStatus = CLASSES["EchoStatus"]
SimpleRequest = CLASSES["SimpleRequest"]
SimpleResponse = CLASSES["SimpleResponse"]
StreamingInputCallRequest = CLASSES["StreamingInputCallRequest"]
StreamingInputCallResponse = CLASSES["StreamingInputCallResponse"]
ResponseParameters = CLASSES["ResponseParameters"]
StreamingOutputCallRequest = CLASSES["StreamingOutputCallRequest"]
StreamingOutputCallResponse = CLASSES["StreamingOutputCallResponse"]

# By the name of the method: its service, whether requests and replies are streams, and the types.
METHODS: Final = {
    "EmptyCall": ("TestService", False, False, Empty, Empty),
    "UnaryCall": ("TestService", False, False, SimpleRequest, SimpleResponse),
    "StreamingInputCall": (
        "TestService",
        True,
        False,
        StreamingInputCallRequest,
        StreamingInputCallResponse,
    ),
    "StreamingOutputCall": (
        "TestService",
        False,
        True,
        StreamingOutputCallRequest,
        StreamingOutputCallResponse,
    ),
    "FullDuplexCall": (
        "TestService",
        True,
        True,
        StreamingOutputCallRequest,
        StreamingOutputCallResponse,
    ),
    "UnimplementedCall": ("TestService", False, False, Empty, Empty),
    "UnimplementedServiceCall": ("UnimplementedService", False, False, Empty, Empty),
}


def path(method: str) -> str:
    """Return the full name of a method, as in ``/package.Service/Method``."""
    name = method.replace("ServiceCall", "Call")
    return f"/grpc.testing.{METHODS[method][0]}/{name}"


def payload(size: int) -> Any:
    """Return a payload of so many zeros."""
    return Payload(body=bytes(size))
