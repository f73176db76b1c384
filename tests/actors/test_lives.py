"""The tasks of actors, without dispatches."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.helpers.acting import START
from trio_dispatch.actors.overlaps import Overlaps
from trio_dispatch.actors.run import ActorRun
from trio_dispatch.actors.tasks import Leaving, Life, Lives
from trio_dispatch.model.target import (
    ElectricalComponentCategory,
    Target,
    TargetCategories,
    TargetIds,
)
from trio_dispatch.testing import make_dispatch


def make_run() -> ActorRun:
    return ActorRun(make_dispatch(), START, name="actor", microgrid_id=1, grace=10.0, once=False)


async def test_what_is_cancelled_before_its_first_step_is_never_begun(
    autojump_clock: trio.testing.MockClock,
) -> None:
    exited = []

    async def actor(run: ActorRun) -> None:
        pytest.fail("it was begun")

    async with trio.open_nursery() as nursery:
        lives = Lives(nursery, Leaving(), restart=True)
        life = Life(1, actor, make_run(), exited=exited.append, task="a task")
        lives.begin(life)
        lives.cancel(life)
        lives.cancel(life)
    assert exited == [life]
    lives.cancel(life)


async def test_an_identity_has_one_at_a_time_in_the_order_in_which_they_came(
    autojump_clock: trio.testing.MockClock,
) -> None:
    order = []

    def actor(number: int):  # type: ignore[no-untyped-def]
        async def act(run: ActorRun) -> None:
            order.append(number)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(20)
                order.append(-number)

        return act

    async with trio.open_nursery() as nursery:
        lives = Lives(nursery, Leaving(), restart=True)
        for number in (1, 2, 3):
            life = Life("same", actor(number), make_run(), exited=lambda _: None, task="a task")
            lives.begin(life)
            await trio.sleep(5)
            lives.cancel(life)
    # The second one was cancelled while the first was still there.
    assert order == [1, -1]


def test_what_overlaps_is_found() -> None:
    categories = TargetCategories(ElectricalComponentCategory.BATTERY)
    targets = [TargetIds(1, 2), TargetIds(2, 3), TargetIds(), categories, None]
    overlaps: Overlaps[int] = Overlaps()
    for number, target in enumerate(targets):
        overlaps.add(number, target)

    def found(target: Target | None) -> list[int]:
        return sorted(overlaps.with_target(target))

    assert found(TargetIds(1)) == [0, 3, 4]
    assert found(TargetIds(1, 2, 3)) == [0, 1, 3, 4]
    assert found(TargetIds(4)) == found(TargetIds()) == [3, 4]
    assert found(categories) == found(None) == [0, 1, 2, 3, 4]
    for number in (0, 3, 3):
        overlaps.discard(number)
    assert 0 not in overlaps
    assert 1 in overlaps
    assert found(TargetIds(1)) == [4]
    assert found(categories) == [1, 2, 4]


async def test_a_loop_over_the_changes_that_waits_does_not_see_back_and_forth(
    autojump_clock: trio.testing.MockClock,
) -> None:
    run = make_run()
    seen = []

    async def follow() -> None:
        async for dispatch in run.changes:
            seen.append(dispatch.payload)  # noqa: PERF401

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.sleep(1)
        one, two = {"n": 1}, {"n": 2}
        for payloads in ([one], [two, one], [one], [one, two], [{}, two, one]):
            for payload in payloads:
                run._show(make_dispatch(payload=payload), START, started=False)
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert seen == [{}, one, two, one]
