"""The main loop, on a status channel without a dispatcher: messages of one instant in any order."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.acting import START, Diary, at, lasting
from trio_dispatch import Actor, ActorRun, Broadcast, Dispatch, MergeByType, TargetIds
from trio_dispatch.actors.options import ActorOptions, unparsed
from trio_dispatch.actors.registry import ActorRegistry
from trio_dispatch.actors.supervisor import HandedOver, serve_actors
from trio_dispatch.dispatcher.cache import NoCache
from trio_dispatch.dispatcher.channels import status_channel
from trio_dispatch.model.arbitration import equal_priority


def options_for(actor: Actor, **options: Any) -> ActorOptions[Mapping[str, Any]]:
    defaults: dict[str, Any] = {
        "microgrid_id": 1,
        "types": {"CHARGE"},
        "parse": unparsed,
        "on_invalid": "keep",
        "targets": None,
        "dry_runs": False,
        "merge": None,
        "priority": equal_priority,
        "grace": timedelta(seconds=10),
        "on_error": "raise",
        "on_orphan": None,
    }
    return ActorOptions(actor=actor, **defaults | options)


@asynccontextmanager
async def serving(actor: Actor, **options: Any) -> AsyncIterator[Broadcast[Dispatch]]:
    """Serve an actor from the status channel that is yielded."""
    statuses = status_channel(lambda _: ())
    async with trio.open_nursery() as nursery:
        receiver = statuses.new_receiver(type="CHARGE")
        nothing = HandedOver([], [])
        serve = partial(serve_actors, options_for(actor, **options), receiver, ActorRegistry())
        await nursery.start(serve, NoCache(), nothing)
        yield statuses
        nursery.cancel_scope.cancel()


def pulse(id: int, seconds: float) -> Dispatch:
    return lasting(id, seconds, 0).sent_for(at(seconds), pulse=at(seconds))


ONE = TargetIds(1)


# The starts of an instant come before its stops.


async def test_start_waits_for_a_stop_of_the_same_instant_that_arrives_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    async with serving(diary.actor) as statuses:
        statuses.publish(lasting(2, 0, 10, target=ONE).sent_for(START))
        await trio.sleep(10)
        statuses.publish(lasting(1, 10, 10, target=ONE).sent_for(at(10)))
        statuses.publish(lasting(3, 10, 10).sent_for(at(10)))
        await trio.sleep(1)
        statuses.publish(lasting(2, 0, 10, target=ONE).sent_for(at(10)))
        await trio.sleep(1)
    assert diary.entries[:4] == [
        (0, "2: 2 None"),
        (10, "3: 3 None"),  # on another component
        (11, "2: end"),
        (11, "1: 1 None"),
    ]


@pytest.mark.parametrize("pulsed", [False, True])
async def test_start_waits_no_longer_when_the_other_run_is_extended(
    autojump_clock: trio.testing.MockClock, pulsed: bool
) -> None:
    diary = Diary()
    async with serving(diary.actor) as statuses:
        statuses.publish(lasting(2, 0, 10, target=ONE).sent_for(START))
        await trio.sleep(10)
        if pulsed:
            message = lasting(1, 10, 0, target=ONE).sent_for(at(10), pulse=at(10))
        else:
            message = lasting(1, 10, 10, target=ONE).sent_for(at(10))
        statuses.publish(message)
        await trio.sleep(1)
        assert diary.entries == [(0, "2: 2 None")]
        statuses.publish(lasting(2, 0, 20, target=ONE).sent_for(at(11)))
        await trio.sleep(1)
    assert sorted(diary.entries[1:3]) == [(11, "1: 1 None"), (11, "2: 2 None")]


async def test_start_waits_no_longer_when_the_other_run_moves_to_other_components(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    async with serving(diary.actor) as statuses:
        statuses.publish(lasting(2, 0, 10, target=ONE).sent_for(START))
        await trio.sleep(10)
        statuses.publish(lasting(1, 10, 10, target=ONE).sent_for(at(10)))
        await trio.sleep(1)
        statuses.publish(lasting(2, 0, 20).sent_for(at(11)))
        await trio.sleep(1)
    assert sorted(diary.entries[1:3]) == [(11, "1: 1 None"), (11, "2: 2 None")]


async def test_start_does_not_wait_for_ever_for_a_stop_that_never_arrives(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    diary = Diary()
    async with serving(diary.actor) as statuses:
        statuses.publish(lasting(2, 0, 10, target=ONE).sent_for(START))
        await trio.sleep(10)
        statuses.publish(lasting(1, 10, 60, target=ONE).sent_for(at(10)))
        await trio.sleep(20)
    assert diary.entries[1] == (20, "1: 1 None")
    (warning,) = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert "dispatch 1: " in warning
    assert "has not stopped in time: microgrid 1, dispatch 2: " in warning


async def test_group_that_one_member_outlasts_is_not_about_to_stop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()

    class ByZone:
        def identities(self, dispatch: Dispatch) -> set[object]:
            return {dispatch.payload["zone"]}

    def zoned(id: int, start: float, seconds: float, zone: str) -> Dispatch:
        return lasting(id, start, seconds, target=ONE, payload={"zone": zone})

    async with serving(diary.actor, merge=ByZone()) as statuses:
        statuses.publish(zoned(1, 0, 100, "north").sent_for(START))
        statuses.publish(zoned(2, 0, 10, "north").sent_for(START))
        await trio.sleep(10)
        statuses.publish(zoned(3, 10, 10, "south").sent_for(at(10)))
        await trio.sleep(1)
    assert diary.entries[:2] == [(0, "2: 2 None"), (10, "3: 3 None")]


async def test_start_after_the_last_stop_of_a_group_begins_another_group(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    async with serving(diary.actor, merge=MergeByType()) as statuses:
        statuses.publish(lasting(1, 0, 100).sent_for(START))
        await trio.sleep(1)
        # At once, so that the loop takes them together.
        statuses.publish(lasting(1, 0, 100, active=False))
        statuses.publish(lasting(2, 1, 100))
        statuses.publish(lasting(2, 1, 100, active=False))
        statuses.publish(lasting(3, 1, 100))
        await trio.sleep(1)
    assert diary.entries == [(0, "1: 1 None"), (1, "1: end"), (1, "3: 3 None"), (2, "3: end")]


# Pulses that are withdrawn.


@pytest.mark.parametrize("attempt", range(10))
async def test_withdrawal_of_one_pulse_does_not_withdraw_the_next(
    autojump_clock: trio.testing.MockClock, attempt: int
) -> None:
    diary = Diary()

    async def actor(run: ActorRun) -> None:
        diary.note("on")
        try:
            await trio.sleep(10)
        finally:
            diary.note("off")

    async with serving(actor) as statuses:
        statuses.publish(pulse(1, 0))
        await trio.sleep(5)
        # In one step, so that the tasks wake together, in any order.
        statuses.publish(lasting(1, 0, 0, active=False))
        statuses.publish(pulse(1, 5))
        await trio.sleep(30)
    assert diary.entries == [(0, "on"), (5, "off"), (5, "on"), (15, "off")]


@pytest.mark.parametrize("how", ["deleted", "inactive"])
async def test_pulse_that_is_withdrawn_before_its_message_is_read_is_not_acted_upon(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    diary = Diary()
    async with serving(diary.actor) as statuses:
        statuses.publish(pulse(1, 0))
        dispatch = lasting(1, 0, 0)
        if how == "deleted":
            statuses.publish(replace(dispatch, deleted=True))
        else:
            statuses.publish(replace(dispatch, active=False))
        await trio.sleep(1)
    assert diary.entries == []


@pytest.mark.parametrize("steps", range(12))
async def test_pulse_that_is_withdrawn_while_many_messages_are_taken_is_not_acted_upon(
    autojump_clock: trio.testing.MockClock, steps: int
) -> None:
    diary = Diary()

    async def actor(run: ActorRun) -> None:
        await trio.sleep(1)
        diary.note(f"{run.dispatch.id} is done")

    async with serving(actor) as statuses:
        for id_ in range(500):
            statuses.publish(lasting(id_, 0, None))
        statuses.publish(pulse(1000, 0))
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        statuses.publish(replace(lasting(1000, 0, 0), deleted=True))
        await trio.sleep(10)
    assert len(diary.entries) == 500
    assert (1, "1000 is done") not in diary.entries


async def test_pulse_of_a_dispatch_that_left_the_type_before_it_was_read_is_not_acted_upon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    async with serving(diary.actor) as statuses:
        statuses.publish(pulse(1, 0))
        statuses.replace_queued(lasting(1, 0, 0, type="OTHER"))
        statuses.publish(pulse(2, 0))
        await trio.sleep(1)
    assert diary.entries == [(0, "2: 2 None"), (0, "2: end")]


async def test_other_tasks_run_while_many_actors_start_and_stop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    running: set[int] = set()
    counts = []

    async def actor(run: ActorRun) -> None:
        running.add(run.dispatch.id)
        try:
            await trio.sleep_forever()
        finally:
            running.remove(run.dispatch.id)

    async def count() -> None:
        while True:
            counts.append(len(running))
            await trio.lowlevel.checkpoint()

    async with serving(actor) as statuses, trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for active in (True, False):
            for id_ in range(1000):
                statuses.publish(lasting(id_, 0, None, active=active))
            for _ in range(200):
                await trio.lowlevel.checkpoint()
            assert len(running) == 1000 * active
        nursery.cancel_scope.cancel()
    steps = [abs(after - before) for before, after in itertools.pairwise(counts)]
    assert max(counts) == 1000
    assert max(steps) <= 200
