"""Generate the Python code of the protocol definitions in this folder.

    python -m proto.generate

Each package that speaks a protocol has the code for that protocol, see `OUTPUTS`, and its
definitions in binary form, for reflection.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import grpc_tools
from grpc_tools import protoc

PROTO = Path(__file__).parent
LIBRARY = PROTO.parent / "trio_dispatch"


class Source(NamedTuple):
    """What the code of a folder is generated from.

    Attributes:
      folders: The folders of definitions.
      services: Whether the code has classes for services.  Such code imports all of asyncio.
    """

    folders: tuple[str, ...]
    services: bool


OUTPUTS = {
    LIBRARY / "api" / "_generated": Source(("frequenz", "trio_dispatch"), services=False),
    LIBRARY / "grpc" / "_generated": Source(("grpc",), services=True),
}
"""The folders of generated code."""


def generate(source: Source, output: Path) -> None:
    """Generate code into `output`, replacing its content."""
    services = "async" if source.services else "none"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
            f"--python_betterproto2_out={output}",
            f"--python_betterproto2_opt=client_generation={services},server_generation={services}",
            f"--descriptor_set_out={output / 'descriptors.bin'}",
            "--include_imports",
            *sorted(
                str(path.relative_to(PROTO))
                for folder in source.folders
                for path in (PROTO / folder).rglob("*.proto")
            ),
        ]
    )
    if status != 0:
        sys.exit(status)


if __name__ == "__main__":
    for output, source in OUTPUTS.items():
        generate(source, output)
