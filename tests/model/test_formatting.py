"""Durations, ids and targets as text."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_dispatch import (
    BatteryType,
    ElectricalComponentCategory,
    InverterType,
    Target,
    TargetCategories,
    TargetCategory,
    TargetIds,
)
from trio_dispatch.model.formatting import format_duration, format_ranges, format_target

BATTERY = ElectricalComponentCategory.BATTERY


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "pulse"),
        (45, "45s"),
        (5400, "1h30m"),
        (86_400, "1d"),
        (90_061, "1d1h1m1s"),
        (2**32 - 1, "49710d6h28m15s"),
    ],
)
def test_duration_in_units(seconds: int, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


def test_duration_without_end() -> None:
    assert format_duration(None) == "forever"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (None, ""),
        (TargetIds(), ""),
        (TargetIds(7), "7"),
        (TargetIds(1, 2), "1,2"),
        (TargetIds(8, 3, 7, 1, 2), "1-3,7,8"),
        (TargetIds(2**64 - 1), "18446744073709551615"),
        (TargetCategories(InverterType.PV, BATTERY), "battery,inverter:pv"),
        (TargetCategories(TargetCategory(BATTERY, InverterType.PV)), "battery:inverter:pv"),
        (TargetCategories(ElectricalComponentCategory(40), BatteryType(0)), "#40,battery:#0"),
    ],
)
def test_target(target: Target | None, text: str) -> None:
    assert format_target(target) == text


@given(st.sets(st.integers(0, 60)))
def test_only_three_or_more_consecutive_numbers_become_a_range(numbers: set[int]) -> None:
    items = [list(map(int, item.split("-"))) for item in format_ranges(numbers).split(",") if item]
    assert all(item[-1] - item[0] >= 2 for item in items if len(item) == 2)
    members = [number for item in items for number in range(item[0], item[-1] + 1)]
    assert members == sorted(numbers)
    ranges = [item for item in items if len(item) == 2]
    assert not any(number - 1 in numbers or last + 1 in numbers for number, last in ranges)
