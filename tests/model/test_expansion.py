"""Which components a target means."""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_dispatch import (
    BatteryType,
    ElectricalComponentCategory,
    EvChargerType,
    InverterType,
    Target,
    TargetCategories,
    TargetCategory,
    TargetIds,
)
from trio_dispatch.model.expansion import component_resolver
from trio_dispatch.model.target import ComponentType

BATTERY, INVERTER = ElectricalComponentCategory.BATTERY, ElectricalComponentCategory.INVERTER
UNSPECIFIED = ElectricalComponentCategory.UNSPECIFIED
Kind: TypeAlias = ElectricalComponentCategory | ComponentType | TargetCategory

SITE: dict[int, Kind] = {
    1: BatteryType.LI_ION,
    2: BatteryType.NA_ION,
    3: BATTERY,
    4: InverterType.PV,
    5: TargetCategory(INVERTER, InverterType.BATTERY),
    6: ElectricalComponentCategory.METER,
    7: UNSPECIFIED,
}


@pytest.mark.parametrize(
    ("target", "ids"),
    [
        (TargetIds(1, 7), {1, 7}),
        (TargetIds(6, 8), {6}),
        (TargetIds(), set()),
        (None, set()),
        (TargetCategories(BATTERY), {1, 2, 3}),
        (TargetCategories(BatteryType.LI_ION), {1}),
        (TargetCategories(BatteryType.LI_ION, INVERTER), {1, 4, 5}),
        (TargetCategories(InverterType.BATTERY, InverterType.HYBRID), {5}),
        # The same number as LI_ION, but of another category.
        (TargetCategories(EvChargerType.AC), set()),
        (TargetCategories(TargetCategory(BATTERY, InverterType.BATTERY)), set()),
        (TargetCategories(ElectricalComponentCategory(99)), set()),
        (TargetCategories(UNSPECIFIED), set()),
        (TargetCategories(BatteryType.UNSPECIFIED), set()),
    ],
)
def test_target_to_components(target: Target | None, ids: set[int]) -> None:
    assert component_resolver(SITE)(target) == ids


kinds: st.SearchStrategy[Kind] = st.sampled_from(
    [*SITE.values(), InverterType.HYBRID, ElectricalComponentCategory(99)]
)


@given(
    st.dictionaries(st.integers(0, 9), kinds),
    st.lists(kinds, max_size=3).map(lambda items: TargetCategories(*items)),
)
def test_categories_match_as_written(site: dict[int, Any], target: TargetCategories) -> None:
    def matches(kind: Any) -> bool:
        (item,) = TargetCategories(kind)
        return item.category != UNSPECIFIED and any(
            item.category == wanted.category and wanted.type in (None, item.type)
            for wanted in target
        )

    expected = {id_ for id_, kind in site.items() if matches(kind)}
    assert component_resolver(site)(target) == expected


def test_a_function_decides_by_itself() -> None:
    resolve = component_resolver(lambda target: [len(target), 5])
    assert resolve(TargetIds(7, 8)) == {2, 5}
    assert resolve(None) == set()


def test_the_mapping_is_copied() -> None:
    site = {1: BATTERY}
    resolve = component_resolver(site)
    site[2] = BATTERY
    assert resolve(TargetCategories(BATTERY)) == {1}


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ({-1: BATTERY}, "component id -1 is not an integer"),
        ({1: "battery"}, "'battery' is not a category or type of components"),
        ([1, 2], r"components \[1, 2\] is not a mapping or a function"),
    ],
)
def test_invalid_components(components: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        component_resolver(components)
