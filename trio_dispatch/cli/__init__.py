"""The command line: ``trio-dispatch``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command, or say which extra it needs."""
    try:
        from ._commands import cli  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.startswith("trio_dispatch"):
            raise
        sys.exit(f"trio-dispatch needs the package {exc.name}: pip install 'trio-dispatch[cli]'")
    cli()
