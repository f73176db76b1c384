"""Lists as other services give them: without totals, paged by row number."""

from __future__ import annotations

from typing import Any

from ..api import wire
from ..api.codec import WIRE
from ..api.wire import PaginationInfo, PaginationParams
from ..grpc import Proceed, ServerStream
from ..service.calls import Encoded

__all__ = ["ForeignLists"]

_DEFAULT_SIZE, _ALL = 100, 1000


class ForeignLists:
    """An interceptor that changes what list calls are answered with.

    Args:
      totals: Whether a page says how many dispatches the list has.
      offset_paging: Whether the token of a page is a row number, as with ``OFFSET`` in SQL: when
        the list changes between two pages, the next page repeats or omits dispatches.  A list then
        has 1,000 dispatches at most.
    """

    def __init__(self, *, totals: bool, offset_paging: bool) -> None:
        self._totals = totals
        self._offset_paging = offset_paging
        self._is_foreign = offset_paging or not totals

    async def __call__(self, call: ServerStream[Any, Any], proceed: Proceed) -> None:
        if self._is_foreign and call.method_name.endswith("/ListMicrogridDispatches"):
            self._change(call)
        await proceed()

    def _change(self, call: ServerStream[Any, Any]) -> None:
        receive, send = call.recv_message, call.send_message
        offset, size = 0, _DEFAULT_SIZE

        async def receive_changed() -> Any:
            nonlocal offset, size
            request = await receive()
            if self._offset_paging and isinstance(request, wire.ListMicrogridDispatchesRequest):
                params = request.pagination_params or PaginationParams()
                if params.page_token:
                    offset, size = map(int, params.page_token.split("+"))
                else:
                    size = params.page_size or _DEFAULT_SIZE
                request.pagination_params = PaginationParams(page_size=_ALL)
            return request

        async def send_changed(message: Encoded) -> None:
            page = WIRE.decode(message, wire.ListMicrogridDispatchesResponse)
            info = page.pagination_info or PaginationInfo()
            if self._offset_paging:
                more = offset + size < len(page.dispatches)
                page.dispatches = page.dispatches[offset : offset + size]
                info.next_page_token = f"{offset + size}+{size}" if more else None
            if not self._totals:
                info.total_items = 0
            page.pagination_info = info
            await send(Encoded(WIRE.encode(page, wire.ListMicrogridDispatchesResponse)))

        call.recv_message = receive_changed  # type: ignore[method-assign]
        call.send_message = send_changed  # type: ignore[method-assign]
