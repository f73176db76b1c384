"""A timeline, and its formats."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ..model.dispatch import Dispatch

if TYPE_CHECKING:
    from .colours import Theme
    from .grouping import Grouping
    from .window import Window

__all__ = ["Timeline"]

_PIXELS, _COLUMNS = 960, 100
_SUFFIXES = ".svg, .png, .html or .txt"


class Timeline:
    """A picture of what runs when, made by `trio_dispatch.draw_timeline`.

    A notebook shows it as the value of a cell.
    """

    def __init__(
        self,
        dispatches: Sequence[Dispatch],
        window: Window,
        grouping: Grouping,
        height: str | None = None,
    ) -> None:
        self._dispatches = dispatches
        self._window = window
        self._grouping = grouping
        self._height = height

    def text(self, width: int = 80, color: bool = False) -> str:
        """Return the picture as text for a terminal.

        Args:
          width: The most columns of a line, at least 40.
          color: Whether to use colours, as ANSI escape sequences.

        Raises:
          ValueError: the width is too small.
        """
        from .text import draw_text  # noqa: PLC0415

        if width < 40:
            raise ValueError(f"width {width} is less than 40 columns")
        return draw_text(self._dispatches, self._window, self._grouping, width, color, self._height)

    def svg(self, width: int = _PIXELS, theme: Theme = "auto") -> str:
        """Return the picture as SVG.  Its height depends on the number of rows.

        Args:
          width: In pixels, from 400 to 10,000.
          theme: ``"light"``, ``"dark"``, or ``"auto"`` for the viewer's preference.

        Raises:
          ValueError: the width is out of range, or the theme is unknown.
        """
        from .svg import draw_svg  # noqa: PLC0415

        _check_size(width, theme)
        return draw_svg(self._dispatches, self._window, self._grouping, width, theme, self._height)

    def html(self) -> str:
        """Return the picture as a self-contained page, to hover, zoom, move and search in.

        Without JavaScript the page shows the SVG picture.
        """
        from .html import draw_html  # noqa: PLC0415

        return draw_html(self._dispatches, self._window, self._grouping, self._height)

    def png(self, width: int = _PIXELS, scale: float = 2.0, theme: Theme = "light") -> bytes:
        """Return the picture as PNG.  Requires the extra ``pictures``.

        Args:
          width: The width of the picture as SVG.
          scale: The pixels of the PNG for each pixel of the SVG, from 0.5 to 8.
          theme: ``"light"`` or ``"dark"``; ``"auto"`` is light.

        Raises:
          ImportError: the extra is not installed.
          ValueError: the width or scale is out of range, or the theme is unknown.
        """
        from .png import draw_png  # noqa: PLC0415

        if not 0.5 <= scale <= 8:
            raise ValueError(f"scale {scale!r} is not from 0.5 to 8")
        return draw_png(self.svg(width, "light" if theme == "auto" else theme), scale)

    def save(self, path: str | PathLike[str], width: int | None = None) -> None:
        """Write the picture to a file, in the format of the suffix: SVG, PNG, HTML or text.

        Args:
          width: In pixels, or in columns for text; None for 960 pixels or 100 columns.  A page is
            as wide as the browser's window.

        Raises:
          ValueError: the suffix is not .svg, .png, .html, .htm or .txt, or the width is out of
            range.
          ImportError: the format is PNG, and the extra ``pictures`` is not installed.
          OSError: the file cannot be written.
        """
        path = Path(path)
        match path.suffix.lower():
            case ".svg":
                path.write_text(self.svg(width or _PIXELS) + "\n", encoding="utf-8")
            case ".png":
                path.write_bytes(self.png(width or _PIXELS))
            case ".html" | ".htm":
                path.write_text(self.html(), encoding="utf-8")
            case ".txt":
                path.write_text(self.text(width or _COLUMNS) + "\n", encoding="utf-8")
            case suffix:
                problem = f"has the suffix {suffix!r}" if suffix else "has no suffix"
                raise ValueError(f"{str(path)!r} {problem}: give one of {_SUFFIXES}")

    def __repr__(self) -> str:
        window = self._window
        return (
            f"<Timeline of {len(self._dispatches)} dispatches by {self._grouping.by}, "
            f"{window.begin.isoformat()} to {window.end.isoformat()}>"
        )

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        # In a frame: neither styles nor scripts mix with those of the notebook.
        return (
            f'<iframe srcdoc="{escape(self.html())}" sandbox="allow-scripts" title="Timeline" '
            f'style="width: 100%; height: {self._frame_height()}px; border: 0"></iframe>'
        )

    def _frame_height(self) -> int:
        from .svg import svg_height  # noqa: PLC0415

        return min(
            900,
            svg_height(self._dispatches, self._window, self._grouping, height=self._height) + 90,
        )


def _check_size(width: int, theme: str) -> None:
    if not 400 <= width <= 10_000:
        raise ValueError(f"width {width!r} is not from 400 to 10,000 pixels")
    if theme not in ("auto", "light", "dark"):
        raise ValueError(f"theme {theme!r} is not 'auto', 'light' or 'dark'")
