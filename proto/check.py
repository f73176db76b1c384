"""Fail if the generated code does not match the definitions in this folder."""

from __future__ import annotations

import filecmp
import sys
import tempfile
from pathlib import Path

from proto.generate import OUTPUTS, generate


def _differences(old: Path, new: Path) -> list[str]:
    files = {
        path.relative_to(root) for root in (old, new) for path in root.rglob("*") if path.is_file()
    }
    return sorted(
        str(file)
        for file in files
        if "__pycache__" not in file.parts
        and not (
            (old / file).is_file()
            and (new / file).is_file()
            and filecmp.cmp(old / file, new / file, shallow=False)
        )
    )


def main() -> None:
    stale = []
    for output, source in OUTPUTS.items():
        # Beside the real output, so that the same settings for formatting apply to both.
        with tempfile.TemporaryDirectory(dir=output.parent, prefix="_generated_") as directory:
            fresh = Path(directory) / "_generated"
            generate(source, fresh)
            stale += [f"{output}/{file}" for file in _differences(output, fresh)]
    if stale:
        sys.exit(f"stale: run `make proto` and commit {', '.join(stale)}")


if __name__ == "__main__":
    main()
