"""Targets as people write them."""

from __future__ import annotations

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
from trio_dispatch.model.formatting import format_target
from trio_dispatch.text.targets import complete_target, parse_ids, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("1", TargetIds(1)),
        ("1,2,5-9", TargetIds(1, 2, 5, 6, 7, 8, 9)),
        (" 3 , 1 ", TargetIds(1, 3)),
        ("18446744073709551615", TargetIds(2**64 - 1)),
        ("battery", TargetCategories(ElectricalComponentCategory.BATTERY)),
        (
            "battery,inverter:pv",
            TargetCategories(ElectricalComponentCategory.BATTERY, InverterType.PV),
        ),
        ("EV-Charger:AC", TargetCategories(EvChargerType.AC)),
        ("#40", TargetCategories(ElectricalComponentCategory(40))),
    ],
)
def test_what_a_text_means(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("boiler", "unknown category 'boiler': use grid_connection_point, meter, inverter,"),
        (" ", "must not be empty: use 1,2,5-9 or battery,inverter:pv"),
        ("battery,", "unknown category '': use grid_connection_point"),
        ("battery:pv", "unknown type 'pv' of battery: use li_ion, na_ion"),
        ("inverter:dc", "unknown type 'dc' of inverter: use battery, pv, hybrid"),
        ("meter:pv", "only battery, inverter, ev_charger have types"),
        ("1,battery", "mixes ids and categories"),
        ("9-3", "'9-3' is not a range: use 3-9"),
        ("18446744073709551616", "larger than the largest id"),
        ("1-20000", "more than 10,000 ids"),
    ],
)
def test_an_invalid_target_is_answered_with_the_known_ones(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_target(text)


def test_ids_keep_their_order() -> None:
    assert parse_ids("7,3-4,7") == [7, 3, 4]
    with pytest.raises(ValueError, match="'x' in '1,x' is not an id: use 1,2,5-9"):
        parse_ids("1,x")


def test_ids_are_printed_in_ranges() -> None:
    assert format_target(TargetIds(9, 1, 2, 3, 5, 6, 11)) == "1-3,5,6,9,11"


ids = st.lists(st.integers(0, 40) | st.integers(0, 2**64 - 1), min_size=1, max_size=9)
categories = st.builds(
    TargetCategory,
    st.integers(0, 40).map(ElectricalComponentCategory),
    st.none()
    | st.integers(0, 9).map(BatteryType)
    | st.integers(0, 9).map(InverterType)
    | st.integers(0, 9).map(EvChargerType),
)
targets = ids.map(lambda some: TargetIds(*some)) | st.lists(categories, min_size=1, max_size=4).map(
    lambda some: TargetCategories(*some)
)


@given(targets)
def test_formatted_values_can_be_parsed(target: Target) -> None:
    assert parse_target(format_target(target)) == target


def test_completion() -> None:
    assert complete_target("bat") == ["battery", "battery:li_ion", "battery:na_ion"]
    assert complete_target("meter,inverter:p") == ["meter,inverter:pv"]
    assert complete_target("x") == []
