"""Calls about runs and changes, which a service may offer beside the dispatch API.

A service without them refuses each of these calls with the status `UNIMPLEMENTED`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Collection, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

from .. import api
from ..api.codec import WIRE
from ..model.validation import check_id, check_name
from ._calls import Calls
from ._requests import check_texts, first_page, interval
from .stream import RunStream

if TYPE_CHECKING:
    from ..api import runs_wire
    from ..api.runs import LogPage
    from ..model.dispatchers import DispatcherInfo, DispatcherStatus
    from ..model.runs import DispatchChange, ReportedRun, ReportedState, RunReport

__all__ = ["RunCalls"]

_SERVICE: Final = "/trio_dispatch.runs.v1.DispatchRunsService"

READING_RUNS: Final = [
    f"{_SERVICE[1:]}/{method}" for method in ("ListRuns", "ListChanges", "ListDispatchers")
]
"""The calls that only read, with a single reply."""

# A service accepts requests of 512 KiB.
_REPORTS_AT_ONCE: Final = 500
_BYTES_AT_ONCE: Final = 256 * 1024


class RunCalls:
    """The calls about runs and changes, which `DispatchClient` inherits."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def report_runs(
        self,
        microgrid_id: int,
        reports: Sequence[RunReport],
        *,
        dispatcher: str,
        reporter: str,
        lost: int = 0,
        version: str = "",
        status: DispatcherStatus | None = None,
    ) -> int:
        """Report runs, and return the sequence number of the reporter's last stored report.

        Reports that the service has stored already are ignored, so a call that failed can be
        repeated.  Many reports take several requests, in order: if one of them fails, the reports
        before it are stored.

        Args:
          reports: In the order of their sequence numbers.  Without any, only the other arguments
            are stored; if one of them is a status, the result may be 0.
          dispatcher: The name of the dispatcher.
          reporter: The identity of the queue from which the reports come.  The reports of each
            reporter are numbered on their own.
          lost: How many reports of this reporter were lost so far.
          version: The version of the dispatcher's software.
          status: The status of the dispatcher; with None the service keeps the last one.

        Raises:
          ServiceError: the service rejected the reports.
          ValueError: an argument is invalid; the message names it.
        """
        check_id("microgrid_id", microgrid_id)
        check_name("dispatcher", dispatcher)
        check_name("reporter", reporter)
        check_name("version", version, required=False)
        what = f"microgrid {microgrid_id}, dispatcher {dispatcher!r}: report runs"
        last = 0
        for some in _requests(reports):
            request = api.runs_wire.ReportRunsRequest(
                microgrid_id=microgrid_id,
                dispatcher=dispatcher,
                reporter=reporter,
                reports=some,
                lost=lost,
                version=version,
                status=None if status is None else api.dispatchers.status_to_wire(status),
            )
            reply = await self._calls.unary(
                f"{_SERVICE}/ReportRuns", request, _decode_reported, what
            )
            last = reply.last_sequence
        return last

    async def list_runs(
        self,
        microgrid_id: int,
        *,
        ids: Collection[int] = (),
        types: Collection[str] = (),
        states: Collection[ReportedState] = (),
        components: Collection[int] = (),
        dispatchers: Collection[str] = (),
        start_from: datetime | None = None,
        start_to: datetime | None = None,
        page_size: int | None = None,
    ) -> AsyncGenerator[LogPage[ReportedRun], None]:
        """Iterate over the pages of the runs that pass every given filter, the latest first.

        Args:
          ids: Only runs of one of these dispatches.
          types: Only runs of one of these types.
          states: Only runs in one of these states.
          components: Only what actors of one of these components did.
          dispatchers: Only what one of these dispatchers reported.
          start_from, start_to: Only runs with an occurrence in this time range, the end not
            included.
          page_size: How many runs a page has at most; by default the service decides.

        Raises:
          ServiceError: a page could not be read.
          DispatchError: the pages of the service do not end.
          ValueError: an argument is invalid; the message names it.
        """
        check_id("microgrid_id", microgrid_id)
        for id_ in ids:
            check_id("id", id_)
        for component in components:
            check_id("component", component)
        request = api.runs_wire.ListRunsRequest(
            microgrid_id=microgrid_id,
            filter=api.runs_wire.RunFilter(
                dispatch_ids=[*ids],
                types=check_texts("types", types),
                states=[*map(api.runs.state_to_wire, states)],
                component_ids=[*components],
                dispatchers=check_texts("dispatchers", dispatchers),
                start_time_interval=interval("start", start_from, start_to),
            ),
            pagination_params=first_page(page_size),
        )
        what = f"microgrid {microgrid_id}: list runs"

        def read() -> Awaitable[LogPage[ReportedRun]]:
            return self._calls.unary(
                f"{_SERVICE}/ListRuns", request, api.runs.decode_run_page, what
            )

        async with aclosing(self._calls.pages(request, read, what)) as pages:
            async for page in pages:
                yield page

    @asynccontextmanager
    async def stream_runs(self, microgrid_id: int) -> AsyncIterator[RunStream]:
        """Open the stream of the runs that reports change: ``async with client.stream_runs(1)``.

        When the block is entered the request has been sent.

        Raises:
          ServiceError: the stream could not be opened; iterating raises it when the stream fails.
        """
        check_id("microgrid_id", microgrid_id)
        request = api.runs_wire.StreamRunsRequest(microgrid_id=microgrid_id)
        what = f"microgrid {microgrid_id}: stream runs"
        async with self._calls.stream(f"{_SERVICE}/StreamRuns", request, what) as call:
            yield RunStream(call, what)

    async def list_changes(
        self,
        microgrid_id: int,
        *,
        ids: Collection[int] = (),
        key_names: Collection[str] = (),
        time_from: datetime | None = None,
        time_to: datetime | None = None,
        page_size: int | None = None,
    ) -> AsyncGenerator[LogPage[DispatchChange], None]:
        """Iterate over the pages of the changes that pass every given filter, the latest first.

        Args:
          ids: Only changes of one of these dispatches.
          key_names: Only changes that were made with an API key of one of these names.
          time_from, time_to: Only changes in this time range, the end not included.
          page_size: How many changes a page has at most; by default the service decides.

        Raises:
          ServiceError: a page could not be read.
          DispatchError: the pages of the service do not end.
          ValueError: an argument is invalid; the message names it.
        """
        check_id("microgrid_id", microgrid_id)
        for id_ in ids:
            check_id("id", id_)
        request = api.runs_wire.ListChangesRequest(
            microgrid_id=microgrid_id,
            filter=api.runs_wire.ChangeFilter(
                dispatch_ids=[*ids],
                key_names=check_texts("key_names", key_names),
                time_interval=interval("time", time_from, time_to),
            ),
            pagination_params=first_page(page_size),
        )
        what = f"microgrid {microgrid_id}: list changes"

        def read() -> Awaitable[LogPage[DispatchChange]]:
            return self._calls.unary(
                f"{_SERVICE}/ListChanges", request, api.runs.decode_change_page, what
            )

        async with aclosing(self._calls.pages(request, read, what)) as pages:
            async for page in pages:
                yield page

    async def list_dispatchers(self, microgrid_id: int) -> list[DispatcherInfo]:
        """Return the dispatchers that have reported to a microgrid, by name, with their status.

        Raises:
          ServiceError: the list could not be read.
        """
        check_id("microgrid_id", microgrid_id)
        request = api.runs_wire.ListDispatchersRequest(microgrid_id=microgrid_id)
        what = f"microgrid {microgrid_id}: list dispatchers"
        return await self._calls.unary(
            f"{_SERVICE}/ListDispatchers", request, api.dispatchers.decode_dispatchers, what
        )

    async def find_microgrid(self, dispatch_id: int) -> int:
        """Return the id of the microgrid of a dispatch.

        Raises:
          ServiceError: with the status `NOT_FOUND` if there is no such dispatch in a microgrid that
            the key may read.
        """
        check_id("dispatch_id", dispatch_id)
        request = api.runs_wire.FindDispatchRequest(dispatch_id=dispatch_id)
        what = f"dispatch {dispatch_id}: find"
        reply = await self._calls.unary(f"{_SERVICE}/FindDispatch", request, _decode_found, what)
        return reply.microgrid_id


def _requests(reports: Sequence[RunReport]) -> Iterator[list[runs_wire.RunReport]]:
    """Yield the reports of each request; an empty one if there are no reports."""
    some: list[runs_wire.RunReport] = []
    size = 0
    for report in reports:
        message = api.runs.report_to_wire(report)
        more = len(WIRE.encode(message, api.runs_wire.RunReport))
        if some and (len(some) == _REPORTS_AT_ONCE or size + more > _BYTES_AT_ONCE):
            yield some
            some, size = [], 0
        some.append(message)
        size += more
    yield some


def _decode_reported(data: bytes) -> runs_wire.ReportRunsResponse:
    return WIRE.decode(data, api.runs_wire.ReportRunsResponse)


def _decode_found(data: bytes) -> runs_wire.FindDispatchResponse:
    return WIRE.decode(data, api.runs_wire.FindDispatchResponse)
