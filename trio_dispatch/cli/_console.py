"""What prints to people: colours on terminals only, and nothing cut off where there is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from ._settings import Color

__all__ = ["make_console"]

_ENDLESS = 100_000


def make_console(color: Color = "auto", *, stderr: bool = False) -> Console:
    """A console for stdout or stderr.

    Where that is no terminal, lines are as long as they need to be, so that a pipe gets all.
    """
    console = Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=True if color == "always" else None,
        no_color=False if color == "always" else None,
        # Not even bold and dim: whoever wants no colours wants no codes.
        color_system=None if color == "never" or _unwanted(color) else "auto",
    )
    if not console.file.isatty():
        console.width = _ENDLESS
    return console


def _unwanted(color: Color) -> bool:
    return color == "auto" and bool(os.environ.get("NO_COLOR"))
