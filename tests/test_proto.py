"""The protocol definitions match the facts of the API."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc_tools
import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

ROOT = Path(__file__).parent.parent
FACTS: dict[str, Any] = json.loads((ROOT / "tests/data/api_schema.json").read_text())
TYPES = {
    number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileDescriptorProto]:
    output = tmp_path_factory.mktemp("proto") / "set.bin"
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT / 'proto'}"),
            f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
            f"--descriptor_set_out={output}",
            *sorted(
                str(path.relative_to(ROOT / "proto"))
                for path in (ROOT / "proto/frequenz").rglob("*.proto")
            ),
        ],
        check=True,
        cwd=ROOT / "proto",
    )
    return {file.name: file for file in FileDescriptorSet.FromString(output.read_bytes()).file}


def fields(message: DescriptorProto) -> list[dict[str, Any]]:
    return [
        {
            "number": field.number,
            "name": field.name,
            "type": field.type_name.lstrip(".") or TYPES[field.type],
            "label": "repeated"
            if field.label == FieldDescriptorProto.LABEL_REPEATED
            else "optional"
            if field.proto3_optional
            else "singular",
            "oneof": message.oneof_decl[field.oneof_index].name
            if field.HasField("oneof_index") and not field.proto3_optional
            else None,
        }
        for field in sorted(message.field, key=lambda field: field.number)
    ]


def enums(descriptors: Any) -> dict[str, dict[str, int]]:
    found: list[EnumDescriptorProto] = list(descriptors)
    return {enum.name: {value.name: value.number for value in enum.value} for enum in found}


def messages(descriptors: Any) -> dict[str, Any]:
    found = {}
    for message in descriptors:
        facts: dict[str, Any] = {"fields": fields(message)}
        if message.enum_type:
            facts["enums"] = enums(message.enum_type)
        if message.nested_type:
            facts["messages"] = messages(message.nested_type)
        found[message.name] = facts
    return found


def services(file: FileDescriptorProto) -> dict[str, Any]:
    return {
        service.name: {
            method.name: {
                "request": method.input_type.lstrip("."),
                "response": method.output_type.lstrip("."),
                "server_streaming": method.server_streaming,
            }
            for method in service.method
        }
        for service in file.service
    }


def test_every_file_of_the_api_is_defined(compiled: dict[str, FileDescriptorProto]) -> None:
    assert compiled.keys() == FACTS.keys()


@pytest.mark.parametrize("name", FACTS)
def test_a_file_matches_the_api(compiled: dict[str, FileDescriptorProto], name: str) -> None:
    file, facts = compiled[name], FACTS[name]
    assert file.package == facts["package"]
    assert enums(file.enum_type) == facts["enums"]
    assert messages(file.message_type) == facts["messages"]
    assert services(file) == facts["services"]
