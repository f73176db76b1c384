"""A foreign dispatch service that is scripted by a test, and a dispatcher that follows it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import trio
import trio.testing

from tests.helpers.services import DispatchServiceBase
from trio_dispatch import Dispatch, Dispatcher, clock, open_dispatcher
from trio_dispatch.api import wire
from trio_dispatch.api.codec import WIRE, dispatch_to_wire
from trio_dispatch.api.wire import Event, PaginationInfo
from trio_dispatch.concurrency.nursery import open_service_nursery
from trio_dispatch.grpc import Channel, Server, current_call, open_channel
from trio_dispatch.testing import make_dispatch

__all__ = ["Scripted", "dispatching", "serving", "version"]


class Scripted(DispatchServiceBase):
    """A foreign service: it pages by row number, and is scripted by a test.

    Attributes:
      at: What to do when a moment has come: "stream", "page 0", "page 1", ..., "probe".
      early: Whether it answers a stream request before there is an event.
      held: Events that are not yet to be sent; None to send them at once.
      totals: Whether it counts what a list has.
      sorts: Whether it heeds the order that a request asks for.
      life: After how many seconds it ends a stream.
      lists: When each list of everything was asked for.
      probes: When each list of the last updates was asked for.
      streams: How many streams were asked for.
    """

    def __init__(self, *dispatches: Dispatch) -> None:
        self.dispatches = {dispatch.id: dispatch for dispatch in dispatches}
        self.at: dict[str, Callable[[], Awaitable[None]]] = {}
        self.early = True
        self.held: list[tuple[Event, Dispatch]] | None = None
        self.watchers: list[trio.MemorySendChannel[tuple[Event, Dispatch]]] = []
        self.totals = True
        self.sorts = True
        self.life = math.inf
        self.lists: list[float] = []
        self.probes: list[float] = []
        self.streams = 0

    async def list_microgrid_dispatches(
        self, message: wire.ListMicrogridDispatchesRequest
    ) -> wire.ListMicrogridDispatchesResponse:
        params, ids = message.pagination_params, message.filter and message.filter.dispatch_ids
        if message.sort_options is not None:
            return await self._probe(params.page_size if params else None)
        offset = int(params.page_token) if params and params.page_token else 0
        if not ids:
            if offset == 0:
                self.lists.append(trio.current_time())
            await self._come(f"page {offset // 2}")
        rows = [self.dispatches[id_] for id_ in sorted(self.dispatches) if not ids or id_ in ids]
        return wire.ListMicrogridDispatchesResponse(
            dispatches=[*map(dispatch_to_wire, rows[offset : offset + 2])],
            pagination_info=PaginationInfo(
                total_items=len(rows) if self.totals else 0,
                next_page_token=str(offset + 2) if offset + 2 < len(rows) else None,
            ),
        )

    async def _probe(self, size: int | None) -> wire.ListMicrogridDispatchesResponse:
        self.probes.append(trio.current_time())
        rows = [*self.dispatches.values()]
        if self.sorts:
            rows.sort(key=lambda each: each.update_time, reverse=True)
        await self._come("probe")
        return wire.ListMicrogridDispatchesResponse(
            dispatches=[*map(dispatch_to_wire, rows[:size])],
            pagination_info=PaginationInfo(total_items=len(rows) if self.totals else 0),
        )

    async def stream_microgrid_dispatches(
        self, message: wire.StreamMicrogridDispatchesRequest
    ) -> AsyncIterator[wire.StreamMicrogridDispatchesResponse]:
        self.streams += 1
        send, receive = trio.open_memory_channel[tuple[Event, Dispatch]](math.inf)
        self.watchers.append(send)
        ends_at = trio.current_time() + self.life
        try:
            await self._come("stream")
            if self.early:
                await current_call().send_initial_metadata()
            while True:
                with trio.move_on_at(ends_at) as scope:
                    event, dispatch = await receive.receive()
                if scope.cancelled_caught:
                    return
                yield wire.StreamMicrogridDispatchesResponse(
                    dispatch=dispatch_to_wire(dispatch), event=event
                )
        except trio.EndOfChannel:
            return
        finally:
            if send in self.watchers:
                self.watchers.remove(send)

    async def _come(self, moment: str) -> None:
        action = self.at.pop(moment, None)
        if action is not None:
            await action()

    def put(self, dispatch: Dispatch) -> None:
        event = Event.UPDATED if dispatch.id in self.dispatches else Event.CREATED
        self.dispatches[dispatch.id] = dispatch
        self._tell(event, dispatch)

    def delete(self, id_: int) -> None:
        self._tell(Event.DELETED, self.dispatches.pop(id_))

    def release(self) -> None:
        held, self.held = self.held or [], None
        for event, dispatch in held:
            self._tell(event, dispatch)

    def end_streams(self) -> None:
        for watcher in self.watchers:
            watcher.close()
        self.watchers.clear()

    def mute_streams(self) -> None:
        """Keep the present streams open, and send nothing on them."""
        self.watchers.clear()

    def _tell(self, event: Event, dispatch: Dispatch) -> None:
        if self.held is not None:
            self.held.append((event, dispatch))
            return
        for watcher in self.watchers:
            watcher.send_nowait((event, dispatch))


@asynccontextmanager
async def serving(service: Scripted) -> AsyncIterator[Channel]:
    """A channel to a service."""
    server = Server([service], codec=WIRE)
    async with open_service_nursery() as nursery:

        async def connect() -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve_stream, theirs)
            return ours

        async with open_channel(connect) as channel:
            yield channel
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def dispatching(service: Scripted, **options: Any) -> AsyncIterator[Dispatcher]:
    """A dispatcher that follows microgrid 1 of a service."""
    async with (
        serving(service) as channel,
        open_dispatcher(microgrid_id=1, channel=channel, key="k", **options) as dispatcher,
    ):
        yield dispatcher


def version(id_: int, number: int) -> Dispatch:
    """A dispatch that starts in a day, in one of its versions."""
    return make_dispatch(
        id_,
        start_time=clock.VIRTUAL_START + timedelta(days=1),
        payload={"version": number},
        update_time=clock.VIRTUAL_START + timedelta(seconds=number),
    )
