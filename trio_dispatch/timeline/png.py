"""The picture as PNG: the SVG, rendered by resvg with a font from a package.

The result does not depend on the system's libraries and fonts.  The system's fonts are loaded only
for characters that the package's font does not have.
"""

from __future__ import annotations

from importlib.resources import as_file, files

__all__ = ["draw_png"]

# Up to here Roboto has nearly every letter: Latin, Greek and Cyrillic.
_LAST = "\u052f"
# Dashes, quotation marks, bullet, ellipsis, euro, and the replacement character.
_PUNCTUATION = set("\u2013\u2014\u2018\u2019\u201c\u201d\u2022\u2026\u20ac\ufffd")


def draw_png(svg: str, scale: float) -> bytes:
    """Return an SVG picture, which has a fixed theme, as PNG.

    Raises:
      ImportError: the extra is not installed.
    """
    try:
        from resvg_py import svg_to_bytes  # noqa: PLC0415

        fonts = files("font_roboto") / "files"
    except ImportError as exc:
        raise ImportError(
            f"a PNG needs the package {exc.name}: pip install 'trio-dispatch[pictures]'",
            name=exc.name,
        ) from exc
    with (
        as_file(fonts / "Roboto-Regular.ttf") as regular,
        as_file(fonts / "Roboto-Medium.ttf") as medium,
    ):
        return svg_to_bytes(
            svg_string=svg,
            zoom=scale,
            font_files=[str(regular), str(medium)],
            font_family="Roboto",
            sans_serif_family="Roboto",
            skip_system_fonts=all(each <= _LAST or each in _PUNCTUATION for each in svg),
        )
