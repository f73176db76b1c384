"""When actors are started, shown changes, and stopped."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import HOUR, MINUTE, SECOND, Diary, acting, at, lasting, now
from tests.helpers.dispatching import dispatching
from trio_dispatch import ActorRun, RecurrenceRule, TargetIds, clock
from trio_dispatch.model.recurrence.rule import Frequency
from trio_dispatch.testing import LocalService

MINUTELY = RecurrenceRule(Frequency.MINUTELY)


async def test_actor_runs_from_the_start_to_the_stop(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    async with acting(service, diary.actor):
        await service.put(lasting(1, 10, 20, payload={"power": 5}))
        await trio.sleep(100)
    assert diary.entries == [(10, "1: 1 5"), (30, "1: end")]


async def test_actors_of_present_runs_are_started_before_task_status(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    started = []

    async def actor(run: ActorRun) -> None:
        started.append(run.dispatch.id)

    for id_ in (1, 2, 3):
        await service.put(lasting(id_, 0, 60))
    async with acting(service, actor):
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(started) == [1, 2, 3]


async def test_run_shows_the_present_dispatch(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    shown: list[tuple[Any, ...]] = []

    async def actor(run: ActorRun) -> None:
        async for dispatch in run.changes:
            assert dispatch is run.dispatch
            shown.append((now(), run.target, dict(run.payload), run.dry_run, run.until))

    dispatch = lasting(1, 10, 60)
    async with acting(service, actor, dry_runs=True):
        steps: list[tuple[float, dict[str, Any]]] = [
            (20, {}),
            (1, {"payload": {"power": 1}}),
            (1, {"payload": {"power": 1}, "target": TargetIds(7, 8)}),
            (1, {"dry_run": True}),
            (1, {"dry_run": True, "duration": None}),
            (1, {"dry_run": True, "duration": 10 * MINUTE}),
            # Not relevant to an actor:
            (1, {"dry_run": True, "duration": 10 * MINUTE, "end_time": at(9999)}),
        ]
        for wait, changes in steps:
            await service.put(lasting(1, 10, 60, **{"target": dispatch.target, **changes}))
            await trio.sleep(wait)
    one = TargetIds(1)
    assert shown == [
        (10, one, {}, False, at(70)),
        (20, one, {"power": 1}, False, at(70)),
        (21, TargetIds(7, 8), {"power": 1}, False, at(70)),
        (22, one, {}, True, at(70)),
        (23, one, {}, True, None),
        (24, one, {}, True, at(610)),
    ]


@pytest.mark.parametrize("how", ["delete", "deactivate", "type", "postpone", "shorten"])
async def test_actor_is_cancelled_when_its_dispatch_runs_no_more(
    autojump_clock: trio.testing.MockClock, service: LocalService, how: str
) -> None:
    diary = Diary()
    async with acting(service, diary.actor):
        await service.put(lasting(1, 0, None))
        await trio.sleep(5)
        match how:
            case "delete":
                await service.store.delete(1, 1)
            case "deactivate":
                await service.put(lasting(1, 0, None, active=False))
            case "type":
                await service.put(lasting(1, 0, None, type="OTHER"))
            case "postpone":
                await service.put(lasting(1, 100, None))
            case "shorten":
                await service.put(lasting(1, 0, 3))
        await trio.sleep(20)
    assert diary.entries == [(0, "1: 1 None"), (5, "1: end")]


async def test_dispatch_that_changes_to_the_type_starts_an_actor(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    await service.put(lasting(1, 0, None, type="OTHER"))
    async with acting(service, diary.actor):
        await trio.sleep(5)
        await service.put(lasting(1, 0, None))
        await trio.sleep(5)
    assert diary.entries == [(5, "1: 1 None"), (10, "1: end")]


async def test_further_occurrence_during_a_run_is_a_change(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    until: dict[int, list[Any]] = {1: [], 2: []}

    async def actor(run: ActorRun) -> None:
        async for dispatch in run.changes:
            until[dispatch.id] += [(now(), run.until)]

    async with acting(service, actor):
        await service.put(lasting(1, 0, 60, recurrence=MINUTELY))  # touching
        await service.put(lasting(2, 0, 90, recurrence=MINUTELY))  # overlapping
        await trio.sleep(150)
    assert until[1] == [(n, at(n + 60)) for n in (0, 60, 120)]
    assert until[2] == [(n, at(n + 90)) for n in (0, 60, 120)]


async def test_loops_over_changes_are_independent(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    seen: dict[str, list[object]] = {"quick": [], "slow": []}

    async def follow(name: str, pause: float, run: ActorRun) -> None:
        async for dispatch in run.changes:
            seen[name].append(dispatch.payload.get("n"))
            await trio.sleep(pause)

    async def actor(run: ActorRun) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, "quick", 0, run)
            nursery.start_soon(follow, "slow", 2.4, run)

    async with acting(service, actor):
        for n in range(6):
            await service.put(lasting(1, 0, None, payload={"n": n}))
            await trio.sleep(1)
        await trio.sleep(10)
    assert seen["quick"] == [0, 1, 2, 3, 4, 5]
    assert seen["slow"] == [0, 2, 4, 5]


async def test_change_that_is_undone_before_it_is_seen_is_not_shown(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    seen = []

    async def actor(run: ActorRun) -> None:
        async for dispatch in run.changes:
            seen.append(dispatch.payload.get("n"))
            await trio.sleep(10)

    first = lasting(1, 0, None, payload={"n": 0})
    async with acting(service, actor):
        for dispatch in (first, lasting(1, 0, None, payload={"n": 1}), first):
            await service.put(dispatch)
            await trio.sleep(1)
        await trio.sleep(60)
    assert seen == [0]


async def test_waiting_for_a_change_with_a_timeout_loses_no_change(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    seen = []

    async def actor(run: ActorRun) -> None:
        changes = aiter(run.changes)
        while True:
            with trio.move_on_after(0.3):
                seen.append((await anext(changes)).payload["n"])

    async with acting(service, actor):
        for n in range(20):
            await service.put(lasting(1, 0, None, payload={"n": n}))
            await trio.sleep(0.7)
    assert seen == [*range(20)]


async def test_actor_that_returned_is_called_by_the_next_occurrence_and_not_by_an_update(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    started = []

    async def actor(run: ActorRun) -> None:
        started.append((now(), run.payload.get("n")))
        await trio.sleep(3)

    async with acting(service, actor):
        await service.put(lasting(1, 0, 60, recurrence=MINUTELY))
        await trio.sleep(10)
        await service.put(lasting(1, 0, 60, recurrence=MINUTELY, payload={"n": 1}))
        await trio.sleep(10)
        # The present run is moved, which is no further occurrence.
        await service.put(lasting(1, 15, 45, recurrence=MINUTELY, payload={"n": 2}))
        await trio.sleep(110)
    assert started == [(0, None), (75, 2)]


@pytest.mark.parametrize("steps", [0, 5, 20])
async def test_occurrence_that_starts_while_the_actor_returns_is_not_lost(
    autojump_clock: trio.testing.MockClock, service: LocalService, steps: int
) -> None:
    started = []

    async def actor(run: ActorRun) -> None:
        started.append(now())
        assert run.until is not None
        await clock.sleep_until(run.until)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()

    async with acting(service, actor):
        await service.put(lasting(1, 0, 60, recurrence=MINUTELY))
        await trio.sleep(60 * 20 + 1)
    assert started == [60 * n for n in range(21)]


async def test_occurrence_that_the_actor_saw_before_it_returned_does_not_call_it_again(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    started = []

    async def actor(run: ActorRun) -> None:
        started.append(now())
        changes = aiter(run.changes)
        await anext(changes)
        await anext(changes)

    async with acting(service, actor):
        await service.put(lasting(1, 0, 60, recurrence=MINUTELY))
        await trio.sleep(200)
    assert started == [0, 120]


async def test_closing_the_dispatcher_cancels_the_actors(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    await service.put(lasting(1, 0, None))
    async with trio.open_nursery() as nursery:
        async with dispatching(service) as dispatcher:
            nursery.start_soon(dispatcher.run_actors, "CHARGE", diary.actor)
            await trio.sleep(5)
        await trio.sleep(1)
        assert diary.entries == [(0, "1: 1 None"), (5, "1: end")]
    # run_actors has returned.
    with pytest.raises(trio.ClosedResourceError):
        await dispatcher.run_actors("CHARGE", diary.actor)


async def test_actors_stop_after_max_offline(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    await service.put(lasting(1, 0, None))
    async with (
        dispatching(service, max_offline=HOUR) as dispatcher,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(dispatcher.run_actors, "CHARGE", diary.actor)
        await trio.sleep(10)
        await service.stop()
        await trio.sleep(3700)
        assert diary.entries == [(0, "1: 1 None"), (3610, "1: end")]
        await service.restart()
        await trio.sleep(100)
        ((moment, what),) = diary.entries[2:]
        assert moment == pytest.approx(3710, abs=60)
        assert what == "1: 1 None"
        nursery.cancel_scope.cancel()


async def test_clock_steps_start_and_stop_actors(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    await service.put(lasting(1, 0, 3600))
    async with acting(service, diary.actor):
        await trio.sleep(1)
        clock.virtual_clock().step(-HOUR)
        await trio.sleep(1)
        clock.virtual_clock().step(HOUR)
        await trio.sleep(1)
        clock.virtual_clock().step(2 * HOUR)
        await trio.sleep(1)
    assert [what for _, what in diary.entries] == ["1: 1 None", "1: end"] * 2


async def test_task_is_named_after_the_actor_and_the_dispatch(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    names = []

    async def charge(_: str, run: ActorRun) -> None:
        names.append(trio.lowlevel.current_task().name)
        names.append(repr(run))

    await service.put(lasting(1, 0, None))
    async with acting(service, partial(charge, "with an argument")):
        await trio.sleep(1)
    actor = f"{__name__}.{charge.__qualname__}"
    assert names == [
        f"{actor} for dispatch 1",
        f"<ActorRun of microgrid 1, dispatch 1: {actor}>",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grace": -SECOND}, "grace -1 day, 23:59:59 is negative"),
        ({"on_error": "ignore"}, "on_error 'ignore' is neither 'restart' nor 'raise'"),
        ({"merge": str}, "merge <class 'str'> is not a merge strategy: give None, MergeByType"),
        ({"merge": "type"}, "merge 'type' is not a merge strategy"),
        ({"on_orphan": 5}, "on_orphan 5 is not an async function of a Dispatch"),
        ({"actor": None}, "actor None is not an async function of an ActorRun"),
    ],
)
async def test_invalid_arguments_are_value_errors(
    autojump_clock: trio.testing.MockClock,
    service: LocalService,
    options: dict[str, Any],
    message: str,
) -> None:
    async with dispatching(service) as dispatcher:
        with pytest.raises(ValueError, match=message):
            await dispatcher.run_actors(**{"type": "CHARGE", "actor": Diary().actor, **options})


async def test_actor_that_is_not_async_is_a_value_error(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    def actor(run: ActorRun) -> str:
        return "done"

    await service.put(lasting(1, 0, None))
    async with dispatching(service) as dispatcher:
        with pytest.raises(ValueError, match=r"dispatch 1: .*actor: not an async function"):
            await dispatcher.run_actors("CHARGE", actor)  # type: ignore[arg-type]


async def test_function_that_returns_a_coroutine_is_an_actor(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    diary = Diary()
    await service.put(lasting(1, 0, None))
    async with acting(service, lambda run: diary.noting("with a battery", run)):
        await trio.sleep(1)
    assert diary.entries == [(0, "with a battery"), (0, "1: 1 None"), (1, "1: end")]
