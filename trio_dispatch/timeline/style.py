"""The style sheet of an SVG picture, and the patterns of its bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .colours import DARK, LIGHT, PALETTE, Scheme, Theme

__all__ = ["NEUTRAL", "definitions", "style_sheet"]

NEUTRAL = -1
"""The number of the colour that stands for any type."""

FONTS = "Roboto, 'Segoe UI', 'Helvetica Neue', Arial, 'Noto Sans', sans-serif"


def style_sheet(scope: str, used: Iterable[int], theme: Theme) -> str:
    """Return the rules for everything in `scope`, a selector.

    Colours are written out in each rule: not every program that shows SVG supports variables or
    media queries.  Without them the picture is light.
    """
    numbers = sorted(used)
    rules = [
        f"{scope} text{{font:400 11px {FONTS}}}",
        f"{scope} .label{{font-size:12.5px;font-weight:500}}",
        f"{scope} .span{{font-size:12px;font-weight:500}}",
        f"{scope} .bar text{{font-size:10.5px;pointer-events:none}}",
        f"{scope} .over{{paint-order:stroke;stroke-width:3px;stroke-linejoin:round}}",
        f"{scope} .bar:hover{{opacity:.8}}",
        f"{scope} .pale path{{opacity:.3}}",
    ]
    rules += _colours(scope, numbers, theme == "dark")
    if theme == "auto":
        dark = "".join(_colours(scope, numbers, True))
        rules.append(f"@media (prefers-color-scheme:dark){{{dark}}}")
    return "".join(rules)


def _colours(scope: str, numbers: list[int], dark: bool) -> Iterator[str]:
    scheme: Scheme = DARK if dark else LIGHT
    yield f"{scope} .ground{{fill:{scheme.ground}}}"
    yield f"{scope} .ink,{scope} .over{{fill:{scheme.ink}}}"
    yield f"{scope} .over{{stroke:{scheme.ground}}}"
    yield f"{scope} .muted{{fill:{scheme.muted}}}"
    yield f"{scope} .band{{fill:{scheme.band}}}"
    yield f"{scope} .line{{stroke:{scheme.line}}}"
    yield f"{scope} .strong{{stroke:{scheme.strong}}}"
    yield f"{scope} .crowd{{fill:{scheme.crowd}}}"
    yield f"{scope} .c-1{{fill:{scheme.muted}}}"
    yield f"{scope} .s-1{{stroke:{scheme.muted}}}"
    yield f"{scope} .g-1{{stop-color:{scheme.muted}}}"
    yield f"{scope} .now{{stroke:{scheme.now};fill:{scheme.now}}}"
    yield f"{scope} .nowtext{{fill:{scheme.now_ink}}}"
    for number in numbers:
        colour = PALETTE[number]
        fill, ink = (colour.dark, colour.dark_ink) if dark else (colour.light, colour.light_ink)
        yield f"{scope} .c{number}{{fill:{fill}}}"
        yield f"{scope} .s{number}{{stroke:{fill}}}"
        yield f"{scope} .g{number}{{stop-color:{fill}}}"
        yield f"{scope} .t{number}{{fill:{ink}}}"


def definitions(prefix: str, used: Iterable[tuple[str, int]]) -> str:
    """Return the patterns and gradients of bars, each in the colours that it is used with."""
    parts = []
    for kind, number in sorted(used):
        name = f'id="{prefix}{kind}{number}"'
        match kind:
            case "dry":
                parts.append(
                    f'<pattern {name} width="6" height="6" patternUnits="userSpaceOnUse" '
                    f'patternTransform="rotate(45)"><path class="c{number}" fill-opacity=".22" '
                    'd="M0 0h6v6H0z"/>'
                    f'<path class="c{number}" fill-opacity=".55" d="M0 0h2v6H0z"/></pattern>'
                )
            case "many":
                parts.append(
                    f'<pattern {name} width="4" height="4" patternUnits="userSpaceOnUse">'
                    f'<path class="c{number}" fill-opacity=".3" d="M0 0h4v4H0z"/>'
                    f'<path class="c{number}" fill-opacity=".8" d="M0 0h2v4H0z"/></pattern>'
                )
            case "endless":
                parts.append(
                    f'<linearGradient {name}><stop class="g{number}" offset=".55"/>'
                    f'<stop class="g{number}" offset="1" stop-opacity=".3"/></linearGradient>'
                )
    return f"<defs>{''.join(parts)}</defs>" if parts else ""
