"""Watchers whose client does not read: when they are disconnected, and what that frees."""

# ruff: noqa: ASYNC110 - what is waited for tells nobody

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.service import Wired, create, wired
from trio_dispatch import clock
from trio_dispatch.api import wire
from trio_dispatch.api.codec import WIRE
from trio_dispatch.client.errors import ServiceError
from trio_dispatch.grpc import Cardinality, GRPCError, Status
from trio_dispatch.model.dispatch import Dispatch
from trio_dispatch.model.target import TargetIds
from trio_dispatch.service import Store
from trio_dispatch.service.calls import DISCONNECT_GRACE

STREAM = "/frequenz.api.dispatch.v1.MicrogridDispatchService/StreamMicrogridDispatches"


def large(id_: int = 1) -> Dispatch:
    return Dispatch(
        id=id_,
        type="CHARGE",
        start_time=clock.now(),
        duration=None,
        target=TargetIds(1),
        payload={"filler": "x" * 10_000},
    )


async def change_much(store: Store) -> None:
    """Make more changes than may wait for a watcher."""
    for _ in range(1200):
        await store.put(1, large())


def calls_running(service: Wired) -> int:
    return service.service.server.statistics().calls_running


async def time_to_end(service: Wired) -> float:
    """Wait until no call runs; return the seconds that it took."""
    began = trio.current_time()
    with trio.fail_after(250):  # less than the time after which a connection counts as lost
        while calls_running(service):
            await trio.sleep(0.1)
    return trio.current_time() - began


async def test_a_client_that_does_not_read_its_stream_is_disconnected(
    autojump_clock: MockClock,
) -> None:
    """Other calls of its connection continue, and the stream fails when it is read at last."""
    async with wired() as service, service.client() as client, client.stream(1) as events:
        await wait_all_tasks_blocked()
        assert calls_running(service) == 1
        await change_much(service.store)
        assert service.store.watchers.statistics().disconnected == 1
        assert DISCONNECT_GRACE - 0.2 <= await time_to_end(service) <= DISCONNECT_GRACE + 0.2
        await create(client)
        with pytest.raises(ServiceError) as caught:
            [event async for event in events]
        # A status cannot follow an incomplete message.
        assert caught.value.status in {Status.RESOURCE_EXHAUSTED, Status.CANCELLED}


async def test_a_stuck_stream_ends_with_its_status(autojump_clock: MockClock) -> None:
    async with wired() as service, service.client() as client, client.stream(1) as events:
        await wait_all_tasks_blocked()
        for _ in range(100):
            await service.store.put(1, large())
        await wait_all_tasks_blocked()
        service.store.watchers.disconnect_all()
        assert DISCONNECT_GRACE - 0.2 <= await time_to_end(service) <= DISCONNECT_GRACE + 0.2
        with pytest.raises(ServiceError) as caught:
            [event async for event in events]
        assert caught.value.status in {Status.UNAVAILABLE, Status.CANCELLED}


async def test_a_client_that_reads_again_in_time_receives_the_status(
    autojump_clock: MockClock,
) -> None:
    async with wired() as service, service.client() as client, client.stream(1) as events:
        await wait_all_tasks_blocked()
        await change_much(service.store)
        await trio.sleep(DISCONNECT_GRACE / 2)
        with pytest.raises(ServiceError, match="too many changes were waiting") as caught:
            [event async for event in events]
        assert caught.value.status is Status.RESOURCE_EXHAUSTED
        await wait_all_tasks_blocked()
        assert calls_running(service) == 0


async def test_a_call_on_an_unread_connection_ends_without_a_status(
    autojump_clock: MockClock,
) -> None:
    """The status cannot be sent: the connection takes nothing more."""
    async with wired() as service:
        ours, theirs = trio.testing.lockstep_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.service.server.serve_stream, theirs)
            await ours.send_all(_watch_request())
            while service.store.watchers.statistics().watchers == 0:
                with trio.move_on_after(1):
                    await ours.receive_some()
            await change_much(service.store)
            assert calls_running(service) == 1
            assert await time_to_end(service) <= 2 * DISCONNECT_GRACE + 0.2
            nursery.cancel_scope.cancel()


def _watch_request() -> bytes:
    """Return the bytes of a client that asks for a stream with large windows, and no more."""
    import h2.connection
    import h2.settings

    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
    connection.increment_flow_control_window(2**30)
    headers = {":method": "POST", ":scheme": "http", ":path": STREAM, ":authority": "x"}
    headers |= {"te": "trailers", "content-type": "application/grpc", "key": "k"}
    connection.send_headers(1, [*headers.items()])
    request = wire.StreamMicrogridDispatchesRequest(microgrid_id=1)
    message = WIRE.encode(request, wire.StreamMicrogridDispatchesRequest)
    connection.send_data(1, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
    return connection.data_to_send()


async def test_a_disconnected_watcher_that_reads_is_told_at_once(
    autojump_clock: MockClock,
) -> None:
    async with wired() as service, service.wire_channel() as channel:
        async with channel.request(
            STREAM,
            Cardinality.UNARY_STREAM,
            wire.StreamMicrogridDispatchesRequest,
            wire.StreamMicrogridDispatchesResponse,
            metadata={"key": "k"},
        ) as call:
            await call.send_message(wire.StreamMicrogridDispatchesRequest(microgrid_id=1), end=True)
            await call.recv_initial_metadata()
            began = trio.current_time()
            service.store.watchers.disconnect_all()
            with pytest.raises(GRPCError) as caught:
                await call.recv_message()
        assert caught.value.status is Status.UNAVAILABLE
        assert trio.current_time() == began
