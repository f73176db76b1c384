"""A greeter with google.protobuf's messages, as grpcio-tools and grpclib generate it."""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

PROTO = """
syntax = "proto3";

package standard.v1;

service Greeter {
  rpc SayHello(HelloRequest) returns (HelloReply);
  rpc SayHellos(HelloRequest) returns (stream HelloReply);
  rpc GreetAll(stream HelloRequest) returns (HelloReply);
  rpc Chat(stream HelloRequest) returns (stream HelloReply);
}

message HelloRequest {
  string name = 1;
}

message HelloReply {
  string message = 1;
}
"""


class Generated(NamedTuple):
    """The modules that were generated."""

    pb2: Any
    grpc: Any
    """By grpcio-tools."""
    grpclib: Any


@functools.cache
def generated() -> Generated:
    """Generate the modules and import them; google.protobuf knows a message only once."""
    programs = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "standard.proto").write_text(PROTO)
        outputs = [f"--{kind}_out=." for kind in ("python", "grpc_python", "grpclib_python")]
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, "standard.proto"],
            cwd=folder,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
            check=True,
        )
        sys.path.insert(0, folder)
        try:
            names = ("standard_pb2", "standard_pb2_grpc", "standard_grpc")
            return Generated(*map(importlib.import_module, names))
        finally:
            sys.path.remove(folder)
