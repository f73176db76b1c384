"""Generate the Python code of the protocol definitions in this folder.

    python -m proto.generate

Each package that speaks a protocol has the code for that protocol, see `OUTPUTS`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

PROTO = Path(__file__).parent
LIBRARY = PROTO.parent / "trio_dispatch"

OUTPUTS = {
    "frequenz": LIBRARY / "api" / "_generated",
    "grpc": LIBRARY / "grpc" / "_generated",
}
"""For each folder of definitions, the folder of its generated code."""


def generate(source: str, output: Path) -> None:
    """Generate the code of one folder of definitions into `output`, replacing its content."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
            f"--python_betterproto2_out={output}",
            "--python_betterproto2_opt=client_generation=async,server_generation=async",
            *sorted(str(path.relative_to(PROTO)) for path in (PROTO / source).rglob("*.proto")),
        ]
    )
    if status != 0:
        sys.exit(status)


if __name__ == "__main__":
    for source, output in OUTPUTS.items():
        generate(source, output)
