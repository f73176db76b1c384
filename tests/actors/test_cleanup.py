"""The last command of an actor is sent, and before the first command of the next actor."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from tests.helpers.acting import SECOND, Diary, acting, lasting, now
from tests.helpers.dispatching import dispatching
from trio_dispatch import (
    ActorRun,
    Dispatch,
    ElectricalComponentCategory,
    RecurrenceRule,
    Target,
    TargetCategories,
    TargetIds,
)
from trio_dispatch.model.recurrence.rule import Frequency
from trio_dispatch.testing import LocalService


class Batteries:
    """The set-points of simulated components, and a log of them."""

    def __init__(self, takes: float = 1) -> None:
        self.power: dict[int, float] = {}
        self.log: list[tuple[float, int, float]] = []
        self._takes = takes

    async def set(self, target: Target | None, power: float) -> None:
        assert isinstance(target, TargetIds)
        await trio.sleep(self._takes)
        for id_ in target:
            self.power[id_] = power
            self.log.append((now(), id_, power))

    async def charge(self, run: ActorRun) -> None:
        try:
            async for dispatch in run.changes:
                power = dispatch.payload["power"]
                assert isinstance(power, float)
                await self.set(dispatch.target, power)
        finally:
            with run.cleanup():
                await self.set(run.target, 0)


@pytest.mark.parametrize(
    "how", ["stop", "deletion", "cancelled", "dispatcher closed", "error", "error of an actor"]
)
async def test_last_command_is_sent_however_the_actor_is_stopped(
    autojump_clock: trio.testing.MockClock, service: LocalService, how: str
) -> None:
    batteries = Batteries()

    async def fail() -> None:
        await trio.sleep(5)
        raise KeyError("elsewhere")

    async def actor(run: ActorRun) -> None:
        if run.dispatch.id == 2:
            await fail()
        await batteries.charge(run)

    on_error: Any = "raise" if how == "error of an actor" else "restart"
    await service.put(lasting(1, 0, 5 if how == "stop" else None, payload={"power": 7}))
    if how == "error of an actor":
        await service.put(lasting(2, 0, None))

    async def run_all() -> None:
        async with dispatching(service) as dispatcher:
            run = partial(dispatcher.run_actors, "CHARGE", actor, on_error=on_error)
            if how == "dispatcher closed":
                outer.start_soon(run)
                await trio.sleep(5)
                return
            async with trio.open_nursery() as nursery:
                if how == "error":
                    nursery.start_soon(fail)
                if how == "cancelled":
                    nursery.cancel_scope.deadline = trio.current_time() + 5
                if how == "deletion":
                    await nursery.start(run)
                    await trio.sleep(5)
                    await service.store.delete(1, 1)
                    await trio.sleep(3)
                    nursery.cancel_scope.cancel()
                elif how == "stop":
                    await nursery.start(run)
                    await trio.sleep(8)
                    nursery.cancel_scope.cancel()
                else:
                    await run()

    async with trio.open_nursery() as outer:
        try:
            await run_all()
        except* KeyError:
            assert "error" in how
    assert batteries.log == [(1, 1, 7), (6, 1, 0)]


async def test_dispatcher_still_works_during_the_last_command(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    reports: list[Dispatch] = []

    async def actor(run: ActorRun) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with run.cleanup():
                async for page in dispatcher.client.list(1):
                    reports.extend(page.dispatches)

    await service.put(lasting(1, 0, None))
    with trio.move_on_after(5):
        async with dispatching(service) as dispatcher:
            await dispatcher.run_actors("CHARGE", actor)
    assert [dispatch.id for dispatch in reports] == [1]


async def test_cleanup_ends_one_grace_after_the_cancellation_however_late_it_is_entered(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ends: list[tuple[float, bool]] = []

    async def actor(run: ActorRun) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(4)
            for _ in range(2):
                with run.cleanup() as scope:
                    await trio.sleep_forever()
                ends.append((now(), scope.cancelled_caught))

    await service.put(lasting(1, 0, 5))
    async with acting(service, actor):
        await trio.sleep(30)
    assert ends == [(15, True), (15, True)]
    cut = [record.getMessage() for record in caplog.records]
    assert len([each for each in cut if "the cleanup was cancelled after 10 s" in each]) == 2
    assert not [each for each in cut if "still running" in each]


async def test_cleanup_without_a_cancellation_ends_one_grace_after_it_was_entered(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    ends: list[float] = []

    async def actor(run: ActorRun) -> None:
        await trio.sleep(2)
        with run.cleanup():
            await trio.sleep_forever()
        ends.append(now())
        with run.cleanup() as scope:
            # The block is shielded although nothing was cancelled.
            await trio.sleep(2)
        ends.append(now())
        assert not scope.cancelled_caught
        await trio.lowlevel.checkpoint()
        pytest.fail("it was cancelled meanwhile")

    await service.put(lasting(1, 0, 6))
    async with acting(service, actor, grace=3 * SECOND):
        await trio.sleep(30)
    assert ends == [5, 7]


async def test_cleanup_of_an_actor_that_failed_is_bounded(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    ends: list[float] = []

    async def actor(run: ActorRun) -> None:
        try:
            raise KeyError("broken")
        finally:
            with run.cleanup():
                await trio.sleep_forever()
            ends.append(now())

    await service.put(lasting(1, 0, 5))
    async with acting(service, actor):
        await trio.sleep(30)
    assert ends == [10]


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("recurring", [False, True])
async def test_last_command_of_one_dispatch_comes_before_the_first_of_the_next(
    autojump_clock: trio.testing.MockClock, service: LocalService, first: int, recurring: bool
) -> None:
    batteries = Batteries()
    rule = RecurrenceRule(Frequency.HOURLY) if recurring else None
    one = TargetIds(1)
    times = {first: 0, 3 - first: 60}
    for id_ in (1, 2):
        await service.put(
            lasting(id_, times[id_], 60, target=one, payload={"power": id_}, recurrence=rule)
        )
    async with acting(service, batteries.charge):
        await trio.sleep(90)
        assert batteries.log == [(1, 1, first), (61, 1, 0), (62, 1, 3 - first)]
        assert batteries.power == {1: 3 - first}


async def test_many_pairs_of_touching_dispatches_keep_their_order(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    # More than the dispatcher announces in one step: the starts come well before the stops.
    batteries = Batteries(takes=0)
    for n in range(400):
        target = TargetIds(n)
        await service.put(lasting(2 * n, 0, 60, target=target, payload={"power": 1}))
        await service.put(lasting(2 * n + 1, 60, 60, target=target, payload={"power": 2}))
    async with acting(service, batteries.charge):
        await trio.sleep(90)
        assert batteries.power == dict.fromkeys(range(400), 2)
        assert len(batteries.log) == 1200


@pytest.mark.parametrize("types", [("CHARGE", "DISCHARGE"), ("DISCHARGE", "CHARGE")])
async def test_touching_dispatches_of_two_types_keep_their_order(
    autojump_clock: trio.testing.MockClock, service: LocalService, types: tuple[str, str]
) -> None:
    batteries = Batteries()
    for n in range(20):
        for half in (0, 1):
            one = {"type": types[half], "target": TargetIds(n), "payload": {"power": half + 1}}
            await service.put(lasting(2 * n + half, 60 * half, 60, **one))
    # A dispatch that changes its type while it runs.
    await service.put(lasting(99, 0, None, type=types[0], payload={"power": 1}))
    async with acting(service, batteries.charge) as dispatcher, trio.open_nursery() as nursery:
        await nursery.start(dispatcher.run_actors, "DISCHARGE", batteries.charge)
        await trio.sleep(30)
        await service.put(lasting(99, 0, None, type=types[1], payload={"power": 2}))
        await trio.sleep(60)
        assert batteries.power == dict.fromkeys([*range(20), 99], 2)
        assert [each for each in batteries.log if each[1] == 5] == [
            (1, 5, 1),
            (61, 5, 0),
            (62, 5, 2),
        ]
        nursery.cancel_scope.cancel()


async def test_start_on_other_components_does_not_wait(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    batteries = Batteries()
    await service.put(lasting(1, 0, 60, target=TargetIds(1, 2), payload={"power": 1}))
    await service.put(lasting(2, 60, 60, target=TargetIds(3), payload={"power": 2}))
    await service.put(lasting(3, 60, 60, target=TargetIds(2, 4), payload={"power": 3}))
    async with acting(service, batteries.charge):
        await trio.sleep(90)
        assert sorted(batteries.log[2:]) == [
            (61, 1, 0),
            (61, 2, 0),
            (61, 3, 2),
            (62, 2, 3),
            (62, 4, 3),
        ]


CATEGORY = TargetCategories(ElectricalComponentCategory.BATTERY)


@pytest.mark.parametrize(
    ("old", "new", "start"),
    [
        (TargetIds(1), TargetIds(1), 65),
        (TargetIds(1, 2), TargetIds(2, 3), 65),
        (TargetIds(1, 2), TargetIds(3), 60),
        (CATEGORY, TargetIds(3), 65),
        (TargetIds(3), CATEGORY, 65),
        (CATEGORY, TargetCategories(ElectricalComponentCategory.CHP), 65),
    ],
)
async def test_start_on_overlapping_target_waits(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    old: Target,
    new: Target,
    start: float,
) -> None:
    starts = []

    async def actor(run: ActorRun) -> None:
        starts.append(now())
        try:
            await trio.sleep_forever()
        finally:
            with run.cleanup():
                await trio.sleep(5)

    await service.put(lasting(1, 0, 60, target=old))
    await service.put(lasting(2, 60, 60, target=new))
    async with acting(service, actor):
        await trio.sleep(90)
    assert starts == [0, start]


async def linger(diary: Diary, run: ActorRun) -> None:
    """An actor that takes 30 s to stop."""
    diary.note(f"{run.dispatch.id} starts")
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)
        diary.note(f"{run.dispatch.id} ends")


async def test_start_does_not_wait_longer_than_the_grace(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = Diary()
    one = TargetIds(1)
    await service.put(lasting(1, 0, 60, target=one))
    await service.put(lasting(2, 64, 60, target=one))
    await service.put(lasting(3, 75, 60, target=one))
    async with acting(service, partial(linger, diary)):
        await trio.sleep(100)
    # The grace counts from the cancellation, not from when the next actor began to wait.
    assert diary.entries[:4] == [
        (0, "1 starts"),
        (70, "2 starts"),
        (75, "3 starts"),
        (90, "1 ends"),
    ]
    warnings = [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and "started, although" in record.getMessage()
    ]
    assert len(warnings) == 2
    for id_, warning in zip((2, 3), warnings, strict=True):
        assert f"dispatch {id_}: " in warning
        assert "dispatch 1: " in warning


async def test_waiting_actor_follows_updates_and_stops(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    one = TargetIds(1)
    await service.put(lasting(1, 0, 60, target=one))
    await service.put(lasting(2, 60, 60, target=one))
    await service.put(lasting(3, 60, 60, target=one))
    await service.put(lasting(4, 60, 60, target=one))
    async with acting(service, partial(linger, diary)):
        await trio.sleep(63)
        await service.store.delete(1, 2)
        await service.put(lasting(3, 60, 60, target=TargetIds(2)))
        await service.put(lasting(4, 60, 60, target=one, payload={"power": 1}))
        await trio.sleep(20)
    assert diary.entries[:3] == [(0, "1 starts"), (63, "3 starts"), (70, "4 starts")]
    assert "2 starts" not in [what for _, what in diary.entries]


async def test_dispatch_that_starts_again_waits_until_its_actor_has_returned(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    async with acting(service, partial(linger, diary)):
        for _ in range(4):
            await service.put(lasting(1, 0, None))
            await trio.sleep(3)
            await service.put(lasting(1, 0, None, active=False))
            await trio.sleep(3)
        await service.put(lasting(1, 0, None))
        await trio.sleep(60)
    assert diary.entries[:3] == [(0, "1 starts"), (33, "1 ends"), (33, "1 starts")]
