"""`Dispatcher.runs`: what actors act on."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.helpers.acting import acting, at, lasting
from tests.helpers.dispatching import dispatching
from trio_dispatch import ActorRun, TaskState
from trio_dispatch.testing import LocalService


async def test_runs_show_state_attempts_and_the_last_error(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async def actor(run: ActorRun) -> None:
        if run.dispatch.id == 2:
            await trio.sleep(1)
            raise ValueError("no such battery")
        if run.dispatch.id == 3:
            return
        try:
            await trio.sleep_forever()
        finally:
            with run.cleanup():
                await trio.sleep(5)

    async with acting(service, actor) as dispatcher:
        assert list(dispatcher.runs) == []
        await service.put(lasting(1, 10, 20))
        await service.put(lasting(2, 10, 60))
        await service.put(lasting(3, 10, 60))
        await trio.sleep(20)
        first, second = dispatcher.runs
        assert (first.dispatch.id, first.component, first.state) == (1, None, TaskState.RUNNING)
        assert (first.since, first.attempts, first.error) == (at(10), 1, None)
        assert first.actor.endswith("actor")
        assert second.dispatch.id == 2
        assert second.attempts > 2
        assert repr(second.error) == "ValueError('no such battery')"
        await trio.sleep(12)
        assert [run.state for run in dispatcher.runs] == [TaskState.STOPPING, TaskState.RUNNING]
        await trio.sleep(60)
        assert list(dispatcher.runs) == []


async def test_runs_of_all_types_are_shown_until_their_actors_have_returned(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async def actor(run: ActorRun) -> None:
        await trio.sleep_forever()

    await service.put(lasting(2, 0, None))
    await service.put(lasting(1, 0, None, type="OTHER"))
    await service.put(lasting(3, 0, None, dry_run=True))
    async with dispatching(service) as dispatcher, trio.open_nursery() as nursery:
        await nursery.start(dispatcher.run_actors, "CHARGE", actor)
        await nursery.start(dispatcher.run_actors, "OTHER", actor)
        assert [run.dispatch.id for run in dispatcher.runs] == [1, 2, 3]
        nursery.cancel_scope.cancel()
    assert list(dispatcher.runs) == []


async def test_runs_cannot_be_changed(
    autojump_clock: trio.testing.MockClock, service: LocalService
) -> None:
    async with dispatching(service) as dispatcher:
        with pytest.raises(AttributeError):
            dispatcher.runs = ()  # type: ignore[misc]
