"""The six calls of the API, over a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio
from grpclib.const import Handler

from .. import clock
from ..api import wire
from ..api.codec import WIRE, time_to_nanos
from ..api.decoding import build_time
from ..api.wire import PaginationInfo, Timestamp
from ..grpc import Cardinality, MessageCodec, ServerStream
from .auth import require
from .grpc_errors import mapped_to_grpc, to_grpc_error
from .keys import Right
from .listing import encode_page_token, read_query
from .rules import new_data, updated_data
from .store import Store
from .store.rows import Change, sendable
from .store.watchers import Watcher

__all__ = ["CODEC", "DISCONNECT_GRACE", "Encoded", "Handlers"]

DISCONNECT_GRACE: Final = 10.0
"""For this number of seconds a disconnected watcher can still receive its status."""

_Q = TypeVar("_Q")


class Encoded(bytes):
    """A reply that is encoded already: a store keeps dispatches as the bytes that are sent."""


CODEC = MessageCodec(
    builders={Timestamp: build_time},
    encoders={
        Timestamp: lambda moment: WIRE.encode(moment, Timestamp),
        Encoded: lambda reply: reply,
    },
)
"""The API's messages, and replies that are `Encoded`."""


class Handlers:
    """The dispatch service as a `Servable`; needs `CODEC` and an `Authenticator`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __mapping__(self) -> dict[str, Handler]:
        service = "/frequenz.api.dispatch.v1.MicrogridDispatchService"
        return {
            f"{service}/ListMicrogridDispatches": _unary(
                self._list, wire.ListMicrogridDispatchesRequest
            ),
            f"{service}/StreamMicrogridDispatches": Handler(
                self._stream,
                Cardinality.UNARY_STREAM,
                wire.StreamMicrogridDispatchesRequest,
                Encoded,
            ),
            f"{service}/CreateMicrogridDispatch": _unary(
                self._create, wire.CreateMicrogridDispatchRequest
            ),
            f"{service}/UpdateMicrogridDispatch": _unary(
                self._update, wire.UpdateMicrogridDispatchRequest
            ),
            f"{service}/GetMicrogridDispatch": _unary(self._get, wire.GetMicrogridDispatchRequest),
            f"{service}/DeleteMicrogridDispatch": _unary(
                self._delete, wire.DeleteMicrogridDispatchRequest
            ),
        }

    async def _list(self, request: wire.ListMicrogridDispatchesRequest) -> Encoded:
        require(Right.READ, request.microgrid_id)
        page = await self._store.list(read_query(request))
        following = page.following
        info = PaginationInfo(
            total_items=page.total,
            next_page_token=None if following is None else encode_page_token(following),
        )
        response = wire.ListMicrogridDispatchesResponse(pagination_info=info)
        return _reply(response, *(_field(1, sendable(message)) for message in page.messages))

    async def _create(self, request: wire.CreateMicrogridDispatchRequest) -> Encoded:
        require(Right.WRITE, request.microgrid_id)
        now = _now()
        data = new_data(
            request.dispatch_data, start_immediately=bool(request.start_immediately), now=now
        )
        row = await self._store.create(request.microgrid_id, data, now=now)
        return _reply(wire.CreateMicrogridDispatchResponse(), _field(1, sendable(row.message)))

    async def _update(self, request: wire.UpdateMicrogridDispatchRequest) -> Encoded:
        require(Right.WRITE, request.microgrid_id)
        now = _now()
        paths = [] if request.update_mask is None else request.update_mask.paths

        def change(data: wire.DispatchData) -> wire.DispatchData:
            return updated_data(data, request.update, paths, now=now)

        row = await self._store.update(request.microgrid_id, request.dispatch_id, change, now=now)
        return _reply(wire.UpdateMicrogridDispatchResponse(), _field(1, sendable(row.message)))

    async def _get(self, request: wire.GetMicrogridDispatchRequest) -> Encoded:
        require(Right.READ, request.microgrid_id)
        row = await self._store.get(request.microgrid_id, request.dispatch_id)
        response = wire.GetMicrogridDispatchResponse(microgrid_id=request.microgrid_id)
        return _reply(response, _field(2, sendable(row.message)))

    async def _delete(self, request: wire.DeleteMicrogridDispatchRequest) -> Encoded:
        require(Right.WRITE, request.microgrid_id)
        await self._store.delete(request.microgrid_id, request.dispatch_id)
        return _reply(
            wire.DeleteMicrogridDispatchResponse(
                microgrid_id=request.microgrid_id, dispatch_id=request.dispatch_id
            )
        )

    async def _stream(
        self, call: ServerStream[wire.StreamMicrogridDispatchesRequest, Encoded]
    ) -> None:
        """Send the changes of a microgrid until the service ends or the watcher is disconnected.

        A disconnected watcher may be waiting for its client to read, which would keep the call for
        ever; so after `DISCONNECT_GRACE` seconds the call is ended without it.
        """
        request = await call.recv_message()
        assert request is not None
        require(Right.READ, request.microgrid_id)

        def start_grace_period() -> None:
            scope.deadline = trio.current_time() + DISCONNECT_GRACE

        with (
            trio.CancelScope() as scope,
            mapped_to_grpc(),
            self._store.watch(request.microgrid_id, on_disconnect=start_grace_period) as watcher,
        ):
            # The client may rely on every change that happens after it has seen the headers.
            await call.send_initial_metadata()
            async for changes in watcher:
                await call.send_messages([_event(change) for change in changes])
        if scope.cancelled_caught:
            await _end_stuck_call(call, watcher)


async def _end_stuck_call(
    call: ServerStream[wire.StreamMicrogridDispatchesRequest, Encoded], watcher: Watcher
) -> None:
    assert watcher.failure is not None
    error = to_grpc_error(watcher.failure)
    with trio.move_on_after(DISCONNECT_GRACE):
        await call.send_trailing_metadata(status=error.status, status_message=error.message)
        return
    # There is no room for the status either.
    await call.cancel()


def _unary(handle: Callable[[_Q], Awaitable[Encoded]], request_type: type[_Q]) -> Handler:
    async def serve(call: ServerStream[_Q, Encoded]) -> None:
        request = await call.recv_message()
        assert request is not None
        with mapped_to_grpc():
            reply = await handle(request)
        await call.send_message(reply)

    return Handler(serve, Cardinality.UNARY_UNARY, request_type, Encoded)


def _now() -> int:
    return time_to_nanos(clock.now())


# Replies.  The bytes of a dispatch are put into the bytes of the reply as they are.


def _event(change: Change) -> Encoded:
    response = wire.StreamMicrogridDispatchesResponse(event=change.event)
    return _reply(response, _field(1, sendable(change.row.message)))


def _reply(
    response: wire.ListMicrogridDispatchesResponse
    | wire.StreamMicrogridDispatchesResponse
    | wire.CreateMicrogridDispatchResponse
    | wire.UpdateMicrogridDispatchResponse
    | wire.GetMicrogridDispatchResponse
    | wire.DeleteMicrogridDispatchResponse,
    *fields: bytes,
) -> Encoded:
    return Encoded(b"".join((*fields, WIRE.encode(response, type(response)))))


def _field(number: int, message: bytes) -> bytes:
    """Encode a field with a message in it: its tag, the length, the bytes."""
    size = len(message)
    head = bytearray([number << 3 | 2])
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + message
