"""What a service has recorded about dispatches: their latest runs and changes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

from ..grpc import Status
from ..model.dispatchers import DispatcherInfo
from ..model.runs import DispatchChange, ReportedRun, ReportedState, StopReason
from .client import DispatchClient
from .errors import ServiceError

__all__ = ["Evidence", "RunFilter", "find_evidence", "latest_changes", "latest_runs"]

log = logging.getLogger("trio_dispatch.client")

_RUNS, _OTHERS, _CHANGES = 50, 500, 1000
"""The most runs, runs of others and changes that are looked at, the latest of each."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are wanted; what is empty does not restrict them."""

    ids: Sequence[int] = ()
    types: Sequence[str] = ()
    states: Sequence[ReportedState] = ()
    components: Sequence[int] = ()
    dispatchers: Sequence[str] = ()
    start_from: datetime | None = None
    start_to: datetime | None = None

    def passes(self, run: ReportedRun) -> bool:
        """Whether a run is wanted."""
        return (
            (not self.ids or run.dispatch_id in self.ids)
            and (not self.types or run.type in self.types)
            and (not self.states or run.state in self.states)
            and (not self.components or run.component in self.components)
            and (not self.dispatchers or run.dispatcher in self.dispatchers)
            and (self.start_from is None or run.start_time >= self.start_from)
            and (self.start_to is None or run.start_time < self.start_to)
        )


async def latest_runs(
    client: DispatchClient, microgrid_id: int, wanted: RunFilter, limit: int
) -> list[ReportedRun]:
    """Return the latest runs that pass a filter, the latest first.

    Runs that cannot be decoded are left out, and that is logged.

    Raises:
      ServiceError: they could not be read.
      ValueError: an item of the filter is invalid; the message names it.
    """
    found: list[ReportedRun] = []
    undecodable = 0
    pages = client.list_runs(
        microgrid_id,
        ids=wanted.ids,
        types=wanted.types,
        states=wanted.states,
        components=wanted.components,
        dispatchers=wanted.dispatchers,
        start_from=wanted.start_from,
        start_to=wanted.start_to,
        page_size=min(limit, 1000),
    )
    async with aclosing(pages):
        async for page in pages:
            found += page
            undecodable += len(page.undecodable)
            if len(found) >= limit:
                break
    if undecodable:
        log.warning("%d runs could not be decoded and are left out", undecodable)
    return found[:limit]


async def latest_changes(
    client: DispatchClient,
    microgrid_id: int,
    dispatch_id: int,
    limit: int,
    *,
    time_from: datetime | None = None,
    time_to: datetime | None = None,
) -> list[DispatchChange]:
    """Return the latest changes of a dispatch, the latest first.

    Raises:
      ServiceError: they could not be read.
    """
    found: list[DispatchChange] = []
    pages = client.list_changes(
        microgrid_id,
        ids=[dispatch_id],
        time_from=time_from,
        time_to=time_to,
        page_size=min(limit, 1000),
    )
    async with aclosing(pages):
        async for page in pages:
            found += page
            if len(found) >= limit:
                break
    return found[:limit]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about why a dispatch runs or not, for `trio_dispatch.model.explanation`.

    Attributes:
      runs: Its latest runs, the latest first.
      others: Runs of other dispatches that may have superseded it.
      changes: Its latest changes, the latest first.
      dispatchers: The dispatchers of the microgrid; None if the service does not keep runs.
    """

    runs: list[ReportedRun] = field(default_factory=list)
    others: list[ReportedRun] = field(default_factory=list)
    changes: list[DispatchChange] = field(default_factory=list)
    dispatchers: list[DispatcherInfo] | None = None


async def find_evidence(client: DispatchClient, microgrid_id: int, dispatch_id: int) -> Evidence:
    """Return what a service has recorded about a dispatch.

    Raises:
      ServiceError: it could not be read.
    """
    try:
        dispatchers = await client.list_dispatchers(microgrid_id)
    except ServiceError as exc:
        if exc.status is not Status.UNIMPLEMENTED:
            raise
        return Evidence()
    changes = await latest_changes(client, microgrid_id, dispatch_id, _CHANGES)
    runs = await latest_runs(client, microgrid_id, RunFilter(ids=[dispatch_id]), _RUNS)
    others: list[ReportedRun] = []
    superseded = [run for run in runs if run.reason is StopReason.SUPERSEDED]
    if superseded:
        wanted = RunFilter(
            components=sorted({run.component for run in superseded if run.component is not None}),
            types=sorted({run.type for run in superseded}),
        )
        others = await latest_runs(client, microgrid_id, wanted, _OTHERS)
    return Evidence(runs, others, changes, dispatchers)
