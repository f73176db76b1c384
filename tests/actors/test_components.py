"""`MergeByComponent`: one actor for each component."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.helpers.acting import Diary, acting, lasting, now
from trio_dispatch import (
    ActorRun,
    BatteryType,
    Dispatch,
    ElectricalComponentCategory,
    MergeByComponent,
    TargetCategories,
    TargetIds,
    TaskState,
)
from trio_dispatch.testing import LocalService

BATTERY = ElectricalComponentCategory.BATTERY
MERGE = MergeByComponent({1: BatteryType.LI_ION, 2: BATTERY, 3: ElectricalComponentCategory.CHP})


class Batteries:
    """The set-points of simulated components, and a log of what changed."""

    def __init__(self) -> None:
        self.power: dict[int, float] = {}
        self.log: list[tuple[float, int, float]] = []

    def set(self, component: int, power: float) -> None:
        self.power[component] = power
        self.log.append((now(), component, power))

    async def charge(self, run: ActorRun) -> None:
        assert run.target == run.dispatch.target == TargetIds(run.component)
        try:
            async for dispatch in run.changes:
                power = dispatch.payload["power"]
                assert isinstance(power, float)
                self.set(run.component, power)
        finally:
            with run.cleanup():
                await trio.sleep(1)
                self.set(run.component, 0)


async def test_component_stays_on_while_any_dispatch_for_it_runs(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    batteries = Batteries()
    await service.put(lasting(1, 0, 100, target=TargetIds(1, 2), payload={"power": 1}))
    await service.put(lasting(2, 20, 20, target=TargetIds(1), payload={"power": 3}))
    await service.put(lasting(3, 100, 20, target=TargetIds(2), payload={"power": 4}))
    async with acting(service, batteries.charge, merge=MERGE):
        await trio.sleep(200)
    assert sorted(batteries.log) == [
        (0, 1, 1),
        (0, 2, 1),
        (20, 1, 3),
        (40, 1, 1),
        (100, 2, 4),  # not switched off in between
        (101, 1, 0),
        (121, 2, 0),
    ]


async def test_targets_by_category_are_resolved(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    components: dict[int, set[int]] = {}

    async def actor(run: ActorRun) -> None:
        components.setdefault(run.dispatch.id, set()).add(run.component)

    targets = [
        TargetCategories(BATTERY),
        TargetCategories(BatteryType.LI_ION),
        TargetCategories(BatteryType.NA_ION),
        TargetCategories(BATTERY, ElectricalComponentCategory.CHP),
        TargetIds(3, 4),
    ]
    async with acting(service, actor, merge=MERGE):
        for id_, target in enumerate(targets):
            await service.put(lasting(id_, 10 * id_, 5, target=target))
        await trio.sleep(100)
    assert components == {0: {1, 2}, 1: {1}, 3: {1, 2, 3}, 4: {3}}


async def test_update_of_the_target_moves_a_dispatch_between_components(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    batteries = Batteries()
    async with acting(service, batteries.charge, merge=MERGE):
        await service.put(lasting(1, 0, 100, target=TargetIds(1, 2), payload={"power": 1}))
        await trio.sleep(10)
        await service.put(lasting(1, 0, 100, target=TargetIds(2, 3), payload={"power": 2}))
        await trio.sleep(10)
    assert sorted(batteries.log)[:5] == [(0, 1, 1), (0, 2, 1), (10, 2, 2), (10, 3, 2), (11, 1, 0)]


async def test_highest_priority_drives(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    def priority(dispatch: Dispatch) -> float:
        return dispatch.payload["power"] == 9

    batteries = Batteries()
    async with acting(service, batteries.charge, merge=MERGE, priority=priority):
        await service.put(lasting(1, 10, 20, target=TargetIds(1), payload={"power": 9}))
        await service.put(lasting(2, 0, 60, target=TargetIds(1), payload={"power": 2}))
        await service.put(lasting(3, 20, 20, target=TargetIds(1), payload={"power": 3}))
        await trio.sleep(50)
        # An update may change the priority.
        await service.put(lasting(2, 0, 100, target=TargetIds(1), payload={"power": 9}))
        await service.put(lasting(4, 50, 10, target=TargetIds(1), payload={"power": 4}))
        await trio.sleep(1)
    powers = [power for _, _, power in batteries.log]
    assert powers == [2, 9, 3, 2, 9, 0]


async def test_dry_runs_have_their_own_actor_for_each_component(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    runs = set()

    async def actor(run: ActorRun) -> None:
        runs.add((run.dispatch.id, run.component, run.dry_run))

    async with acting(service, actor, merge=MERGE, dry_runs=True):
        await service.put(lasting(1, 0, 60, target=TargetIds(1, 2)))
        await service.put(lasting(2, 0, 60, target=TargetIds(1), dry_run=True))
        await trio.sleep(1)
    assert runs == {(1, 1, False), (1, 2, False), (2, 1, True)}


async def test_pulse_calls_one_actor_for_each_component_that_no_run_drives(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pulses = []
    acting_on: set[int] = set()

    async def actor(run: ActorRun) -> None:
        assert run.component not in acting_on
        acting_on.add(run.component)
        try:
            if run.dispatch.pulse is None:
                await trio.sleep_forever()
            pulses.append((now(), run.dispatch.id, run.component))
            await trio.sleep(2)
        finally:
            acting_on.remove(run.component)

    await service.put(lasting(1, 0, 60, target=TargetIds(1)))
    await service.put(lasting(2, 10, 0, target=TargetCategories(BATTERY)))
    await service.put(lasting(3, 10, 0, target=TargetIds(2)))
    await service.put(lasting(4, 11, 60, target=TargetIds(2)))
    await service.put(lasting(5, 60, 0, target=TargetIds(1)))
    async with acting(service, actor, merge=MERGE) as dispatcher:
        await trio.sleep(13)
        assert [(run.dispatch.id, run.component, run.state) for run in dispatcher.runs] == [
            (1, 1, TaskState.RUNNING),
            (3, 2, TaskState.RUNNING),
            (4, 2, TaskState.WAITING),
        ]
        await trio.sleep(100)
    assert pulses == [(10, 2, 2), (12, 3, 2), (60, 5, 1)]
    assert "dispatch 2, component 1: " in caplog.text
    assert "dropped: this component is driven by microgrid 1, dispatch 1" in caplog.text


async def test_deletion_withdraws_a_pulse_on_every_component(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()

    async def actor(run: ActorRun) -> None:
        try:
            await trio.sleep(60)
        finally:
            diary.note(f"end {run.component}")

    async with acting(service, actor, merge=MERGE):
        await service.put(lasting(1, 0, 0, target=TargetCategories(BATTERY)))
        await trio.sleep(5)
        await service.store.delete(1, 1)
        await trio.sleep(100)
    assert sorted(diary.entries) == [(5, "end 1"), (5, "end 2")]


async def test_task_is_named_after_the_component(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    names = []

    async def actor(run: ActorRun) -> None:
        names.append((trio.lowlevel.current_task().name.split(" for ")[1], repr(run)))

    async with acting(service, actor, merge=MERGE):
        await service.put(lasting(1, 0, 60, target=TargetIds(1)))
        await trio.sleep(1)
    ((name, run),) = names
    assert name == "component 1"
    assert run.startswith("<ActorRun of microgrid 1, dispatch 1, component 1: ")


@pytest.mark.parametrize("components", [{1: "BATTERY"}, {-1: BATTERY}, 5])
def test_invalid_components_are_value_errors(components: object) -> None:
    with pytest.raises(ValueError, match="component"):
        MergeByComponent(components)  # type: ignore[arg-type]


async def test_identity_tells_an_actor_which_group_it_is_for(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    class ByParity:
        def identities(self, dispatch: Dispatch) -> set[str]:
            assert isinstance(dispatch.target, TargetIds)
            return {"odd" if id_ % 2 else "even" for id_ in dispatch.target}

    identities = []

    async def actor(run: ActorRun) -> None:
        identities.append((run.dispatch.id, run.identity, run.target))

    async with acting(service, actor, merge=ByParity()) as dispatcher:
        await service.put(lasting(1, 0, 60, target=TargetIds(1, 2)))
        await trio.sleep(1)
        with trio.move_on_after(1):
            await dispatcher.run_actors("CHARGE", actor)
    both = TargetIds(1, 2)
    assert sorted(identities[:2]) == [(1, "even", both), (1, "odd", both)]
    assert identities[2:] == [(1, None, both)]
