"""The index of targets that overlap."""

from __future__ import annotations

from trio_dispatch import ElectricalComponentCategory, Target, TargetCategories, TargetIds
from trio_dispatch.actors.target_index import TargetIndex


def test_overlapping_targets_are_found() -> None:
    categories = TargetCategories(ElectricalComponentCategory.BATTERY)
    targets = [TargetIds(1, 2), TargetIds(2, 3), TargetIds(), categories, None]
    overlaps: TargetIndex[int] = TargetIndex()
    for number, target in enumerate(targets):
        overlaps.add(number, target)

    def found(target: Target | None) -> list[int]:
        return sorted(overlaps.with_target(target))

    assert found(TargetIds(1)) == [0, 3, 4]
    assert found(TargetIds(1, 2, 3)) == [0, 1, 3, 4]
    assert found(TargetIds(4)) == found(TargetIds()) == [3, 4]
    assert found(categories) == found(None) == [0, 1, 2, 3, 4]
    overlaps.add(1, TargetIds(4))
    assert found(TargetIds(2, 3)) == [0, 3, 4]
    assert found(TargetIds(4)) == [1, 3, 4]
    for number in (0, 3, 3):
        overlaps.discard(number)
    assert 0 not in overlaps
    assert 1 in overlaps
    assert found(TargetIds(1)) == [4]
    assert found(categories) == [1, 2, 4]
