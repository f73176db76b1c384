"""What a dispatch is for: components by their ids, or by what they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from ._generated.frequenz.api.common.v1alpha8.microgrid.electrical_components import (
    BatteryType,
    ElectricalComponentCategory,
    EvChargerType,
    InverterType,
)

__all__ = [
    "BatteryType",
    "ElectricalComponentCategory",
    "EvChargerType",
    "InverterType",
    "Target",
    "TargetCategories",
    "TargetCategory",
    "TargetIds",
]

ComponentType = BatteryType | InverterType | EvChargerType
"""The types within a category that the API knows."""

_CATEGORY_OF = {
    BatteryType: ElectricalComponentCategory.BATTERY,
    InverterType: ElectricalComponentCategory.INVERTER,
    EvChargerType: ElectricalComponentCategory.EV_CHARGER,
}
_MAX_ID = (1 << 64) - 1


class TargetIds(frozenset[int]):
    """The components with these ids: ``TargetIds(1, 2, 3)``.  A frozen set of ints."""

    __slots__ = ()

    def __new__(cls, *ids: int) -> Self:
        """
        Raises:
          ValueError: an id is not an integer from 0 to 2**64 - 1.
        """
        for id_ in ids:
            if not isinstance(id_, int) or not 0 <= id_ <= _MAX_ID:
                raise ValueError(f"component id {id_!r} is not an integer from 0 to 2**64 - 1")
        return cls._of(ids)

    @classmethod
    def _of(cls, ids: Iterable[int]) -> Self:
        """The target with these ids, which are in range."""
        return frozenset.__new__(cls, ids)

    def __repr__(self) -> str:
        return f"TargetIds({', '.join(map(str, sorted(self)))})"

    def __reduce__(self) -> tuple[type[TargetIds], tuple[int, ...]]:
        return TargetIds, tuple(self)


@dataclass(frozen=True, slots=True)
class TargetCategory:
    """The components of a category, or of one type within it.

    Numbers that this version does not know are kept: ``category.name`` is then empty.
    """

    category: ElectricalComponentCategory
    type: ComponentType | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TargetCategory):
            return NotImplemented
        # Types of different kinds are equal as numbers.
        return (self.category, type(self.type), self.type) == (
            other.category,
            type(other.type),
            other.type,
        )

    def __hash__(self) -> int:
        return hash((self.category, type(self.type), self.type))

    def __str__(self) -> str:
        name = _name(self.category)
        return name if self.type is None else f"{name}:{_name(self.type)}"


class TargetCategories(frozenset[TargetCategory]):
    """The components of any of these categories or types, a frozen set of `TargetCategory`.

    A category stands for itself, a type for its category and itself::

        TargetCategories(ElectricalComponentCategory.EV_CHARGER, BatteryType.LI_ION)
    """

    __slots__ = ()

    def __new__(
        cls, *categories: ElectricalComponentCategory | ComponentType | TargetCategory
    ) -> Self:
        """
        Raises:
          ValueError: something is neither a category nor a type of one.
        """
        return super().__new__(cls, map(_category, categories))

    def __repr__(self) -> str:
        return f"TargetCategories({', '.join(sorted(map(str, self)))})"

    def __reduce__(self) -> tuple[type[TargetCategories], tuple[TargetCategory, ...]]:
        return TargetCategories, tuple(self)


Target = TargetIds | TargetCategories
"""Either kind of target."""


def _category(
    value: ElectricalComponentCategory | ComponentType | TargetCategory,
) -> TargetCategory:
    match value:
        case TargetCategory():
            return value
        case ElectricalComponentCategory():
            return TargetCategory(value)
        case BatteryType() | InverterType() | EvChargerType():
            return TargetCategory(_CATEGORY_OF[type(value)], value)
    raise ValueError(
        f"{value!r} is not a target: give an ElectricalComponentCategory, a BatteryType, "
        "an InverterType, an EvChargerType or a TargetCategory"
    )


def _name(member: ElectricalComponentCategory | ComponentType) -> str:
    return member.name or str(int(member))
