"""Actor tasks and runs, without dispatches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import START, lasting
from trio_dispatch import ActorRun, TaskState
from trio_dispatch.actors.registry import ActorRegistry
from trio_dispatch.actors.run import RunState, Shown
from trio_dispatch.actors.task import ActorTask
from trio_dispatch.actors.task_runner import TaskRunner
from trio_dispatch.testing import make_dispatch


def make_state(*, once: bool = False) -> RunState[Mapping[str, Any]]:
    shown = Shown(make_dispatch(), make_dispatch().payload, START, START)
    return RunState(shown, name="actor", microgrid_id=1, grace=10.0, once=once)


def make_task(actor: Any, finished: list[ActorTask], *, once: bool = False) -> ActorTask:
    return ActorTask("same", actor, make_state(once=once), on_finish=finished.append, name="task")


async def test_task_that_is_cancelled_before_its_first_step_never_calls_its_actor(
    autojump_clock: trio.testing.MockClock,
) -> None:
    finished: list[ActorTask] = []

    async def actor() -> None:
        pytest.fail("the actor was called")

    async with trio.open_nursery() as nursery:
        tasks = TaskRunner(nursery, ActorRegistry(), restart=True)
        task = make_task(actor, finished)
        state = task.state
        assert state is TaskState.WAITING
        tasks.begin(task)
        tasks.cancel(task)
        tasks.cancel(task)
        state = task.state
        assert state is TaskState.STOPPING
    assert finished == [task]
    state = task.state
    assert state is TaskState.FINISHED
    tasks.cancel(task)
    with pytest.raises(AssertionError):
        task.move_to(TaskState.RUNNING)


@pytest.mark.parametrize("once", [False, True])
async def test_tasks_with_one_identity_act_one_at_a_time_in_the_order_of_their_beginnings(
    autojump_clock: trio.testing.MockClock, once: bool
) -> None:
    order = []

    def actor(number: int) -> Any:
        async def act() -> None:
            order.append(number)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(20)
                order.append(-number)

        return act

    async with trio.open_nursery() as nursery:
        tasks = TaskRunner(nursery, ActorRegistry(), restart=True)
        begun = []
        for number in (1, 2, 3):
            task = make_task(actor(number), [], once=once)
            begun.append(task)
            tasks.begin(task)
            await trio.sleep(5)
        assert [task.state.value for task in begun] == ["running", "waiting", "waiting"]
        tasks.cancel(begun[1])
        await trio.sleep(5)
        assert [task.state.value for task in begun] == ["running", "finished", "waiting"]
        tasks.cancel(begun[0])
        await trio.sleep(25)
        assert [task.state.value for task in begun] == ["finished", "finished", "running"]
        tasks.cancel_all()
    assert order == [1, -1, 3, -3]


async def test_pulse_is_dropped_where_a_run_with_the_same_identity_goes_on(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    finished: list[ActorTask] = []

    async def pulse() -> None:
        pytest.fail("the actor was called")

    async with trio.open_nursery() as nursery:
        tasks = TaskRunner(nursery, ActorRegistry(), restart=True)
        tasks.begin(make_task(trio.sleep_forever, []))
        await trio.sleep(1)
        tasks.begin(make_task(pulse, finished, once=True))
        await trio.sleep(1)
        assert len(finished) == 1
        tasks.cancel_all()
    assert "dropped: this component is driven by microgrid 1, dispatch 1: actor" in caplog.text


def test_registry_drops_stale_ends() -> None:
    async def main() -> None:
        registry = ActorRegistry()
        task = make_task(None, [])
        registry.add(task)
        for second in range(1000):
            registry.set_end(task, lasting(1, second, 1).end_of(START))
            registry.set_end(task, lasting(1, second, second + 1).end_of(START))
        assert len(registry._ends) < 100
        registry.discard(task)

    trio.run(main)


async def test_loop_over_changes_does_not_see_a_change_that_was_undone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    state = make_state()
    run = ActorRun(state)
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
                shown = Shown(make_dispatch(payload=payload), payload, START, START)
                state.show(shown, started=False)
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert seen == [{}, one, two, one]


async def test_component_of_an_actor_that_is_not_for_one_is_an_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    run = ActorRun(make_state())
    with pytest.raises(RuntimeError, match=r"run.component needs run_actors\(..., merge=MergeByC"):
        _ = run.component
