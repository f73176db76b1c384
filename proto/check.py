"""Fail if the generated code is not what the files beside this one generate."""

from __future__ import annotations

import filecmp
import sys
import tempfile
from pathlib import Path

from generate import OUTPUT, generate


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
    # Beside the real output, so that the same settings for formatting apply to both.
    with tempfile.TemporaryDirectory(dir=OUTPUT.parent, prefix="_generated_") as directory:
        fresh = Path(directory) / "_generated"
        generate(fresh)
        if stale := _differences(OUTPUT, fresh):
            sys.exit(f"stale: run `make proto` and commit {OUTPUT.name}/{{{','.join(stale)}}}")


if __name__ == "__main__":
    main()
