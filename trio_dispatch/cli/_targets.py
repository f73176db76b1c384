"""Targets as people write them: ``1,2,5-9`` or ``battery,inverter:pv``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

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

__all__ = [
    "complete_target",
    "format_category",
    "format_target",
    "parse_category",
    "parse_ids",
    "parse_target",
]

_MAX_ID = (1 << 64) - 1
_MOST_IDS = 10_000
_NUMBER = re.compile(r"#\d{1,9}", re.ASCII)
_RANGE = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)
_KINDS: dict[str, type[ComponentType]] = {
    "battery": BatteryType,
    "inverter": InverterType,
    "ev_charger": EvChargerType,
}
_CATEGORIES = {
    member.name.lower(): member for member in ElectricalComponentCategory if member.name and member
}


def parse_target(text: str) -> Target:
    """The target that a text means: ids and ranges of them, or categories and types within them.

    Raises:
      ValueError: it means nothing; the message lists what there is.
    """
    items = [item.strip() for item in text.split(",")]
    numbers = [bool(_RANGE.fullmatch(item)) for item in items]
    if all(numbers):
        return TargetIds(*parse_ids(text))
    if any(numbers):
        raise ValueError(f"{text!r} mixes ids and categories: a target is one or the other")
    return TargetCategories(*map(parse_category, items))


def parse_ids(text: str) -> list[int]:
    """The ids that a text means, in its order and without repeats: ``1,2,5-9``.

    Raises:
      ValueError: it means nothing, or more than 10,000 of them.
    """
    ids: dict[int, None] = {}
    for item in text.split(","):
        match = _RANGE.fullmatch(item.strip())
        if match is None:
            raise ValueError(f"{item.strip()!r} in {text!r} is no id: say 1,2,5-9")
        first, last = int(match[1]), int(match[2] or match[1])
        if last > _MAX_ID:
            raise ValueError(f"{item.strip()!r} is beyond the largest id, 2**64 - 1")
        if last < first:
            raise ValueError(f"{item.strip()!r} ends before it begins: say {last}-{first}")
        if last - first >= _MOST_IDS:
            raise ValueError(f"{item.strip()!r} in {text!r} is more than {_MOST_IDS:,} ids")
        ids.update(dict.fromkeys(range(first, last + 1)))
    return list(ids)


def parse_category(text: str) -> TargetCategory:
    """A category, or with a colon a type within it, by name or as ``#7`` by number.

    Raises:
      ValueError: there is none of this name; the message lists what there is.
    """
    name, *rest = (part.strip().lower().replace("-", "_") for part in text.split(":"))
    category = _CATEGORIES.get(name)
    if category is None and not _NUMBER.fullmatch(name):
        raise ValueError(
            f"{text!r} is no category of components: there are {', '.join(_CATEGORIES)}"
        )
    if category is None:
        category = ElectricalComponentCategory(int(name[1:]))
    if not rest:
        return TargetCategory(category)
    # A type of another category's kind makes no sense, but a service may keep one.
    kind: type[ComponentType] | None = _KINDS.get(rest[0] if len(rest) == 2 else name)
    if kind is None or len(rest) > 2:
        raise ValueError(f"{text!r}: only {', '.join(_KINDS)} have types")
    types = {member.name.lower(): member for member in kind if member.name and member}
    member = types.get(rest[-1])
    if member is None and not _NUMBER.fullmatch(rest[-1]):
        raise ValueError(
            f"{text!r}: {rest[-1]!r} is no type of {name}: there are {', '.join(types)}"
        )
    return TargetCategory(category, kind(int(rest[-1][1:])) if member is None else member)


def format_target(target: Target | None) -> str:
    """A target in a form that `parse_target` reads; ids in ranges, where three are in a row."""
    if not target:
        return ""
    if isinstance(target, TargetIds):
        return ",".join(_ranges(sorted(target)))
    return ",".join(sorted(map(format_category, target)))


def format_category(item: TargetCategory) -> str:
    """A category or type in a form that `parse_category` reads."""
    category = _name(item.category)
    if item.type is None:
        return category
    kind = next(name for name, kind in _KINDS.items() if isinstance(item.type, kind))
    type_ = _name(item.type)
    return f"{category}:{type_}" if kind == category else f"{category}:{kind}:{type_}"


def _name(member: ElectricalComponentCategory | ComponentType) -> str:
    # What is unspecified has a name, but not one that says anything.
    return member.name.lower() if member.name and member else f"#{int(member)}"


def _ranges(ids: list[int]) -> Iterable[str]:
    if not ids:
        return
    start = ids[0]
    for id_, after in pairwise([*ids, None]):
        if after is not None and id_ is not None and after == id_ + 1:
            continue
        assert id_ is not None
        if id_ - start >= 2:
            yield f"{start}-{id_}"
        else:
            yield from map(str, range(start, id_ + 1))
        start = after if after is not None else start


def complete_target(incomplete: str) -> list[str]:
    """What the last item of a target that is being written could become."""
    before, comma, last = incomplete.rpartition(",")
    names = [*_CATEGORIES]
    for name, kind in _KINDS.items():
        names += [f"{name}:{member.name.lower()}" for member in kind if member.name and member]
    return [f"{before}{comma}{name}" for name in names if name.startswith(last.lower())]
