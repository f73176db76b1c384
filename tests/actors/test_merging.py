"""Dispatches that share an actor."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import Diary, acting, lasting, now
from tests.helpers.dispatching import dispatching
from trio_dispatch import (
    ActorRun,
    Dispatch,
    ElectricalComponentCategory,
    MergeByType,
    MergeByTypeTarget,
    MergeStrategy,
    RecurrenceRule,
    TargetCategories,
    TargetIds,
)
from trio_dispatch.model.recurrence.rule import Frequency
from trio_dispatch.testing import LocalService, make_dispatch


class MergeByZone:
    def identities(self, dispatch: Dispatch) -> set[Hashable]:
        return {str(dispatch.payload["zone"])}


async def test_shared_actor_runs_from_the_first_start_to_the_last_stop(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    for dispatch in (
        lasting(3, 0, 100, payload={"power": 3}),
        lasting(1, 20, 40, payload={"power": 1}),
        lasting(2, 40, 10, payload={"power": 2}),
        lasting(4, 100, 50, payload={"power": 4}),  # touches the first
        lasting(5, 200, 10, payload={"power": 5}),
        lasting(6, 200, 20, payload={"power": 6}),  # starts with another one: the higher id counts
    ):
        await service.put(dispatch)
    async with acting(service, diary.actor, merge=MergeByType()):
        await trio.sleep(300)
    assert diary.entries == [
        (0, "3: 3 3"),
        (20, "3: 1 1"),
        (40, "3: 2 2"),
        (50, "3: 1 1"),
        (60, "3: 3 3"),
        (100, "3: 4 4"),
        (150, "3: end"),
        (200, "6: 6 6"),
        (220, "6: end"),
    ]


async def test_dry_runs_have_their_own_actor(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    async with acting(service, diary.actor, merge=MergeByType(), dry_runs=True):
        await service.put(lasting(1, 0, 100))
        await service.put(lasting(2, 10, 100, dry_run=True))
        await trio.sleep(20)
        # It joins the other group, in which it started last.
        await service.put(lasting(2, 10, 100))
        await trio.sleep(200)
    assert diary.entries[:2] == [(0, "1: 1 None"), (10, "2: 2 None")]
    assert sorted(diary.entries[2:4]) == [(20, "1: 2 None"), (20, "2: end")]
    assert diary.entries[4:] == [(110, "1: end")]


async def test_change_of_a_dispatch_that_does_not_drive_is_not_shown(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    async with acting(service, diary.actor, merge=MergeByType()):
        await service.put(lasting(1, 0, 100, payload={"power": 1}))
        await service.put(lasting(2, 10, 20, payload={"power": 2}))
        await trio.sleep(20)
        await service.put(lasting(1, 0, 100, payload={"power": 3}))
        await trio.sleep(200)
    assert diary.entries == [(0, "1: 1 1"), (10, "1: 2 2"), (30, "1: 1 3"), (100, "1: end")]


async def test_dispatches_with_the_same_target_share_an_actor(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    async with acting(service, diary.actor, merge=MergeByTypeTarget()):
        await service.put(lasting(1, 0, 100, target=TargetIds(1, 2)))
        await service.put(lasting(2, 10, 100, target=TargetIds(2, 1)))
        await service.put(lasting(3, 20, 100, target=TargetIds(1)))
        await trio.sleep(30)
        await service.put(lasting(2, 10, 100, target=TargetIds(1)))
        await trio.sleep(200)
    assert sorted(diary.entries) == [
        (0, "1: 1 None"),
        (10, "1: 2 None"),
        (20, "3: 3 None"),
        (30, "1: 1 None"),
        (100, "1: end"),
        (120, "3: end"),
    ]


def test_identities_tell_types_targets_and_dry_runs_apart() -> None:
    def identity(strategy: MergeStrategy, **fields: Any) -> Hashable:
        (identity,) = strategy.identities(make_dispatch(**fields))
        return identity

    by_target = MergeByTypeTarget()
    categories = TargetCategories(ElectricalComponentCategory.BATTERY)
    different = [
        identity(by_target),
        identity(by_target, type="OTHER"),
        identity(by_target, dry_run=True),
        identity(by_target, target=TargetIds(2)),
        identity(by_target, target=TargetIds()),
        identity(by_target, target=TargetCategories()),
        identity(by_target, target=categories),
        identity(by_target, target=None),
    ]
    assert len(set(different)) == len(different)
    assert identity(by_target, target=TargetIds(1, 2)) == identity(
        by_target, target=TargetIds(2, 1)
    )
    assert identity(MergeByType(), id=1) == identity(MergeByType(), id=2, target=categories)
    assert identity(MergeByType()) != identity(MergeByType(), dry_run=True)


async def test_identities_are_compared_by_value(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    class Same:
        def __init__(self, value: int) -> None:
            self.value = value

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Same) and self.value == other.value

    class BySame:
        def identities(self, dispatch: Dispatch) -> set[Hashable]:
            return {Same(dispatch.id % 2)}

    diary = Diary()
    for id_ in range(1, 5):
        await service.put(lasting(id_, id_, 100))
    async with acting(service, diary.actor, merge=BySame()):
        await trio.sleep(50)
        assert [what for _, what in diary.entries] == [
            "1: 1 None",
            "2: 2 None",
            "1: 3 None",
            "2: 4 None",
        ]


async def test_update_that_changes_the_identity_stops_one_actor_and_starts_another(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    async with acting(service, diary.actor, merge=MergeByZone()):
        await service.put(lasting(1, 0, 100, payload={"zone": "north", "power": 1}))
        await trio.sleep(10)
        # The first actor sends its last command first, because it acts on the same component.
        await service.put(lasting(1, 0, 100, payload={"zone": "south", "power": 1}))
        await trio.sleep(10)
        await service.put(lasting(1, 0, 100, payload={"zone": "south", "power": 2}))
        await trio.sleep(10)
    assert diary.entries == [
        (0, "1: 1 1"),
        (10, "1: end"),
        (10, "1: 1 1"),
        (20, "1: 1 2"),
        (30, "1: end"),
    ]


async def test_shared_actor_that_returned_is_called_by_joins_and_further_occurrences(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    started = []

    async def actor(run: ActorRun) -> None:
        started.append((now(), run.dispatch.id))

    minutely = RecurrenceRule(Frequency.MINUTELY)
    async with acting(service, actor, merge=MergeByType(), dry_runs=True):
        await service.put(lasting(1, 0, 60, recurrence=minutely))
        await service.put(lasting(2, 10, 20))
        await trio.sleep(15)
        # Neither an update nor another driving dispatch calls the actor.
        await service.put(lasting(1, 0, 60, recurrence=minutely, payload={"power": 1}))
        await trio.sleep(20)
        # A dispatch that joins calls it, even if it does not drive.
        await service.put(lasting(3, -10, 1000, dry_run=True))
        await trio.sleep(10)
        await service.put(lasting(3, -10, 1000))
        await trio.sleep(30)
    assert started == [(0, 1), (10, 2), (35, 3), (45, 1), (60, 1)]


async def test_shared_actor_that_returned_without_seeing_a_start_is_called_again(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    started = []

    async def actor(run: ActorRun) -> None:
        started.append((now(), run.dispatch.id))
        await trio.sleep(30)

    async with acting(service, actor, merge=MergeByType(), dry_runs=True):
        await service.put(lasting(1, 0, 1000))
        # A join that is not shown, so the actor cannot have seen it; then one that is shown.
        await service.put(lasting(2, -10, 1000, dry_run=True))
        await trio.sleep(10)
        await service.put(lasting(2, -10, 1000))
        await trio.sleep(90)
        await service.put(lasting(3, 100, 1000))
        await trio.sleep(10)
        await service.put(lasting(4, 110, 1000))
        await trio.sleep(100)
    assert [each for each in started if each[1] != 2] == [(0, 1), (100, 3), (130, 4)]


async def test_dispatch_for_which_the_strategy_fails_is_not_run(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = Diary()
    async with acting(service, diary.actor, merge=MergeByZone()):
        await service.put(lasting(1, 0, 100, payload={"zone": "north"}))
        await service.put(lasting(2, 0, 100))
        await trio.sleep(10)
        await service.put(lasting(1, 0, 100))
        await trio.sleep(10)
        await service.put(lasting(2, 0, 100, payload={"zone": "north"}))
        await trio.sleep(10)
    assert diary.entries == [
        (0, "1: 1 None"),
        (10, "1: end"),
        (20, "2: 2 None"),
        (30, "2: end"),
    ]
    errors = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert "dispatch 2: not run: " in errors[0]
    assert "MergeByZone" in errors[0]


async def test_error_of_a_strategy_is_raised_with_on_error_raise(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    await service.put(lasting(2, 0, 100))
    async with dispatching(service) as dispatcher:
        with pytest.raises(KeyError, match="zone"):
            await dispatcher.run_actors(
                "CHARGE", Diary().actor, merge=MergeByZone(), on_error="raise"
            )


async def test_identities_that_are_not_a_set_are_logged(
    autojump_clock: trio.testing.MockClock, service: LocalService, caplog: pytest.LogCaptureFixture
) -> None:
    class MergeByList:
        def identities(self, dispatch: Dispatch) -> set[Hashable]:
            return [dispatch.type]  # type: ignore[return-value]

    async with acting(service, Diary().actor, merge=MergeByList()):
        await service.put(lasting(2, 0, 100))
        await trio.sleep(10)
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "MergeByList" in record.getMessage()
    assert "which is not a set" in record.getMessage()
