"""Which components a target means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from .target import (
    ComponentKind,
    ElectricalComponentCategory,
    Target,
    TargetCategories,
    TargetCategory,
    TargetIds,
)
from .validation import check_id, shown

__all__ = ["Components", "component_resolver"]

Components: TypeAlias = (
    Mapping[int, ComponentKind | TargetCategory] | Callable[[Target], Iterable[int]]
)
"""The components of a microgrid: what each id is, or a function from a target to ids."""


def component_resolver(components: Components) -> Callable[[Target | None], frozenset[int]]:
    """Return a function from a target to the ids of its components.

    With a mapping, it resolves a target as the API means it:

    - ids to those of them that the mapping has: a component that it does not have is not ours;
    - a category to the components of the category, whatever their type;
    - a type to the components of this type.  A component of which the mapping gives the category
      alone has an unknown type, and no type matches it;
    - no target, or an unspecified category, to no components.

    A function is called with each target, and decides by itself.

    Args:
      components: A mapping from ids to what the components are, which is copied::

          {1: BatteryType.LI_ION, 2: BatteryType.LI_ION, 3: ElectricalComponentCategory.METER}

        or a function from a target to the ids of its components.

    Raises:
      ValueError: the mapping has an invalid id, or a value that is no category or type.
    """
    if isinstance(components, Mapping):
        return _mapping_resolver(components)
    if not callable(components):
        raise ValueError(f"components {shown(components)} is not a mapping or a function")
    resolve = components

    def resolve_by_function(target: Target | None) -> frozenset[int]:
        return frozenset() if target is None else frozenset(resolve(target))

    return resolve_by_function


def _mapping_resolver(
    components: Mapping[int, ComponentKind | TargetCategory],
) -> Callable[[Target | None], frozenset[int]]:
    ids = frozenset(check_id("component id", id_) for id_ in components)
    members: dict[TargetCategory, set[int]] = {}
    for id_, kind in components.items():
        (item,) = TargetCategories(kind)
        members.setdefault(TargetCategory(item.category), set()).add(id_)
        if item.type is not None:
            members.setdefault(item, set()).add(id_)
    members.pop(TargetCategory(ElectricalComponentCategory.UNSPECIFIED), None)

    def resolve(target: Target | None) -> frozenset[int]:
        if target is None:
            return frozenset()
        if isinstance(target, TargetIds):
            return ids & target
        return frozenset().union(*(members.get(item, ()) for item in target))

    return resolve
