"""What somebody may have meant who wrote a name wrongly."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``: did you mean list?`` for the known names that are nearest; empty if none is."""
    import difflib  # noqa: PLC0415 - only for errors

    lowered = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), lowered, 3, 0.72)
    near = near or [each for each in lowered if len(name) >= 3 and each.startswith(name.lower())]
    return f": did you mean {' or '.join(lowered[each] for each in near[:3])}?" if near else ""
