"""Several types: served by one call of `run_actors`, or by several that get in each other's way."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import Diary, acting, lasting
from tests.helpers.dispatching import dispatching
from trio_dispatch import (
    ActorRun,
    ElectricalComponentCategory,
    MergeByComponent,
    TargetCategories,
    TargetIds,
)
from trio_dispatch.testing import LocalService

ONE, BOTH = TargetIds(1), TargetIds(1, 2)
BATTERY = ElectricalComponentCategory.BATTERY
MERGE = MergeByComponent(dict.fromkeys(BOTH, BATTERY))


@pytest.mark.parametrize("types", [["CHARGE", "DISCHARGE"], None])
async def test_component_has_one_actor_for_all_types(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
    types: Any,
) -> None:
    diary = Diary()

    async def control(run: ActorRun) -> None:
        try:
            async for dispatch in run.changes:
                diary.note(f"{run.component}: {dispatch.type}")
        finally:
            with run.cleanup():
                diary.note(f"{run.component}: off")

    await service.put(lasting(1, 0, 100, target=BOTH))
    await service.put(lasting(2, 10, 20, target=ONE, type="DISCHARGE"))
    await service.put(lasting(3, 40, 20, target=ONE, type="OTHER"))
    async with acting(service, control, type=types, merge=MERGE):
        await trio.sleep(200)
    expected = [(0, "1: CHARGE"), (0, "2: CHARGE"), (10, "1: DISCHARGE"), (30, "1: CHARGE")]
    if types is None:
        expected += [(40, "1: OTHER"), (60, "1: CHARGE")]
    assert sorted(diary.entries) == [*expected, (100, "1: off"), (100, "2: off")]
    assert caplog.messages == []


async def test_dispatch_that_gets_another_served_type_keeps_its_actor(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    seen: list[str] = []
    note = seen.append

    async def control(run: ActorRun) -> None:
        try:
            async for dispatch in run.changes:
                note(dispatch.type)
        finally:
            note("off")

    types: Any = ("CHARGE", "DISCHARGE")
    async with acting(service, control, type=types, merge=MERGE):
        for type_ in ("CHARGE", "DISCHARGE", "OTHER", "CHARGE"):
            await service.put(lasting(1, 0, None, type=type_))
            await trio.sleep(5)
    assert seen == ["CHARGE", "DISCHARGE", "off", "CHARGE", "off"]


@pytest.mark.parametrize(
    ("target", "options", "is_warned"),
    [
        (BOTH, {}, True),
        (BOTH, {"dry_run": True}, False),
        (TargetIds(2), {}, False),
        (TargetCategories(BATTERY), {}, False),
    ],
)
async def test_two_actors_on_one_component_are_warned_of(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
    target: Any,
    options: dict[str, Any],
    is_warned: bool,
) -> None:
    diary = Diary()
    await service.put(lasting(1, 0, 100, target=ONE))
    await service.put(lasting(2, 10, 10, target=target, type="DISCHARGE", **options))
    await service.put(lasting(3, 100, 10, target=ONE, type="DISCHARGE"))
    async with dispatching(service) as dispatcher, trio.open_nursery() as nursery:
        for type_ in ("CHARGE", "DISCHARGE"):
            await nursery.start(partial(dispatcher.run_actors, type_, diary.actor, dry_runs=True))
        await trio.sleep(120)
        nursery.cancel_scope.cancel()
    warnings = [each for each in caplog.messages if "at the same time" in each]
    name = f"{Diary.__module__}.{Diary.__qualname__}.actor"
    expected = (
        f"microgrid 1, dispatch 1: {name} and microgrid 1, dispatch 2: {name} act on the same "
        "components at the same time (1); give all types that act on them to one run_actors, with "
        "merge=MergeByComponent(components)"
    )
    assert warnings == ([expected] if is_warned else [])


async def test_change_of_target_is_warned_of_once(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await service.put(lasting(1, 0, None))
    await service.put(lasting(2, 0, None))
    async with acting(service, Diary().actor):
        await trio.sleep(10)
        assert caplog.messages == []
        await service.put(lasting(2, 0, None, target=BOTH))
        await trio.sleep(10)
        await service.put(lasting(2, 0, None, target=BOTH, payload={"power": 1}))
        await trio.sleep(10)
    assert len([each for each in caplog.messages if "at the same time (1)" in each]) == 1


@pytest.mark.parametrize("types", [[], [7]])
async def test_invalid_types_are_an_error(
    autojump_clock: trio.testing.MockClock, service: LocalService, types: Any
) -> None:
    async with dispatching(service) as dispatcher:
        with pytest.raises(ValueError, match="is not a type of dispatches"):
            await dispatcher.run_actors(types, Diary().actor)
