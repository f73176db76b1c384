"""The colours of a picture.  Those of the types suit colour-blind people, too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

__all__ = ["DARK", "LIGHT", "PALETTE", "Colour", "Scheme", "Theme", "colours_of"]

Theme = Literal["auto", "light", "dark"]


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour on light and on dark ground, each with the colour of text on it, and its number
    among the 256 colours of a terminal."""

    light: str
    light_ink: str
    dark: str
    dark_ink: str
    terminal: int


# After Okabe and Ito, and Paul Tol.
PALETTE = (
    Colour("#0072b2", "#ffffff", "#4ea6dc", "#06121a", 32),
    Colour("#e69f00", "#241a00", "#f0b429", "#1d1500", 214),
    Colour("#009e73", "#00140e", "#2bbf94", "#00140e", 36),
    Colour("#cc79a7", "#220a18", "#dc93bb", "#220a18", 175),
    Colour("#56b4e9", "#04161f", "#8accf2", "#04161f", 117),
    Colour("#d55e00", "#1f0d00", "#ec7f2e", "#1f0d00", 166),
    Colour("#5a4fa8", "#ffffff", "#9d94e6", "#0d0a20", 98),
    Colour("#999933", "#141400", "#bfbf5c", "#141400", 143),
    Colour("#8a2b5e", "#ffffff", "#cf6b9f", "#1c0512", 132),
    Colour("#8a5a2c", "#ffffff", "#cd9a66", "#1a0f04", 137),
)


@dataclass(frozen=True, slots=True)
class Scheme:
    """The colours of a theme, apart from those of the types."""

    ground: str
    ink: str
    muted: str
    line: str
    strong: str
    band: str
    crowd: str
    now: str
    now_ink: str


LIGHT = Scheme(
    ground="#ffffff",
    ink="#1b2430",
    muted="#5b6776",
    line="#e8ecf1",
    strong="#c3ccd6",
    band="#f6f8fa",
    crowd="#7b8794",
    now="#d0103a",
    now_ink="#ffffff",
)
DARK = Scheme(
    ground="#0e141b",
    ink="#e7edf3",
    muted="#9aa7b5",
    line="#1f2933",
    strong="#3a4755",
    band="#131b24",
    crowd="#76838f",
    now="#ff5c7a",
    now_ink="#23040b",
)


def colours_of(types: Iterable[str]) -> dict[str, int]:
    """Return a number in the palette for each type.

    The name decides, so that a type has the same colour in each picture.  If several types of a
    picture would have the same colour, all but the first in the alphabet get a free one.  If there
    are more types than colours, types share colours.
    """
    names = sorted(set(types))
    found: dict[str, int] = {}
    for name in names:
        number = _choice(name)
        if number not in found.values():
            found[name] = number
    for name in names:
        if name not in found:
            number = _choice(name)
            taken = set(found.values())
            while number in taken and len(taken) < len(PALETTE):
                number = (number + 1) % len(PALETTE)
            found[name] = number
    return found


def _choice(name: str) -> int:
    # Unlike hash(), the same in each process.
    return crc32(name.encode("utf-8", "replace")) % len(PALETTE)
