"""The six calls of the API, over a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any, cast

import trio

from .. import clock
from ..api import wire
from ..api.codec import WIRE, time_to_nanos
from ..api.decoding import build_time
from ..api.wire import PaginationInfo, Timestamp
from ..errors import DispatchError
from ..grpc import MessageCodec, Proceed, ServerStream, current_call
from .auth import Right, require
from .listing import read_query
from .refusals import refusal_of, refusals
from .rules import new_data, updated_data
from .store import Store
from .watchers import OnCut

__all__ = ["CODEC", "Handlers", "end_who_is_cut"]

CUT_GRACE = 10.0
"""So many seconds a watcher that was cut off has to read what is on its way and that it was cut."""

CODEC = MessageCodec(
    builders={Timestamp: build_time},
    encoders={
        Timestamp: lambda moment: WIRE.encode(moment, Timestamp),
        # A store keeps dispatches as the bytes that are sent.
        wire.Dispatch: lambda message: message,
    },
)
"""The API's messages, with bytes in the place of each `Dispatch` that is sent."""


class Handlers(wire.MicrogridDispatchServiceBase):
    """The service as betterproto2 has it; to be served with `CODEC` and an `Authenticator`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list_microgrid_dispatches(
        self, message: wire.ListMicrogridDispatchesRequest
    ) -> wire.ListMicrogridDispatchesResponse:
        require(Right.READ, message.microgrid_id)
        with refusals():
            page = await self._store.list(read_query(message))
        return wire.ListMicrogridDispatchesResponse(
            dispatches=[*map(_dispatch, page.messages)],
            pagination_info=PaginationInfo(total_items=page.total, next_page_token=page.next_token),
        )

    async def stream_microgrid_dispatches(
        self, message: wire.StreamMicrogridDispatchesRequest
    ) -> AsyncIterator[wire.StreamMicrogridDispatchesResponse]:
        require(Right.READ, message.microgrid_id)
        with self._store.watch(message.microgrid_id, on_cut=_on_cut.get()) as changes:
            # Only now: who sees them may rely on every change from then on.
            await current_call().send_initial_metadata()
            with refusals():
                async for change in changes:
                    yield wire.StreamMicrogridDispatchesResponse(
                        dispatch=_dispatch(change.row.message), event=change.event
                    )

    async def create_microgrid_dispatch(
        self, message: wire.CreateMicrogridDispatchRequest
    ) -> wire.CreateMicrogridDispatchResponse:
        require(Right.WRITE, message.microgrid_id)
        now = _now()
        with refusals():
            data = new_data(
                message.dispatch_data,
                start_immediately=bool(message.start_immediately),
                now=now,
            )
            row = await self._store.create(message.microgrid_id, data, now=now)
        return wire.CreateMicrogridDispatchResponse(dispatch=_dispatch(row.message))

    async def update_microgrid_dispatch(
        self, message: wire.UpdateMicrogridDispatchRequest
    ) -> wire.UpdateMicrogridDispatchResponse:
        require(Right.WRITE, message.microgrid_id)
        now = _now()
        mask = message.update_mask
        paths = [] if mask is None else mask.paths

        def edit(data: wire.DispatchData) -> wire.DispatchData:
            return updated_data(data, message.update, paths, now=now)

        with refusals():
            row = await self._store.update(message.microgrid_id, message.dispatch_id, edit, now=now)
        return wire.UpdateMicrogridDispatchResponse(dispatch=_dispatch(row.message))

    async def get_microgrid_dispatch(
        self, message: wire.GetMicrogridDispatchRequest
    ) -> wire.GetMicrogridDispatchResponse:
        require(Right.READ, message.microgrid_id)
        with refusals():
            row = await self._store.get(message.microgrid_id, message.dispatch_id)
        return wire.GetMicrogridDispatchResponse(
            microgrid_id=message.microgrid_id, dispatch=_dispatch(row.message)
        )

    async def delete_microgrid_dispatch(
        self, message: wire.DeleteMicrogridDispatchRequest
    ) -> wire.DeleteMicrogridDispatchResponse:
        require(Right.WRITE, message.microgrid_id)
        with refusals():
            await self._store.delete(message.microgrid_id, message.dispatch_id)
        return wire.DeleteMicrogridDispatchResponse(
            microgrid_id=message.microgrid_id, dispatch_id=message.dispatch_id
        )


def _now() -> int:
    return time_to_nanos(clock.now())


def _dispatch(message: bytes) -> wire.Dispatch:
    return cast(wire.Dispatch, message)  # CODEC takes it as it is


_on_cut: ContextVar[OnCut | None] = ContextVar("trio_dispatch cut", default=None)


async def end_who_is_cut(call: ServerStream[Any, Any], proceed: Proceed) -> None:
    """An interceptor that ends the stream of a watcher that was cut off, if it does not read.

    Its handler may be waiting for the client to take the last message, and a client that does not
    read would keep it for ever.
    """
    why: DispatchError | None = None

    def cut(error: DispatchError) -> None:
        nonlocal why
        why = error
        scope.deadline = trio.current_time() + CUT_GRACE

    with trio.CancelScope() as scope:
        _on_cut.set(cut)
        await proceed()
    if why is not None and scope.cancelled_caught:
        with trio.move_on_after(CUT_GRACE):
            refusal = refusal_of(why)
            await call.send_trailing_metadata(status=refusal.status, status_message=refusal.message)
            return
        # There is no room for it either.
        await call.cancel()
