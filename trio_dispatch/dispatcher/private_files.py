"""Files that only their owner can read: they show what a site does, and when."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Literal

__all__ = ["open_private"]


def open_private(path: Path, mode: Literal["ab", "wb"]) -> IO[bytes]:
    """Open a file for writing; if it is created, only its owner can read it.

    Raises:
      OSError: it cannot be opened.
    """
    return open(path, mode, opener=_create_private)


def _create_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
