"""The target of a dispatch: components by id, by category or by type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from .open_enum import OpenEnum
from .validation import check_id, shown

__all__ = [
    "BatteryType",
    "ComponentKind",
    "ComponentType",
    "ElectricalComponentCategory",
    "EvChargerType",
    "InverterType",
    "Target",
    "TargetCategories",
    "TargetCategory",
    "TargetIds",
    "category_of",
]


class ComponentKind(OpenEnum):
    """A category of electrical components, or a type within a category."""


class ElectricalComponentCategory(ComponentKind):
    """The category of an electrical component."""

    UNSPECIFIED = 0
    GRID_CONNECTION_POINT = 1
    METER = 2
    INVERTER = 3
    CONVERTER = 4
    BATTERY = 5
    EV_CHARGER = 6
    BREAKER = 7
    PRECHARGER = 8
    CHP = 9
    ELECTROLYZER = 10
    POWER_TRANSFORMER = 11
    HVAC = 12
    PLC = 13
    CRYPTO_MINER = 14
    STATIC_TRANSFER_SWITCH = 15
    UNINTERRUPTIBLE_POWER_SUPPLY = 16
    CAPACITOR_BANK = 17
    WIND_TURBINE = 18
    STEAM_BOILER = 19


class BatteryType(ComponentKind):
    """The chemistry of a battery."""

    UNSPECIFIED = 0
    LI_ION = 1
    NA_ION = 2


class InverterType(ComponentKind):
    """What an inverter is connected to."""

    UNSPECIFIED = 0
    BATTERY = 1
    PV = 2
    HYBRID = 3


class EvChargerType(ComponentKind):
    """The current that a charging point for electric vehicles delivers."""

    UNSPECIFIED = 0
    AC = 1
    DC = 2
    HYBRID = 3


ComponentType = BatteryType | InverterType | EvChargerType
"""A type of components, which belongs to one category."""

_CATEGORY_OF = {
    BatteryType: ElectricalComponentCategory.BATTERY,
    InverterType: ElectricalComponentCategory.INVERTER,
    EvChargerType: ElectricalComponentCategory.EV_CHARGER,
}


def category_of(type: ComponentType) -> ElectricalComponentCategory:
    """Return the category that a type belongs to."""
    return _CATEGORY_OF[type.__class__]


class TargetIds(frozenset[int]):
    """The components with these ids: ``TargetIds(1, 2, 3)``.  A frozen set of ints."""

    __slots__ = ()

    def __new__(cls, *ids: int) -> Self:
        """
        Raises:
          ValueError: an id is not an integer from 0 to 2**64 - 1.
        """
        for id_ in ids:
            check_id("component id", id_)
        return cls.unchecked(ids)

    @classmethod
    def unchecked(cls, ids: Iterable[int]) -> Self:
        """Return the target with these ids, which are known to be in range."""
        return frozenset.__new__(cls, ids)

    def __repr__(self) -> str:
        return f"TargetIds({', '.join(map(str, sorted(self)))})"

    def __reduce__(self) -> tuple[type[TargetIds], tuple[int, ...]]:
        return TargetIds, tuple(self)


@dataclass(frozen=True, slots=True)
class TargetCategory:
    """The components of a category, or those of one type within the category.

    Numbers that this version does not know are kept: ``category.name`` is then empty.
    """

    category: ElectricalComponentCategory
    type: ComponentType | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TargetCategory):
            return NotImplemented
        # As integers, types of different enumerations may be equal.
        return (self.category, type(self.type), self.type) == (
            other.category,
            type(other.type),
            other.type,
        )

    def __hash__(self) -> int:
        return hash((self.category, type(self.type), self.type))

    def __str__(self) -> str:
        return str(self.category) if self.type is None else f"{self.category}:{self.type}"


class TargetCategories(frozenset[TargetCategory]):
    """The components of any of these categories or types.  A frozen set of `TargetCategory`.

    A type implies its category::

        TargetCategories(ElectricalComponentCategory.EV_CHARGER, BatteryType.LI_ION)
    """

    __slots__ = ()

    def __new__(cls, *categories: ComponentKind | TargetCategory) -> Self:
        """
        Raises:
          ValueError: an argument is neither a category nor a type.
        """
        return super().__new__(cls, map(_category, categories))

    def __repr__(self) -> str:
        return f"TargetCategories({', '.join(sorted(map(str, self)))})"

    def __reduce__(self) -> tuple[type[TargetCategories], tuple[TargetCategory, ...]]:
        return TargetCategories, tuple(self)


Target = TargetIds | TargetCategories
"""A target by ids or by categories."""


def _category(value: ComponentKind | TargetCategory) -> TargetCategory:
    match value:
        case TargetCategory():
            return value
        case ElectricalComponentCategory():
            return TargetCategory(value)
        case BatteryType() | InverterType() | EvChargerType():
            return TargetCategory(category_of(value), value)
    raise ValueError(
        f"{shown(value)} is not a category or type of components: give an "
        "ElectricalComponentCategory, BatteryType, InverterType, EvChargerType or TargetCategory"
    )
