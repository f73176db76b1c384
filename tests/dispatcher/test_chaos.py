"""Random faults of the service and the network: in the end everything agrees."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import trio
import trio.testing

from tests.helpers.effort import cases
from trio_dispatch import (
    Created,
    Deleted,
    Dispatch,
    LifecycleEvent,
    Receiver,
    SyncPhase,
    clock,
    open_dispatcher,
)
from trio_dispatch.grpc import open_channel
from trio_dispatch.model.recurrence.rule import EndCriteria, Frequency, RecurrenceRule
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

SECOND = timedelta(seconds=1)
HISTORY = timedelta(minutes=2)
SEEDS = cases(50, long=10_000)


class BadWire(trio.abc.Stream):
    """A stream that is slow, and breaks after some bytes in either direction."""

    def __init__(self, stream: trio.abc.Stream, rng: random.Random) -> None:
        self._stream = stream
        self._rng = rng
        self._left = rng.choice([300, 3_000, 100_000])

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(memoryview(data)[: self._left])
        await self._count(len(data))

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._rng.random() < 0.3:
            await trio.sleep(self._rng.uniform(0, 3))
        data = await self._stream.receive_some(max_bytes)
        await self._count(len(data))
        return data

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def _count(self, size: int) -> None:
        self._left -= size
        if self._left <= 0:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("the wire broke")


class Chaos:
    """Changes a service, mutes, cuts and restarts it, and finally leaves it in peace."""

    def __init__(self, service: LocalService, rng: random.Random) -> None:
        self.service = service
        self.rng = rng
        self.peace = False
        self._version = 0

    async def connect(self) -> trio.abc.Stream:
        stream = await self.service.connect()
        return stream if self.peace else BadWire(stream, self.rng)

    async def run(self) -> None:
        for _ in range(self.rng.randint(5, 40)):
            await trio.sleep(self.rng.choice([0, 0, 0.1, 1, 20]))
            await self._step()
        await self.service.restart()
        self.peace = True

    async def _step(self) -> None:
        rng = self.rng
        chance = rng.random()
        if chance < 0.75:
            await self._change()
        elif chance < 0.8:
            self.service.mute_streams(rng.choice([0, 0.5, 1]))
        elif chance < 0.85:
            await self.service.drop_connections()
        elif chance < 0.93:
            await self.service.restart()
        else:
            await self.service.stop()
            await self._change()
            await trio.sleep(rng.uniform(0, 30))
            await self.service.restart()

    async def _change(self) -> None:
        known = await self.service.dispatches()
        if known and self.rng.random() < 0.3:
            await self.service.store.delete(1, self.rng.choice(list(known)))
            return
        self._version += 1
        id_ = self.rng.choice([*known, self.rng.randint(1, 12)])
        await self.service.put(self._dispatch(id_))

    def _dispatch(self, id_: int) -> Dispatch:
        rng, now = self.rng, clock.now()
        seconds = rng.choice([0, 1, 10, 60, None])
        rule = None
        if rng.random() < 0.5:
            count = rng.choice([None, 3])
            criteria = None if count is None else EndCriteria(count=count)
            rule = RecurrenceRule(Frequency.MINUTELY, end_criteria=criteria)
        return make_dispatch(
            id_,
            start_time=now + rng.randint(-2, 40) * SECOND,
            duration=None if seconds is None else seconds * SECOND,
            payload={"version": self._version},
            active=rng.random() < 0.8,
            recurrence=rule,
            update_time=now,
        )


class Fold:
    """Folds the messages of receivers at their own pace, and sometimes clones one."""

    def __init__(self, rng: random.Random, nursery: trio.Nursery, chaos: Chaos) -> None:
        self._rng = rng
        self._nursery = nursery
        self._chaos = chaos
        self._slowness = rng.choice([0, 0.01, 1, 30])
        self.folds: list[dict[int, Dispatch]] = []
        self.running: list[set[int]] = []

    async def events(
        self,
        receiver: Receiver[LifecycleEvent],
        known: dict[int, Dispatch],
    ) -> None:
        self.folds.append(known)
        with receiver:
            async for event in receiver:
                dispatch = event.dispatch
                assert (dispatch.id in known) != isinstance(event, Created)
                if isinstance(event, Deleted):
                    del known[dispatch.id]
                else:
                    assert known.get(dispatch.id) != dispatch, "the same event twice"
                    known[dispatch.id] = dispatch
                if self._rng.random() < 0.02 and len(self.folds) < 4:
                    self._nursery.start_soon(self.events, receiver.clone(), known.copy())
                await self._dawdle()

    async def statuses(self, receiver: Receiver[Dispatch]) -> None:
        running: set[int] = set()
        self.running.append(running)
        with receiver:
            async for dispatch in receiver:
                if dispatch.running_at(clock.now()):
                    running.add(dispatch.id)
                else:
                    running.discard(dispatch.id)
                await self._dawdle()

    async def _dawdle(self) -> None:
        if not self._chaos.peace:
            await trio.sleep(self._rng.uniform(0, self._slowness))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_everything_agrees_after_random_faults(
    seed: int, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    rng = random.Random(seed)
    async with (
        open_test_service(
            keepalive=False,
            totals=rng.random() < 0.7,
            offset_paging=rng.random() < 0.3,
        ) as service,
        trio.open_nursery() as nursery,
    ):
        chaos = Chaos(service, rng)
        async with (
            open_channel(chaos.connect, keepalive_interval=math.inf) as channel,
            open_dispatcher(
                microgrid_id=1, channel=channel, key=service.key, history=HISTORY
            ) as dispatcher,
        ):
            events = Fold(rng, nursery, chaos)
            statuses = Fold(rng, nursery, chaos)
            for limit in (1, 2, 50):
                receiver = dispatcher.lifecycle_events.new_receiver(limit=limit)
                nursery.start_soon(events.events, receiver, {})
            for _ in range(2):
                status = dispatcher.running_status_change.new_receiver()
                nursery.start_soon(statuses.statuses, status)
            await chaos.run()
            # Long enough for the connection to be made anew, and for one more list.
            await trio.sleep(700)
            assert dispatcher.sync_state.value.phase is SyncPhase.LIVE
            kept = await service.dispatches()
            bound = clock.now() - HISTORY
            for fold in events.folds:
                assert unended(fold, bound) == unended(kept, bound)
            assert unended(dispatcher.dispatches, bound) == unended(kept, bound)
            due = {id_ for id_, dispatch in kept.items() if dispatch.running_at(clock.now())}
            for running in statuses.running:
                assert running == due
        nursery.cancel_scope.cancel()


def unended(dispatches: Mapping[int, Dispatch], bound: datetime) -> dict[int, Dispatch]:
    """The dispatches that have not ended before a moment, without `end_time`."""
    return {
        id_: replace(dispatch, end_time=None)
        for id_, dispatch in dispatches.items()
        if (end := dispatch.last_end()) is None or end > bound
    }
