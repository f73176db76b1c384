"""Orphans: what a crashed process left running."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.helpers.dispatching import dispatching, waiting
from trio_dispatch import RunningState, clock
from trio_dispatch.clock import VIRTUAL_START as START
from trio_dispatch.testing import make_dispatch, open_test_service

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.mark.parametrize("how", ["over", "deleted", "deactivated"])
async def test_orphan_that_ends_before_a_receiver_is_opened_is_stopped(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, how: str
) -> None:
    cache = tmp_path / "cache"
    async with open_test_service() as service:
        await service.put(make_dispatch(1))
        async with dispatching(service, cache=cache):
            await trio.sleep(5)
        if how == "over":
            clock.virtual_clock().set(START + HOUR - SECOND)
        elif how == "deleted":
            await service.store.delete(1, 1)
        else:
            await service.put(make_dispatch(1, active=False))
        async with dispatching(service, cache=cache) as dispatcher:
            assert dispatcher.dispatches[1].running() is RunningState.RUNNING
            await trio.sleep(5)
            for _ in range(2):
                assert waiting(dispatcher.running_status_change.new_receiver()) == [(1, "STOPPED")]


@pytest.mark.parametrize("read_by", [None, "CHARGE", "ANOTHER"])
async def test_orphan_is_pending_until_a_receiver_has_read_its_stop(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, read_by: str | None
) -> None:
    cache = tmp_path / "cache"
    async with open_test_service() as service:
        await service.put(make_dispatch(1, type="CHARGE"))
        async with dispatching(service, cache=cache):
            await trio.sleep(5)
        clock.virtual_clock().set(START + HOUR + SECOND)
        # This one dies before it has come to that.
        async with dispatching(service, cache=cache):
            await trio.sleep(5)
        async with dispatching(service, cache=cache) as dispatcher:
            await trio.sleep(5)
            receiver = dispatcher.running_status_change.new_receiver(type=read_by)
            assert waiting(receiver) == ([] if read_by == "ANOTHER" else [(1, "STOPPED")])
        async with dispatching(service, cache=cache) as dispatcher:
            receiver = dispatcher.running_status_change.new_receiver()
            assert waiting(receiver) == ([(1, "STOPPED")] if read_by == "ANOTHER" else [])


async def test_opening_a_receiver_without_reading_leaves_an_orphan_pending(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    async with open_test_service() as service:
        await service.put(make_dispatch(1))
        async with dispatching(service, cache=cache):
            await trio.sleep(5)
        clock.virtual_clock().set(START + HOUR + SECOND)
        for _ in range(2):
            async with dispatching(service, cache=cache) as dispatcher:
                receivers = [dispatcher.running_status_change.new_receiver() for _ in range(2)]
                await trio.sleep(5)
                assert [receiver.statistics().waiting for receiver in receivers] == [1, 1]
        async with dispatching(service, cache=cache) as dispatcher:
            assert waiting(dispatcher.running_status_change.new_receiver()) == [(1, "STOPPED")]
            await trio.sleep(5)
        async with dispatching(service, cache=cache) as dispatcher:
            assert waiting(dispatcher.running_status_change.new_receiver()) == []
