"""The six calls of the API, over a store."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import trio
from grpclib.const import Handler

from .. import clock
from ..api import wire
from ..api.codec import message_field, time_to_nanos
from ..api.wire import PaginationInfo
from ..grpc import Cardinality, ServerStream, current_call
from .auth import current_author, require
from .calls import Encoded, reply, send_changes, unary
from .keys import Right
from .listing import encode_page_token, read_query
from .observe import note_written
from .rules import new_data, updated_data
from .store import Store
from .store.rows import Change, sendable

__all__ = ["Handlers"]


class Handlers:
    """The dispatch service as a `Servable`; needs `CODEC` and an `Authenticator`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Lists take long: a client with many of them waits, and not the others.
        self._list_turns: WeakKeyDictionary[object, trio.Lock] = WeakKeyDictionary()

    def __mapping__(self) -> dict[str, Handler]:
        service = "/frequenz.api.dispatch.v1.MicrogridDispatchService"
        return {
            f"{service}/ListMicrogridDispatches": unary(
                self._list, wire.ListMicrogridDispatchesRequest
            ),
            f"{service}/StreamMicrogridDispatches": Handler(
                self._stream,
                Cardinality.UNARY_STREAM,
                wire.StreamMicrogridDispatchesRequest,
                Encoded,
            ),
            f"{service}/CreateMicrogridDispatch": unary(
                self._create, wire.CreateMicrogridDispatchRequest
            ),
            f"{service}/UpdateMicrogridDispatch": unary(
                self._update, wire.UpdateMicrogridDispatchRequest
            ),
            f"{service}/GetMicrogridDispatch": unary(self._get, wire.GetMicrogridDispatchRequest),
            f"{service}/DeleteMicrogridDispatch": unary(
                self._delete, wire.DeleteMicrogridDispatchRequest
            ),
        }

    async def _list(self, request: wire.ListMicrogridDispatchesRequest) -> Encoded:
        require(Right.READ, request.microgrid_id)
        query = read_query(request)
        async with self._list_turns.setdefault(current_call().peer, trio.Lock()):
            page = await self._store.list(query)
        following = page.following
        info = PaginationInfo(
            total_items=page.total,
            next_page_token=None if following is None else encode_page_token(following),
        )
        response = wire.ListMicrogridDispatchesResponse(pagination_info=info)
        return reply(response, *[message_field(1, sendable(message)) for message in page.messages])

    async def _create(self, request: wire.CreateMicrogridDispatchRequest) -> Encoded:
        require(Right.WRITE, request.microgrid_id)
        now = _now()
        data = new_data(
            request.dispatch_data, start_immediately=bool(request.start_immediately), now=now
        )
        row = await self._store.create(request.microgrid_id, data, now=now, author=current_author())
        note_written(row)
        return reply(
            wire.CreateMicrogridDispatchResponse(), message_field(1, sendable(row.message))
        )

    async def _update(self, request: wire.UpdateMicrogridDispatchRequest) -> Encoded:
        require(Right.WRITE, request.microgrid_id)
        now = _now()
        paths = [] if request.update_mask is None else request.update_mask.paths

        def change(data: wire.DispatchData) -> wire.DispatchData:
            return updated_data(data, request.update, paths, now=now)

        row = await self._store.update(
            request.microgrid_id, request.dispatch_id, change, now=now, author=current_author()
        )
        note_written(row)
        return reply(
            wire.UpdateMicrogridDispatchResponse(), message_field(1, sendable(row.message))
        )

    async def _get(self, request: wire.GetMicrogridDispatchRequest) -> Encoded:
        require(Right.READ, request.microgrid_id)
        row = await self._store.get(request.microgrid_id, request.dispatch_id)
        response = wire.GetMicrogridDispatchResponse(microgrid_id=request.microgrid_id)
        return reply(response, message_field(2, sendable(row.message)))

    async def _delete(self, request: wire.DeleteMicrogridDispatchRequest) -> Encoded:
        require(Right.WRITE, request.microgrid_id)
        row = await self._store.delete(
            request.microgrid_id, request.dispatch_id, author=current_author()
        )
        note_written(row)
        return reply(
            wire.DeleteMicrogridDispatchResponse(
                microgrid_id=request.microgrid_id, dispatch_id=request.dispatch_id
            )
        )

    async def _stream(
        self, call: ServerStream[wire.StreamMicrogridDispatchesRequest, Encoded]
    ) -> None:
        request = await call.recv_message()
        assert request is not None
        require(Right.READ, request.microgrid_id)
        await send_changes(call, request.microgrid_id, self._store.watchers, _event)


def _now() -> int:
    return time_to_nanos(clock.now())


def _event(change: Change) -> Encoded:
    response = wire.StreamMicrogridDispatchesResponse(event=change.event)
    return reply(response, message_field(1, sendable(change.row.message)))
