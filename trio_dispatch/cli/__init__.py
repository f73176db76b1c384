"""The command line: ``trio-dispatch``."""

from __future__ import annotations

import gc
import sys

__all__ = ["main"]


# Nothing that a command imports is garbage: to look for it takes a sixth of a short command's time.
_ALLOCATIONS_BEFORE_COLLECTION = 100_000


def main() -> None:
    """Run the command; if a package is missing, say which extra has it."""
    gc.set_threshold(_ALLOCATIONS_BEFORE_COLLECTION)
    try:
        from .app.group import cli  # noqa: PLC0415
        from .app.streams import open_closed_streams  # noqa: PLC0415

        open_closed_streams()
        cli()
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.startswith("trio_dispatch"):
            raise
        sys.exit(f"trio-dispatch needs the package {exc.name}: pip install 'trio-dispatch[cli]'")
    finally:
        # Otherwise the end of the process collects everything once more.
        gc.freeze()
