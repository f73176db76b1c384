"""The service needs no garbage collector for its calls: what they use is freed at once."""

from __future__ import annotations

import gc
import math
from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.garbage import counting_garbage
from tests.helpers.reporting import report_about
from tests.helpers.service import HOUR, Wired, create, listed, wired
from trio_dispatch import ConnectionState, DispatcherStatus, ServiceError, clock
from trio_dispatch.cli.serving.service import collecting_seldom
from trio_dispatch.client.client import DispatchClient
from trio_dispatch.service import Keys, Store

STATUS = DispatcherStatus(connection=ConnectionState.LIVE, interval=timedelta(seconds=30))


async def call_everything(service: Wired, client: DispatchClient) -> None:
    """Make every kind of call, and some that are refused."""
    dispatch = await create(client)
    async with client.stream(1), client.stream_runs(1):
        await client.update(1, dispatch.id, payload={"power": 3})
        reports = [report_about(dispatch)]
        await client.report_runs(1, reports, dispatcher="a", reporter="b", status=STATUS)
        await trio.sleep(60)  # The status is stored.
    await client.get(1, dispatch.id)
    assert dispatch.id in await listed(client)
    assert [page async for page in client.list_runs(1, types=["CHARGE"])]
    assert [page async for page in client.list_changes(1)]
    assert await client.list_dispatchers(1)
    with pytest.raises(ServiceError):
        await client.update(1, dispatch.id, start_time=clock.now() - 999 * HOUR)
    await client.delete(1, dispatch.id)
    with pytest.raises(ServiceError):
        await client.get(1, dispatch.id)
    with pytest.raises(ServiceError):
        await client.delete(1, dispatch.id)


async def test_no_call_leaves_garbage(store: Store, autojump_clock: MockClock) -> None:
    async with wired(store, keys=Keys.of("k")) as service, service.client() as client:
        await call_everything(service, client)
        with counting_garbage("trio_dispatch", "sqlalchemy", "grpclib", "h2") as garbage:
            for _ in range(3):
                await call_everything(service, client)
    assert not garbage


def test_garbage_of_long_lived_objects_is_collected_in_time() -> None:
    with collecting_seldom():
        assert math.prod(gc.get_threshold()) <= 300_000
