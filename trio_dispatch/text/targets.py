"""Targets as people write them: ``1,2,5-9`` or ``battery,inverter:pv``.

In files for spreadsheets, which take ``1,2`` for a number and ``1-3`` for a date, they are written
``1;2`` and ``1..3``; both forms are read everywhere.
"""

from __future__ import annotations

import re
import tomllib

from ..model.target import (
    BatteryType,
    ComponentType,
    ElectricalComponentCategory,
    EvChargerType,
    InverterType,
    Target,
    TargetCategories,
    TargetCategory,
    TargetIds,
)
from ..model.validation import MAX_ID

_MAX_IDS = 10_000
_NUMBER = re.compile(r"#\d{1,9}", re.ASCII)
_RANGE = re.compile(r"(\d{1,400})(?:(?:-|\.\.)(\d{1,400}))?", re.ASCII)
_SEPARATOR = re.compile(r"[,;]")
_KINDS: dict[str, type[ComponentType]] = {
    "battery": BatteryType,
    "inverter": InverterType,
    "ev_charger": EvChargerType,
}
_CATEGORIES = {
    member.name.lower(): member for member in ElectricalComponentCategory if member.name and member
}


def parse_target(text: str) -> Target:
    """Return the target that a text means: ids and ranges of ids, or categories with types.

    Raises:
      ValueError: the text is not a target.
    """
    if not text.strip():
        raise ValueError("must not be empty: use 1,2,5-9 or battery,inverter:pv")
    items = [item.strip() for item in _SEPARATOR.split(text)]
    numbers = [bool(_RANGE.fullmatch(item)) for item in items]
    if all(numbers):
        return TargetIds(*parse_ids(text))
    if any(numbers):
        raise ValueError(f"{text!r} mixes ids and categories: use one or the other")
    return TargetCategories(*map(parse_category, items))


def parse_ids(text: str) -> list[int]:
    """Return the ids that a text means, in its order and without repeats: ``1,2,5-9``.

    Raises:
      ValueError: the text is not a list of ids, or means more than 10,000 of them.
    """
    ids: dict[int, None] = {}
    for item in map(str.strip, _SEPARATOR.split(text)):
        match = _RANGE.fullmatch(item)
        if match is None:
            where = "" if item == text.strip() else f" in {text!r}"
            raise ValueError(f"{item!r}{where} is not an id: use 1,2,5-9")
        first, last = int(match[1]), int(match[2] or match[1])
        if last > MAX_ID:
            raise ValueError(f"{item!r} is larger than the largest id, 2**64 - 1")
        if last < first:
            raise ValueError(f"{item!r} is not a range: use {last}-{first}")
        if last - first >= _MAX_IDS:
            raise ValueError(f"{item!r} is more than {_MAX_IDS:,} ids")
        ids.update(dict.fromkeys(range(first, last + 1)))
    return list(ids)


def parse_category(text: str) -> TargetCategory:
    """Return a category, or with a colon a type within it, by name or by number as in ``#7``.

    Raises:
      ValueError: there is no such category or type; the message lists the known ones.
    """
    name, *rest = (part.strip().lower().replace("-", "_") for part in text.split(":"))
    category = _CATEGORIES.get(name)
    if category is None:
        if not _NUMBER.fullmatch(name):
            raise ValueError(f"unknown category {name!r}: use {', '.join(_CATEGORIES)}")
        category = ElectricalComponentCategory(int(name[1:]))
    if not rest:
        return TargetCategory(category)
    # A service may keep a type that belongs to another category; then both are named.
    kind: type[ComponentType] | None = _KINDS.get(rest[0] if len(rest) == 2 else name)
    if kind is None or len(rest) > 2:
        raise ValueError(f"{text!r}: only {', '.join(_KINDS)} have types")
    types = {member.name.lower(): member for member in kind if member.name and member}
    member = types.get(rest[-1])
    if member is None and not _NUMBER.fullmatch(rest[-1]):
        raise ValueError(f"unknown type {rest[-1]!r} of {name}: use {', '.join(types)}")
    return TargetCategory(category, kind(int(rest[-1][1:])) if member is None else member)


def parse_components(text: str) -> dict[int, TargetCategory]:
    """Return what components are, from TOML such as ``1-3 = "battery:li_ion"``.

    Raises:
      ValueError: the text is not TOML, or has an invalid id, category or type.
    """
    found: dict[int, TargetCategory] = {}
    for ids, kind in tomllib.loads(text).items():
        if not isinstance(kind, str):
            raise ValueError(f'{ids}: {kind!r} is not a category, such as "battery"')
        found |= dict.fromkeys(parse_ids(ids), parse_category(kind))
    return found


def complete_target(incomplete: str) -> list[str]:
    """Return the completions of the last item of an incomplete target."""
    before, comma, last = incomplete.rpartition(",")
    names = [*_CATEGORIES]
    for name, kind in _KINDS.items():
        names += [f"{name}:{member.name.lower()}" for member in kind if member.name and member]
    return [f"{before}{comma}{name}" for name in names if name.startswith(last.lower())]
