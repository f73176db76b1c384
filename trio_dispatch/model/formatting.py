"""Durations, ids and targets as text, in the one form that the CLI and the pictures use.

The CLI's parsers read every text that these functions return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from .target import (
    ComponentType,
    ElectricalComponentCategory,
    Target,
    TargetCategory,
    TargetIds,
    category_of,
)

__all__ = ["format_category", "format_duration", "format_ranges", "format_target"]

_UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def format_duration(duration: timedelta | None) -> str:
    """Return a dispatch's duration as text: ``1h30m``, ``pulse`` for zero, ``forever`` for None."""
    if duration is None:
        return "forever"
    rest = round(duration.total_seconds())
    if not rest:
        return "pulse"
    text = ""
    for unit, seconds in _UNITS:
        number, rest = divmod(rest, seconds)
        text += f"{number}{unit}" if number else ""
    return text


def format_target(target: Target | None) -> str:
    """Return a target as text: ``1-3,7,8`` or ``battery:li_ion,inverter``; empty for no target."""
    if target is None:
        return ""
    if isinstance(target, TargetIds):
        return format_ranges(target)
    return ",".join(sorted(map(format_category, target)))


def format_category(item: TargetCategory) -> str:
    """Return a category as text, with its type if it has one: ``battery:li_ion``.

    A number without a name is written as ``#40``.
    """
    category = _name(item.category)
    if item.type is None:
        return category
    # A service may keep a type that belongs to another category; then both are named.
    own = category_of(item.type)
    kind = "" if own == item.category else f":{_name(own)}"
    return f"{category}{kind}:{_name(item.type)}"


def format_ranges(numbers: Iterable[int], name: Callable[[int], str] = str) -> str:
    """Return numbers in ascending order, three or more consecutive ones as a range: ``1-3,7,8``.

    Args:
      name: Formats a number.
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(
        f"{name(run[0])}-{name(run[-1])}" if len(run) > 2 else ",".join(map(name, run))
        for run in runs
    )


def _name(member: ElectricalComponentCategory | ComponentType) -> str:
    # UNSPECIFIED is written as #0: its name would read like a wildcard.
    return member.name.lower() if member.name and member else f"#{int(member)}"
