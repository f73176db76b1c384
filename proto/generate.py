"""Generate the Python code of the API from the files beside this one.

    python proto/generate.py [OUTPUT]

OUTPUT is `trio_dispatch/_generated` unless given, and is made anew.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

PROTO = Path(__file__).parent
OUTPUT = PROTO.parent / "trio_dispatch" / "_generated"


def generate(output: Path) -> None:
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
            f"--python_betterproto2_out={output}",
            "--python_betterproto2_opt=client_generation=async,server_generation=async",
            *sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto")),
        ]
    )
    if status != 0:
        sys.exit(status)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT)
