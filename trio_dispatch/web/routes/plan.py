"""The plan: planned and reported runs to draw."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta
from functools import partial
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import Response

from ... import clock
from ...client.evidence import RunFilter, latest_runs
from ...model.runs import ReportedRun, ReportedState
from ...timeline.grouping import By, Grouping
from ..plan import PlanQuery, encode_plan
from ..sessions import Session
from ..site import Site
from ..views import View
from .params import Params, invalid

__all__ = ["show"]

_MAX_RUNS: Final = 3000
_LONGEST: Final = timedelta(days=3660)
_DAY: Final = timedelta(days=1)
_COARSE, _FINE = 300, 4000
"""The least and the greatest number of resolutions that the time has."""


async def show(site: Site, session: Session, request: Request) -> Response:
    """Return the plan for a time."""
    params = Params(request)
    query = _query(params)
    view = await site.view(session, params.microgrid_id)
    plain, packed = await view.plans.get(query, partial(_compute, site, session, view, query))
    accepted = request.headers.get("accept-encoding", "")
    headers = {"Vary": "Accept-Encoding"}
    if "gzip" in accepted:
        headers["Content-Encoding"] = "gzip"
        return Response(packed, headers=headers, media_type="application/json")
    return Response(plain, headers=headers, media_type="application/json")


def _query(params: Params) -> PlanQuery:
    begin, end = params.moment("from"), params.moment("to")
    if begin is None or end is None:
        raise invalid("from" if begin is None else "to", "required")
    if not timedelta() < end - begin <= _LONGEST:
        raise invalid("to", "must be after from, by ten years at most")
    span = end - begin
    millis = params.integer("resolution", 0, 10**13, span // timedelta(milliseconds=_COARSE))
    return PlanQuery(
        begin=begin,
        end=end,
        resolution=max(timedelta(milliseconds=millis), span / _FINE),
        by=cast("By", params.choice("by", "component", "type", "target")),
        types=frozenset(params.texts("type")),
        height=params.text("height"),
        actual=params.flag("actual") is not False,
    )


async def _compute(
    site: Site, session: Session, view: View, query: PlanQuery
) -> tuple[bytes, bytes]:
    now = clock.now()
    version = view.feed.last
    runs: list[ReportedRun] = []
    if query.actual and view.records_runs:
        runs = await _runs(site, session, view.microgrid_id, query, now)
    components = site.backend.components
    grouping = Grouping.by_component(components) if query.by == "component" else Grouping(query.by)
    more = {"version": version, "recorded": view.records_runs}
    return await clock.run_in_thread(
        _encode,
        query,
        now,
        view.dispatches,
        runs,
        grouping,
        more,
        view.plans.memory(query),
        limiter=view.plans.limiter,
    )


def _encode(*args: object) -> tuple[bytes, bytes]:
    plain = encode_plan(*args)  # type: ignore[arg-type]
    return plain, gzip.compress(plain, 1)


async def _runs(
    site: Site, session: Session, microgrid_id: int, query: PlanQuery, now: datetime
) -> list[ReportedRun]:
    """Return what was reported for the time, and what had begun before and lasts."""
    if query.begin > now + _DAY:
        return []
    client, types = site.client(session), sorted(query.types)
    since = query.begin - min(_DAY, query.end - query.begin)
    wanted = RunFilter(types=types, start_from=since, start_to=query.end)
    lasting = RunFilter(types=types, states=[ReportedState.RUNNING], start_to=since)
    return [
        *await latest_runs(client, microgrid_id, wanted, _MAX_RUNS),
        *await latest_runs(client, microgrid_id, lasting, _MAX_RUNS),
    ]
