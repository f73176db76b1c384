"""Actors on channels of our own: what comes at the same moment, in every order."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
import trio
import trio.testing

from tests.helpers.acting import START, Diary, at, lasting
from trio_dispatch import (
    ActorRun,
    Deleted,
    Dispatch,
    MergeByType,
    MergeStrategy,
    RecurrenceRule,
    TargetIds,
    Updated,
)
from trio_dispatch.actors.groups import Groups
from trio_dispatch.actors.pending_orphans import Unattended
from trio_dispatch.actors.supervisor import Actor, ActorOptions, serve_actors
from trio_dispatch.dispatcher.channels import lifecycle_channel, status_channel
from trio_dispatch.model.recurrence.rule import Frequency

HOURLY = RecurrenceRule(Frequency.HOURLY)
EVERY_60_MINUTES = RecurrenceRule(Frequency.MINUTELY, 60)


class Channels:
    """What a dispatcher has for actors; it is caught up unless it is behind."""

    def __init__(self) -> None:
        self.statuses = status_channel(lambda _: ())
        self.events = lifecycle_channel(lambda _: ())
        self._caught_up: trio.Event | None = None

    def fall_behind(self) -> None:
        self._caught_up = trio.Event()

    def catch_up(self) -> None:
        assert self._caught_up is not None
        self._caught_up.set()

    async def caught_up(self) -> None:
        if self._caught_up is not None:
            await self._caught_up.wait()


@asynccontextmanager
async def serving(actor: Actor, merge: MergeStrategy | None = None) -> AsyncIterator[Channels]:
    channels = Channels()
    options = ActorOptions(
        type="CHARGE",
        actor=actor,
        merge=merge,
        grace=timedelta(seconds=10),
        on_error="raise",
        on_orphan=None,
        microgrid_id=1,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(
                serve_actors,
                options,
                channels.statuses.new_receiver(type="CHARGE"),
                channels.events,
                unattended=Unattended(),
                orphans=(),
                caught_up=channels.caught_up,
            )
        )
        yield channels
        nursery.cancel_scope.cancel()


def pulse(id: int, seconds: float) -> Dispatch:
    return lasting(id, seconds, 0).sent_for(at(seconds), pulse=at(seconds))


@pytest.mark.parametrize("attempt", range(20))
async def test_what_was_withdrawn_before_a_pulse_came_does_not_withdraw_it(
    autojump_clock: trio.testing.MockClock, attempt: int
) -> None:
    diary = Diary()

    async def actor(run: object) -> None:
        diary.note("on")
        try:
            await trio.sleep(10)
        finally:
            diary.note("off")

    async with serving(actor) as channels:
        channels.statuses.publish(pulse(1, 0))
        await trio.sleep(5)
        # In one step, so that the tasks of the actors wake together, in any order.
        channels.events.publish(Updated(lasting(1, 0, 0, active=False)))
        if attempt % 2:
            channels.events.publish(Deleted(lasting(2, 0, 0, deleted=True)))
        channels.events.publish(Updated(lasting(1, 5, 0)))
        channels.statuses.publish(pulse(1, 5))
        await trio.sleep(30)
    assert diary.entries == [(0, "on"), (5, "off"), (5, "on"), (15, "off")]


@pytest.mark.parametrize("first", [False, True])
async def test_a_pulse_that_is_withdrawn_before_its_moment_is_all_told(
    autojump_clock: trio.testing.MockClock, first: bool
) -> None:
    diary = Diary()
    async with serving(diary.actor) as channels:
        if not first:
            channels.statuses.publish(pulse(2, 0))
            await trio.sleep(1)
        channels.fall_behind()
        channels.statuses.publish(pulse(1, 1))
        await trio.sleep(1)
        channels.events.publish(Deleted(replace(lasting(1, 1, 0), deleted=True)))
        await trio.sleep(1)
        channels.catch_up()
        await trio.sleep(1)
    assert not [what for _, what in diary.entries if what.startswith("1")]


@pytest.mark.parametrize("steps", range(12))
async def test_a_pulse_that_is_withdrawn_while_many_messages_are_dealt_with(
    autojump_clock: trio.testing.MockClock, steps: int
) -> None:
    diary = Diary()

    async def actor(run: ActorRun) -> None:
        await trio.sleep(1)
        diary.note(f"{run.dispatch.id} is done")

    async with serving(actor) as channels:
        for id_ in range(500):
            channels.statuses.publish(lasting(id_, 0, None))
        channels.statuses.publish(pulse(1000, 0))
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        withdrawn = replace(lasting(1000, 0, 0), deleted=True)
        channels.events.publish(Deleted(withdrawn))
        channels.statuses.amend(withdrawn)
        await trio.sleep(10)
    assert len(diary.entries) == 500
    assert (1, "1000 is done") not in diary.entries


async def test_a_pulse_of_what_has_left_the_type_before_it_was_read_is_not_ours(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    async with serving(diary.actor) as channels:
        channels.statuses.publish(pulse(1, 0))
        channels.statuses.amend(lasting(1, 0, 0, type="OTHER"))
        channels.statuses.publish(pulse(2, 0))
        await trio.sleep(1)
    assert diary.entries == [(0, "2: 2 None"), (0, "2: end")]


async def test_starts_wait_until_all_of_their_moment_is_told_and_stops_do_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    async with serving(diary.actor) as channels:
        channels.statuses.publish(lasting(1, 0, 10).sent_for(START))
        channels.statuses.publish(lasting(2, 0, 10, target=TargetIds(3)).sent_for(START))
        await trio.sleep(10)
        channels.fall_behind()
        channels.statuses.publish(lasting(3, 10, 10).sent_for(at(10)))
        channels.statuses.publish(lasting(1, 0, 10).sent_for(at(10)))
        await trio.sleep(1)
        channels.statuses.publish(lasting(2, 0, 10, target=TargetIds(3)).sent_for(at(10)))
        channels.catch_up()
        await trio.sleep(1)
    assert diary.entries[2:-1] == [(10, "1: end"), (11, "2: end"), (11, "3: 3 None")]


async def test_a_group_whose_last_member_stops_before_another_starts_is_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    async with serving(diary.actor, MergeByType()) as channels:
        channels.statuses.publish(lasting(1, 0, 100).sent_for(START))
        await trio.sleep(1)
        # At once, so that they are taken together.
        channels.statuses.publish(lasting(1, 0, 100, active=False))
        channels.statuses.publish(lasting(2, 1, 100))
        channels.statuses.publish(lasting(2, 1, 100, active=False))
        channels.statuses.publish(lasting(3, 1, 100))
        await trio.sleep(1)
    assert diary.entries == [(0, "1: 1 None"), (1, "1: end"), (1, "3: 3 None"), (2, "3: end")]


async def test_others_have_their_turn_while_many_start_and_stop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    alive: set[int] = set()
    counts = []

    async def actor(run: ActorRun) -> None:
        alive.add(run.dispatch.id)
        try:
            await trio.sleep_forever()
        finally:
            alive.remove(run.dispatch.id)

    async def count() -> None:
        while True:
            counts.append(len(alive))
            await trio.lowlevel.checkpoint()

    async with serving(actor) as channels, trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for active in (True, False):
            for id_ in range(1000):
                channels.statuses.publish(lasting(id_, 0, None, active=active))
            for _ in range(200):
                await trio.lowlevel.checkpoint()
            assert len(alive) == 1000 * active
        nursery.cancel_scope.cancel()
    steps = [abs(after - before) for before, after in itertools.pairwise(counts)]
    assert max(counts) == 1000
    assert max(steps) <= 200


# Which messages start an actor that has returned.

RUNNING = lasting(1, 0, 3600, recurrence=HOURLY)


@pytest.mark.parametrize(
    ("message", "started"),
    [
        (RUNNING.sent_for(START), False),
        (RUNNING.sent_for(at(3600)), True),
        (replace(RUNNING, payload={"power": 1}).sent_for(at(3600)), True),
        # It has been changed in silence, which only the next occurrence tells.
        (
            lasting(1, 0, 3600, recurrence=EVERY_60_MINUTES).sent_for(at(3600)),
            True,
        ),
        # An update has come with the start, and has taken its place.
        (replace(RUNNING, payload={"power": 1}).sent_for(at(3601)), True),
        (replace(RUNNING, payload={"power": 1}).sent_for(at(100)), False),
        (lasting(1, 60, 3600, recurrence=HOURLY).sent_for(at(100)), False),
        (lasting(1, -60, 3600, recurrence=HOURLY).sent_for(at(100)), False),
    ],
)
async def test_what_counts_as_a_start(
    autojump_clock: trio.testing.MockClock, message: Dispatch, started: bool
) -> None:
    groups = Groups("CHARGE", lambda dispatch: dispatch.id)
    (group,) = groups.take(RUNNING.sent_for(START))
    assert group.started
    group.started = False
    assert groups.take(message) == [group]
    assert group.started is started
    assert group.shown.dispatch == message
