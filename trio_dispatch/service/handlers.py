"""The six calls of the API, over a store."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import cast

from .. import clock
from .._generated.frequenz.api.common.v1alpha8.pagination import PaginationInfo
from .._generated.frequenz.api.dispatch import v1 as wire
from .._generated.google.protobuf import Timestamp
from ..codec import WIRE, time_to_nanos
from ..grpc import GRPCError, MessageCodec, Status, current_call
from .auth import Right, require
from .errors import (
    InvalidRequestError,
    NotFoundError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
)
from .listing import read_query
from .rules import new_data, updated_data
from .store import Store
from .watchers import WatcherTooSlowError

__all__ = ["CODEC", "Handlers"]

log = logging.getLogger("trio_dispatch.service")

CODEC = MessageCodec(
    decoders={Timestamp: lambda data: WIRE.decode(data, Timestamp)},
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
        with _refusals():
            page = await self._store.list(read_query(message))
        return wire.ListMicrogridDispatchesResponse(
            dispatches=[*map(_dispatch, page.messages)],
            pagination_info=PaginationInfo(total_items=page.total, next_page_token=page.next_token),
        )

    async def stream_microgrid_dispatches(
        self, message: wire.StreamMicrogridDispatchesRequest
    ) -> AsyncIterator[wire.StreamMicrogridDispatchesResponse]:
        require(Right.READ, message.microgrid_id)
        with self._store.watch(message.microgrid_id) as changes:
            # Only now: who sees them may rely on every change from then on.
            await current_call().send_initial_metadata()
            with _refusals():
                async for change in changes:
                    yield wire.StreamMicrogridDispatchesResponse(
                        dispatch=_dispatch(change.row.message), event=change.event
                    )

    async def create_microgrid_dispatch(
        self, message: wire.CreateMicrogridDispatchRequest
    ) -> wire.CreateMicrogridDispatchResponse:
        require(Right.WRITE, message.microgrid_id)
        now = _now()
        with _refusals():
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

        with _refusals():
            row = await self._store.update(message.microgrid_id, message.dispatch_id, edit, now=now)
        return wire.UpdateMicrogridDispatchResponse(dispatch=_dispatch(row.message))

    async def get_microgrid_dispatch(
        self, message: wire.GetMicrogridDispatchRequest
    ) -> wire.GetMicrogridDispatchResponse:
        require(Right.READ, message.microgrid_id)
        with _refusals():
            row = await self._store.get(message.microgrid_id, message.dispatch_id)
        return wire.GetMicrogridDispatchResponse(
            microgrid_id=message.microgrid_id, dispatch=_dispatch(row.message)
        )

    async def delete_microgrid_dispatch(
        self, message: wire.DeleteMicrogridDispatchRequest
    ) -> wire.DeleteMicrogridDispatchResponse:
        require(Right.WRITE, message.microgrid_id)
        with _refusals():
            await self._store.delete(message.microgrid_id, message.dispatch_id)
        return wire.DeleteMicrogridDispatchResponse(
            microgrid_id=message.microgrid_id, dispatch_id=message.dispatch_id
        )


def _now() -> int:
    return time_to_nanos(clock.now())


def _dispatch(message: bytes) -> wire.Dispatch:
    return cast(wire.Dispatch, message)  # CODEC takes it as it is


@contextmanager
def _refusals() -> Iterator[None]:
    """Tells the client with a status what went wrong, and nothing that is not its business."""
    try:
        yield
    except InvalidRequestError as exc:
        raise GRPCError(Status.INVALID_ARGUMENT, str(exc)) from exc
    except NotFoundError as exc:
        raise GRPCError(Status.NOT_FOUND, str(exc)) from exc
    except WatcherTooSlowError as exc:
        raise GRPCError(Status.RESOURCE_EXHAUSTED, str(exc)) from exc
    except StoreFullError as exc:
        raise GRPCError(Status.RESOURCE_EXHAUSTED, "the service has no room left") from exc
    except StoreCorruptError as exc:
        raise GRPCError(Status.DATA_LOSS, "the service's data are damaged") from exc
    except StoreError as exc:
        raise GRPCError(Status.UNAVAILABLE, "the service's store is not available") from exc
