"""Generate the Python code of the protocol definitions in this folder.

    python -m proto.generate

Each package that speaks a protocol has the code for that protocol, see `OUTPUTS`, and its
definitions in binary form, for reflection.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

PROTO = Path(__file__).parent
LIBRARY = PROTO.parent / "trio_dispatch"

OUTPUTS = {
    LIBRARY / "api" / "_generated": ("frequenz", "trio_dispatch"),
    LIBRARY / "grpc" / "_generated": ("grpc",),
}
"""The folders of generated code, and the folders of definitions that each is generated from."""


def generate(sources: Iterable[str], output: Path) -> None:
    """Generate the code of folders of definitions into `output`, replacing its content."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
            f"--python_betterproto2_out={output}",
            "--python_betterproto2_opt=client_generation=async,server_generation=async",
            f"--descriptor_set_out={output / 'descriptors.bin'}",
            "--include_imports",
            *sorted(
                str(path.relative_to(PROTO))
                for source in sources
                for path in (PROTO / source).rglob("*.proto")
            ),
        ]
    )
    if status != 0:
        sys.exit(status)


if __name__ == "__main__":
    for output, sources in OUTPUTS.items():
        generate(sources, output)
