"""The tasks of actors, without dispatches."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from acting import START

from trio_dispatch._actor_run import ActorRun
from trio_dispatch._lives import Life, Lives, overlap
from trio_dispatch.targets import ElectricalComponentCategory, TargetCategories, TargetIds
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
        lives = Lives(nursery, restart=True)
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
        lives = Lives(nursery, restart=True)
        for number in (1, 2, 3):
            life = Life("same", actor(number), make_run(), exited=lambda _: None, task="a task")
            lives.begin(life)
            await trio.sleep(5)
            lives.cancel(life)
    # The second one was cancelled while the first was still there.
    assert order == [1, -1]


def test_overlap() -> None:
    categories = TargetCategories(ElectricalComponentCategory.BATTERY)
    assert overlap(TargetIds(1, 2), TargetIds(2, 3))
    assert not overlap(TargetIds(1, 2), TargetIds(3))
    assert not overlap(TargetIds(), TargetIds(3))
    assert overlap(categories, TargetIds(3))
    assert overlap(TargetIds(3), categories)
    assert overlap(None, TargetIds(3))
    assert overlap(None, None)
