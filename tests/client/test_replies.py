"""Wrong replies of a service: the client reports them, and never loops for ever."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import trio
import trio.testing

from tests.helpers.services import DispatchServiceBase
from trio_dispatch import (
    Dispatch,
    DispatchClient,
    DispatchError,
    EventKind,
    ServiceError,
    TargetIds,
    Undecodable,
)
from trio_dispatch.api import wire
from trio_dispatch.api.codec import WIRE, dispatch_to_wire
from trio_dispatch.api.wire import PaginationInfo, PaginationParams
from trio_dispatch.grpc import Server, Status, open_channel
from trio_dispatch.testing import make_dispatch

ListReply = wire.ListMicrogridDispatchesResponse


def message(id_: int = 1) -> wire.Dispatch:
    return dispatch_to_wire(make_dispatch(id_))


class Scripted(DispatchServiceBase):
    """A service that answers as a test says."""

    def __init__(self) -> None:
        self.page: Callable[[PaginationParams | None], ListReply] = lambda _: ListReply()
        self.reply: wire.Dispatch | None = None
        self.events: list[wire.StreamMicrogridDispatchesResponse] = []

    async def list_microgrid_dispatches(
        self, message: wire.ListMicrogridDispatchesRequest
    ) -> ListReply:
        return self.page(message.pagination_params)

    async def get_microgrid_dispatch(
        self, message: wire.GetMicrogridDispatchRequest
    ) -> wire.GetMicrogridDispatchResponse:
        return wire.GetMicrogridDispatchResponse(dispatch=self.reply)

    async def create_microgrid_dispatch(
        self, message: wire.CreateMicrogridDispatchRequest
    ) -> wire.CreateMicrogridDispatchResponse:
        return wire.CreateMicrogridDispatchResponse(dispatch=self.reply)

    async def update_microgrid_dispatch(
        self, message: wire.UpdateMicrogridDispatchRequest
    ) -> wire.UpdateMicrogridDispatchResponse:
        return wire.UpdateMicrogridDispatchResponse(dispatch=self.reply)

    async def stream_microgrid_dispatches(
        self, message: wire.StreamMicrogridDispatchesRequest
    ) -> AsyncIterator[wire.StreamMicrogridDispatchesResponse]:
        for event in self.events:
            yield event


@asynccontextmanager
async def connected(service: Scripted) -> AsyncIterator[DispatchClient]:
    server = Server([service], codec=WIRE)
    async with trio.open_nursery() as nursery:

        async def connect() -> trio.abc.Stream:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve_stream, theirs)
            await trio.lowlevel.checkpoint()
            return ours

        async with open_channel(connect) as channel:
            yield DispatchClient(channel)
        nursery.cancel_scope.cancel()


async def listed(client: DispatchClient) -> list[Dispatch]:
    return [dispatch async for page in client.list(1) for dispatch in page]


def page(*ids: int, token: str | None = None, total: int = 0) -> ListReply:
    return ListReply(
        dispatches=[*map(message, ids)],
        pagination_info=PaginationInfo(total_items=total, next_page_token=token),
    )


async def test_a_token_that_repeats_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    service = Scripted()
    async with connected(service) as client:
        service.page = lambda _: page(1, token="again")
        with pytest.raises(DispatchError, match="list: page 2 has the token of another page"):
            await listed(client)
        # A longer circle.
        numbers = itertools.cycle("abc")
        service.page = lambda _: page(1, token=next(numbers))
        with pytest.raises(DispatchError, match="list: page 4 has the token of another page"):
            await listed(client)


async def test_empty_pages_without_end_are_an_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted()
    numbers = itertools.count()
    async with connected(service) as client:
        service.page = lambda _: page(token=str(next(numbers)))
        with pytest.raises(DispatchError, match="list: 1000 empty pages in a row"):
            await listed(client)


async def test_some_empty_pages_are_read_over(autojump_clock: trio.testing.MockClock) -> None:
    service = Scripted()

    def answer(params: PaginationParams | None) -> ListReply:
        number = int((params and params.page_token) or 0)
        ids = (number,) if number % 400 == 399 else ()
        return page(*ids, token=str(number + 1) if number < 1200 else "")

    service.page = answer
    async with connected(service) as client:
        assert [dispatch.id for dispatch in await listed(client)] == [399, 799, 1199]


@pytest.mark.parametrize(
    ("reply", "total"),
    [
        (ListReply(), None),
        (ListReply(dispatches=[message()]), None),
        (page(1), None),
        (page(), 0),
        (page(1, total=7), 7),
    ],
)
async def test_the_total_is_none_if_the_service_does_not_count(
    autojump_clock: trio.testing.MockClock, reply: ListReply, total: int | None
) -> None:
    service = Scripted()
    service.page = lambda _: reply
    async with connected(service) as client:
        assert [found.total async for found in client.list(1)] == [total]


CALLS: dict[str, Callable[[DispatchClient], Any]] = {
    "get": lambda client: client.get(1, 5),
    "update": lambda client: client.update(1, 5, active=False),
    "create": lambda client: client.create(
        1, type="A", start_time="NOW", duration=timedelta(hours=1), target=TargetIds(1)
    ),
}
NO_START = wire.Dispatch(metadata=wire.DispatchMetadata(dispatch_id=5))


@pytest.mark.parametrize(
    ("method", "reply", "text"),
    [
        ("get", None, "get: the dispatch cannot be decoded: it has no dispatch"),
        ("get", NO_START, "get: the dispatch cannot be decoded: it has no start time"),
        ("get", message(6), "get: the dispatch is dispatch 6"),
        ("update", None, "update: done, but the reply cannot be decoded: it has no dispatch"),
        ("update", message(6), "update: done, but the reply is dispatch 6"),
        ("create", None, "'A': done, but the reply cannot be decoded: it has no dispatch"),
        ("create", NO_START, "'A': done, but the reply cannot be decoded: it has no start time"),
    ],
)
async def test_a_reply_without_the_dispatch_is_an_error(
    autojump_clock: trio.testing.MockClock, method: str, reply: wire.Dispatch | None, text: str
) -> None:
    service = Scripted()
    service.reply = reply
    async with connected(service) as client:
        with pytest.raises(DispatchError) as caught:
            await CALLS[method](client)
        assert str(caught.value).endswith(text)
        assert not isinstance(caught.value, ServiceError)


async def test_unknown_and_undecodable_events_are_passed_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Scripted()
    service.events = [
        wire.StreamMicrogridDispatchesResponse(dispatch=message(1), event=wire.Event.CREATED),
        wire.StreamMicrogridDispatchesResponse(dispatch=message(1), event=wire.Event(77)),
        wire.StreamMicrogridDispatchesResponse(dispatch=message(1)),
        wire.StreamMicrogridDispatchesResponse(dispatch=NO_START, event=wire.Event.DELETED),
        wire.StreamMicrogridDispatchesResponse(event=wire.Event.UPDATED),
    ]
    async with connected(service) as client, client.stream(1) as stream:
        events = [(event.kind, event.dispatch) async for event in stream]
    known = make_dispatch(1)
    assert events == [
        (EventKind.CREATED, known),
        (EventKind.UNKNOWN, known),
        (EventKind.UNKNOWN, known),
        (EventKind.DELETED, Undecodable(5, "it has no start time")),
        (EventKind.UPDATED, Undecodable(None, "it has no dispatch")),
    ]


async def test_a_reply_that_is_not_protobuf_is_an_internal_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await Server([Scripted()], codec=Garbage()).serve_stream(stream)

    class Garbage(type(WIRE)):  # type: ignore[misc]
        def encode(self, message: Any, message_type: Any) -> bytes:
            return b"\xff\xff"

    async with trio.open_nursery() as nursery:

        async def connect() -> trio.abc.Stream:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(serve, theirs)
            await trio.lowlevel.checkpoint()
            return ours

        async with open_channel(connect) as channel:
            client = DispatchClient(channel)
            with pytest.raises(ServiceError, match="list: the reply cannot be decoded") as caught:
                await listed(client)
            assert caught.value.status is Status.INTERNAL
        nursery.cancel_scope.cancel()
