"""Many dispatchers on one channel."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from tests.helpers.scripted import Scripted, serving, version
from trio_dispatch import Dispatcher, SyncPhase, open_dispatcher
from trio_dispatch.api import wire
from trio_dispatch.dispatcher.turns import Turns, turns_of
from trio_dispatch.grpc import Channel

COUNT = 230
AT_A_TIME, PER_SECOND = 20, 200


class Counting(Scripted):
    """Counts the lists of everything at a time, and notes when streams are asked for."""

    def __init__(self) -> None:
        super().__init__(version(1, 1))
        self.takes = 0.0
        self.listing = self.most_listing = 0
        self.stream_times: list[float] = []

    async def list_microgrid_dispatches(
        self, message: wire.ListMicrogridDispatchesRequest
    ) -> wire.ListMicrogridDispatchesResponse:
        if message.sort_options is not None:
            return await super().list_microgrid_dispatches(message)
        self.listing += 1
        self.most_listing = max(self.most_listing, self.listing)
        try:
            await trio.sleep(self.takes)
            return await super().list_microgrid_dispatches(message)
        finally:
            self.listing -= 1

    async def stream_microgrid_dispatches(
        self, message: wire.StreamMicrogridDispatchesRequest
    ) -> AsyncIterator[wire.StreamMicrogridDispatchesResponse]:
        self.stream_times.append(trio.current_time())
        async for item in super().stream_microgrid_dispatches(message):
            yield item


async def follow(channel: Channel, opened: list[Dispatcher], microgrid_id: int) -> None:
    async with open_dispatcher(microgrid_id, channel=channel, key="k") as dispatcher:
        opened.append(dispatcher)
        await trio.sleep_forever()


def are_live(dispatchers: list[Dispatcher]) -> bool:
    return len(dispatchers) == COUNT and all(
        each.sync_state.value.phase is SyncPhase.LIVE for each in dispatchers
    )


async def test_service_is_not_stormed_at_the_start_or_after_an_outage(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service, opened = Counting(), list[Dispatcher]()
    async with serving(service) as channel, trio.open_nursery() as nursery:
        for number in range(1, COUNT + 1):
            nursery.start_soon(follow, channel, opened, number)
        for takes, seconds in ((0.0, 2.0), (0.5, 10.0)):
            service.takes = takes
            service.end_streams()
            service.most_listing, service.stream_times = 0, []
            await trio.sleep(seconds)
            assert are_live(opened)
            assert service.most_listing <= AT_A_TIME
            times = service.stream_times
            assert len(times) == COUNT
            assert all(
                later - earlier >= 0.99
                for earlier, later in zip(times, times[PER_SECOND:], strict=False)
            )
        nursery.cancel_scope.cancel()


async def test_lists_that_hang_do_not_keep_other_dispatchers_waiting(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service, opened = Counting(), list[Dispatcher]()
    async with serving(service) as channel, trio.open_nursery() as nursery:
        service.takes = 50.0
        for number in range(AT_A_TIME):
            nursery.start_soon(follow, channel, opened, number + 1)
        await trio.sleep(1)
        assert service.listing == AT_A_TIME
        service.takes = 0.0
        nursery.start_soon(follow, channel, opened, 100)
        await trio.sleep(3)
        assert not opened
        await trio.sleep(2)
        assert len(opened) == 1
        nursery.cancel_scope.cancel()


async def test_cancelled_turn_leaves_its_place_to_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    turns, taken = Turns(), 0

    async def take(scope: trio.CancelScope) -> None:
        nonlocal taken
        with scope:
            async with turns.turn():
                taken += 1
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(2 * AT_A_TIME)]
        for scope in scopes:
            nursery.start_soon(take, scope)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        assert taken == AT_A_TIME
        scopes[0].cancel()
        scopes[-1].cancel()
        await trio.sleep(1)
        assert taken == AT_A_TIME + 1
        nursery.cancel_scope.cancel()


async def test_turns_belong_to_a_channel(autojump_clock: trio.testing.MockClock) -> None:
    service = Scripted()
    async with serving(service) as one, serving(service) as other:
        assert turns_of(one) is turns_of(one)
        assert turns_of(one) is not turns_of(other)
        assert turns_of(None) is not turns_of(None)


async def test_outage_is_one_warning_and_probes_are_spread_afterwards(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "trio_dispatch.dispatcher.sync")
    service, opened = Counting(), list[Dispatcher]()
    async with serving(service) as channel, trio.open_nursery() as nursery:
        for number in range(1, COUNT + 1):
            nursery.start_soon(follow, channel, opened, number)
        await trio.sleep(5)
        service.end_streams()
        await trio.sleep(5)
        assert are_live(opened)
        service.probes.clear()
        await trio.sleep(36)
        times = service.probes
        assert len(times) >= COUNT
        assert max(sum(at <= other < at + 1 for other in times) for at in times) < COUNT / 6
        nursery.cancel_scope.cancel()
    assert len([each for each in caplog.messages if "ended the stream" in each]) == 1
