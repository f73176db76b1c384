"""Orphans: dispatches that a crashed process left running."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import START, Diary, acting, at, lasting, now
from tests.helpers.dispatching import dispatching
from trio_dispatch import (
    ActorRun,
    Dispatch,
    ElectricalComponentCategory,
    MergeByComponent,
    TargetCategories,
    TargetIds,
    clock,
)
from trio_dispatch.dispatcher.cache_file import load, save
from trio_dispatch.testing import LocalService


def left_behind(cache: Path, *dispatches: Dispatch) -> None:
    """Write the cache of a process that crashed while these dispatches ran."""
    ids = [dispatch.id for dispatch in dispatches]
    save(cache, 1, START, {dispatch.id: dispatch for dispatch in dispatches}, ids, ids)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


async def test_each_orphan_of_the_type_is_handed_over_once(
    autojump_clock: trio.testing.MockClock, service: LocalService, cache: Path
) -> None:
    diary = Diary()
    dispatches = [
        lasting(1, -10, 60),
        lasting(2, -10, 60, type="OTHER"),
        lasting(3, -10, 600),  # still runs
        lasting(4, -10, 60),
    ]
    left_behind(cache, *dispatches)
    for dispatch in dispatches[:3]:  # the last one was deleted meanwhile
        await service.put(dispatch)
    clock.virtual_clock().set(at(100))

    async def on_orphan(dispatch: Dispatch) -> None:
        assert dispatch.type == "CHARGE"
        diary.note(f"orphan {dispatch.id}")

    async with acting(service, diary.actor, cache=cache, on_orphan=on_orphan):
        await trio.sleep(300)
    assert sorted(diary.entries) == [
        (100, "3: 3 None"),
        (100, "orphan 1"),
        (100, "orphan 4"),
        (400, "3: end"),
    ]


async def test_start_on_the_same_components_waits_for_on_orphan(
    autojump_clock: trio.testing.MockClock, service: LocalService, cache: Path
) -> None:
    diary = Diary()
    left_behind(cache, lasting(1, -10, 60))
    await service.put(lasting(2, 90, 60, target=TargetIds(1)))
    await service.put(lasting(3, 90, 60))
    clock.virtual_clock().set(at(100))

    async def on_orphan(dispatch: Dispatch) -> None:
        await trio.sleep(4)
        diary.note("off")

    async with (
        dispatching(service, cache=cache) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        await trio.sleep(1)

        async def run_actors(task_status: Any) -> None:
            await dispatcher.run_actors(
                "CHARGE", diary.actor, on_orphan=on_orphan, task_status=task_status
            )

        await nursery.start(run_actors)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert diary.entries[:3] == [(101, "3: 3 None"), (105, "off"), (105, "2: 2 None")]


async def test_on_orphan_has_its_grace_when_everything_is_cancelled(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = Diary()
    left_behind(cache, lasting(1, -10, 60), lasting(2, -10, 60))
    clock.virtual_clock().set(at(100))

    async def on_orphan(dispatch: Dispatch) -> None:
        try:
            await trio.sleep(5 if dispatch.id == 1 else 1000)
        finally:
            diary.note(f"off {dispatch.id}")

    async with acting(service, diary.actor, cache=cache, on_orphan=on_orphan):
        await trio.sleep(1)
    assert diary.entries == [(105, "off 1"), (110, "off 2")]
    messages = [record.getMessage() for record in caplog.records]
    assert [each for each in messages if "on_orphan: cancelled after 10 s" in each]


async def test_error_of_on_orphan_is_logged(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = Diary()
    left_behind(cache, lasting(1, -10, 60))
    clock.virtual_clock().set(at(100))
    await service.put(lasting(3, 0, None))

    async def on_orphan(dispatch: Dispatch) -> None:
        raise KeyError("unknown battery")

    async with acting(service, diary.actor, cache=cache, on_orphan=on_orphan):
        await trio.sleep(10)
    assert diary.entries == [(100, "3: 3 None"), (110, "3: end")]
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert error.getMessage().startswith("microgrid 1, dispatch 1: ")
    assert "on_orphan" in error.getMessage()


async def test_error_of_on_orphan_is_raised_with_on_error_raise(
    autojump_clock: trio.testing.MockClock, service: LocalService, cache: Path
) -> None:
    left_behind(cache, lasting(1, -10, 60))
    clock.virtual_clock().set(at(100))

    async def on_orphan(dispatch: Dispatch) -> None:
        raise KeyError("unknown battery")

    async def actor(run: ActorRun) -> None:
        pytest.fail("nothing runs")

    async with dispatching(service, cache=cache) as dispatcher:
        with pytest.raises(KeyError, match="unknown battery"):
            await dispatcher.run_actors("CHARGE", actor, on_error="raise", on_orphan=on_orphan)


async def test_orphan_is_logged_without_on_orphan(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    left_behind(cache, lasting(1, -10, 60))
    clock.virtual_clock().set(at(100))
    async with acting(service, Diary().actor, cache=cache):
        await trio.sleep(10)
    messages = [record.getMessage() for record in caplog.records]
    assert [
        each for each in messages if "dispatch 1 was running when the last process crashed" in each
    ]
    assert now() == 110


@pytest.mark.parametrize("types", [("CHARGE", "OTHER"), ("OTHER", "CHARGE")])
async def test_start_waits_for_an_orphan_of_another_type(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    cache: Path,
    types: tuple[str, str],
) -> None:
    diary = Diary()
    left_behind(cache, lasting(1, -10, 60, type="OTHER", target=TargetIds(7)))
    await service.put(lasting(2, 90, 60, target=TargetIds(7)))
    clock.virtual_clock().set(at(100))

    async def on_orphan(dispatch: Dispatch) -> None:
        await trio.sleep(3)
        diary.note("off")

    async with (
        dispatching(service, cache=cache) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        for type_ in types:

            async def run_actors(type_: str, task_status: Any) -> None:
                await dispatcher.run_actors(
                    type_, diary.actor, on_orphan=on_orphan, task_status=task_status
                )

            await nursery.start(partial(run_actors, type_))
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert diary.entries[:2] == [(103, "off"), (103, "2: 2 None")]


async def test_start_does_not_wait_long_for_an_orphan_that_is_not_handed_over(
    autojump_clock: trio.testing.MockClock, service: LocalService, cache: Path
) -> None:
    diary = Diary()
    left_behind(cache, lasting(1, -10, 60, type="OTHER", target=TargetIds(7)))
    await service.put(lasting(2, 90, 60, target=TargetIds(7)))
    await service.put(lasting(3, 130, 60, target=TargetIds(7)))
    clock.virtual_clock().set(at(100))
    async with acting(service, diary.actor, cache=cache):
        await trio.sleep(40)
    assert diary.entries[:2] == [(110, "2: 2 None"), (130, "3: 3 None")]


async def test_orphan_is_not_handed_over_again(
    autojump_clock: trio.testing.MockClock, service: LocalService, cache: Path
) -> None:
    diary = Diary()
    left_behind(cache, lasting(1, -10, 60))
    clock.virtual_clock().set(at(100))

    async def on_orphan(dispatch: Dispatch) -> None:
        diary.note("off")

    async with dispatching(service, cache=cache) as dispatcher:
        for _ in range(2):
            with trio.move_on_after(5):
                await dispatcher.run_actors("CHARGE", diary.actor, on_orphan=on_orphan)
    assert diary.entries == [(100, "off")]


async def test_orphans_are_limited_to_the_components_of_this_process(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trio_dispatch.actors")
    batteries = TargetCategories(ElectricalComponentCategory.BATTERY)
    left_behind(
        cache,
        lasting(1, -10, 60, target=TargetIds(1, 3)),
        lasting(2, -10, 60, target=batteries),
        lasting(3, -10, 60),
        lasting(4, -10, 60, target=TargetIds(1), dry_run=True),
    )
    clock.virtual_clock().set(at(100))
    stopped = []

    async def on_orphan(dispatch: Dispatch) -> None:
        stopped.append((dispatch.id, dispatch.target))

    merge = MergeByComponent(dict.fromkeys((1, 2), ElectricalComponentCategory.BATTERY))
    async with acting(service, Diary().actor, cache=cache, on_orphan=on_orphan, merge=merge):
        await trio.sleep(1)
    assert sorted(stopped) == [(1, TargetIds(1)), (2, TargetIds(1, 2))]
    refused = [message for message in caplog.messages if "not handed to on_orphan" in message]
    assert len(refused) == 2


@pytest.mark.parametrize(
    ("changes", "stopped"),
    [
        ({}, []),
        ({"payload": {"power": 1}}, []),
        ({"target": TargetIds(2)}, [TargetIds(1)]),
        ({"type": "OTHER"}, [TargetIds(1)]),
        ({"dry_run": True}, [TargetIds(1)]),
    ],
)
async def test_dispatch_that_runs_elsewhere_since_the_crash_is_an_orphan(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    cache: Path,
    changes: dict[str, Any],
    stopped: list[TargetIds],
) -> None:
    left_behind(cache, lasting(1, -10, None))
    await service.put(lasting(1, -10, None, **{"update_time": at(50), **changes}))
    clock.virtual_clock().set(at(100))
    targets = []

    async def on_orphan(dispatch: Dispatch) -> None:
        targets.append(dispatch.target)

    async with dispatching(service, cache=cache) as dispatcher:
        await trio.sleep(5)
        with trio.move_on_after(5):
            await dispatcher.run_actors("CHARGE", Diary().actor, on_orphan=on_orphan)
    assert targets == stopped


@pytest.mark.parametrize("moment", ["begin", "update", "cleanup"])
async def test_what_is_on_is_known_from_the_first_moment_to_the_last(
    autojump_clock: trio.testing.MockClock, service: LocalService, cache: Path, moment: str
) -> None:
    left = []

    def look(when: str) -> None:
        if when == moment:
            # In this order: the journal is shortened after the file was written.
            copy = cache.with_name("copy")
            for name in ("cache.journal", "cache"):
                with suppress(FileNotFoundError):
                    shutil.copy(cache.with_name(name), name.replace("cache", str(copy)))
            state = load(copy, 1)
            assert state is not None
            left.append({each.target for each in state.left_running()})

    async def actor(run: ActorRun) -> None:
        look("begin")
        try:
            async for dispatch in run.changes:
                if dispatch.target == TargetIds(2):
                    look("update")
        finally:
            with run.cleanup():
                await trio.sleep(5)
                look("cleanup")

    async with acting(service, actor, cache=cache):
        await trio.sleep(3)
        await service.put(lasting(1, 0, None))
        await trio.sleep(3)
        await service.put(lasting(1, 0, None, target=TargetIds(2)))
        await trio.sleep(3)
        await service.put(lasting(1, 0, None, target=TargetIds(2), active=False))
        await trio.sleep(8)
        state = load(cache, 1)
        assert state is not None
        assert [*state.left_running()] == []
    on = {TargetIds(1)} if moment == "begin" else {TargetIds(2)}
    assert len(left) == 1
    assert left[0] >= on


async def test_run_that_goes_on_after_the_crash_and_ends_before_its_actor_begins_is_an_orphan(
    autojump_clock: trio.testing.MockClock, service: LocalService, cache: Path
) -> None:
    left_behind(cache, lasting(1, -10, None), lasting(2, -10, None))
    await service.put(lasting(1, -10, None))  # the other one was deleted
    clock.virtual_clock().set(at(100))
    diary = Diary()

    async def on_orphan(dispatch: Dispatch) -> None:
        diary.note(f"orphan {dispatch.id}")

    merge = MergeByComponent(dict.fromkeys((1, 2), ElectricalComponentCategory.BATTERY))
    async with acting(service, diary.actor, cache=cache, merge=merge, on_orphan=on_orphan):
        await trio.sleep(5)
    last = {what.partition(":")[0]: what for _, what in diary.entries}
    assert "1" in last
    assert last.get("2") == "2: end" or "orphan 2" in last


async def test_run_that_goes_on_after_the_crash_and_is_refused_now_is_an_orphan(
    autojump_clock: trio.testing.MockClock, service: LocalService, cache: Path
) -> None:
    left_behind(cache, lasting(1, -10, None, payload={"power": "broken since"}))
    clock.virtual_clock().set(at(100))
    diary = Diary()

    async def on_orphan(dispatch: Dispatch) -> None:
        diary.note(f"orphan {dispatch.id}")

    def power_of(payload: dict[str, Any]) -> float:
        return float(payload["power"])

    async with acting(service, diary.actor, cache=cache, payload=power_of, on_orphan=on_orphan):
        await trio.sleep(5)
    assert diary.entries == [(100, "orphan 1")]
