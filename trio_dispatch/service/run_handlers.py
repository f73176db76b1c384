"""The calls about runs and changes, over a store."""

from __future__ import annotations

from grpclib.const import Handler

from .. import clock
from ..api import runs_wire
from ..api.codec import message_field, time_to_nanos
from ..api.dispatchers import encode_dispatchers
from ..api.wire import PaginationInfo
from ..grpc import Cardinality, GRPCError, ServerStream, Status
from .auth import permitted, require
from .calls import Encoded, reply, send_changes, unary
from .keys import Right
from .run_requests import (
    change_token,
    read_change_query,
    read_delivery,
    read_run_query,
    read_status,
    run_token,
)
from .statuses import Statuses
from .store import Store
from .store.runs import RunRow

__all__ = ["RunHandlers"]


class RunHandlers:
    """The service of runs and changes as a `Servable`; needs `CODEC` and an `Authenticator`."""

    def __init__(self, store: Store, statuses: Statuses) -> None:
        self._store = store
        self._statuses = statuses

    def __mapping__(self) -> dict[str, Handler]:
        service = "/trio_dispatch.runs.v1.DispatchRunsService"
        return {
            f"{service}/ReportRuns": unary(self._report, runs_wire.ReportRunsRequest),
            f"{service}/ListRuns": unary(self._list_runs, runs_wire.ListRunsRequest),
            f"{service}/StreamRuns": Handler(
                self._stream, Cardinality.UNARY_STREAM, runs_wire.StreamRunsRequest, Encoded
            ),
            f"{service}/ListChanges": unary(self._list_changes, runs_wire.ListChangesRequest),
            f"{service}/ListDispatchers": unary(
                self._list_dispatchers, runs_wire.ListDispatchersRequest
            ),
            f"{service}/FindDispatch": unary(self._find, runs_wire.FindDispatchRequest),
        }

    async def _report(self, request: runs_wire.ReportRunsRequest) -> Encoded:
        require(Right.REPORT, request.microgrid_id)
        delivery = read_delivery(request, now=time_to_nanos(clock.now()))
        last = await self._statuses.report(delivery, read_status(request))
        return reply(runs_wire.ReportRunsResponse(last_sequence=last))

    async def _list_runs(self, request: runs_wire.ListRunsRequest) -> Encoded:
        require(Right.READ, request.microgrid_id)
        page = await self._store.runs.list(read_run_query(request))
        token = None if page.following is None else run_token(page.following)
        info = PaginationInfo(next_page_token=token)
        response = runs_wire.ListRunsResponse(pagination_info=info)
        return reply(response, *(message_field(1, message) for message in page.messages))

    async def _stream(self, call: ServerStream[runs_wire.StreamRunsRequest, Encoded]) -> None:
        request = await call.recv_message()
        assert request is not None
        require(Right.READ, request.microgrid_id)
        await send_changes(call, request.microgrid_id, self._store.runs.watchers, _event)

    async def _list_changes(self, request: runs_wire.ListChangesRequest) -> Encoded:
        require(Right.READ, request.microgrid_id)
        page = await self._store.list_changes(read_change_query(request))
        token = None if page.following is None else change_token(page.following)
        info = PaginationInfo(next_page_token=token)
        response = runs_wire.ListChangesResponse(pagination_info=info)
        return reply(response, *(message_field(1, message) for message in page.messages))

    async def _list_dispatchers(self, request: runs_wire.ListDispatchersRequest) -> Encoded:
        require(Right.READ, request.microgrid_id)
        found = await self._statuses.dispatchers(request.microgrid_id, clock.now())
        return Encoded(encode_dispatchers(found))

    async def _find(self, request: runs_wire.FindDispatchRequest) -> Encoded:
        row = await self._store.find(request.dispatch_id)
        # A key learns nothing of the microgrids that it may not read.
        if row is None or not permitted(Right.READ, row.microgrid_id):
            raise GRPCError(Status.NOT_FOUND, f"there is no dispatch {request.dispatch_id}")
        return reply(runs_wire.FindDispatchResponse(microgrid_id=row.microgrid_id))


def _event(row: RunRow) -> Encoded:
    return reply(runs_wire.StreamRunsResponse(), message_field(1, row.message))
