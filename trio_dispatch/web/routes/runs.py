"""Runs and dispatchers, as the service has recorded them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...client.errors import ServiceError
from ...client.evidence import RunFilter, latest_runs
from ...grpc import Status
from ...model.runs import ReportedState
from ...text.runs import run_record
from ..records import dispatcher_of
from ..sessions import Session
from ..site import Site, require
from .params import Params, invalid

__all__ = ["show_dispatchers", "show_runs"]

_STATES = {state.name.lower(): state for state in ReportedState}


async def show_runs(site: Site, session: Session, request: Request) -> Response:
    """Return the latest runs that pass a filter."""
    params = Params(request)
    require(session, "read", params.microgrid_id)
    states = params.texts("state")
    for state in states:
        if state not in _STATES:
            raise invalid("state", f"{state!r} is not one of {', '.join(_STATES)}")
    wanted = RunFilter(
        ids=params.integers("dispatch"),
        types=params.texts("type"),
        states=[_STATES[state] for state in states],
        components=params.integers("component"),
        dispatchers=params.texts("dispatcher"),
        start_from=params.moment("from"),
        start_to=params.moment("to"),
    )
    limit = params.integer("limit", 1, 1000, 100)
    try:
        found = await latest_runs(site.client(session), params.microgrid_id, wanted, limit)
    except ValueError as exc:
        raise invalid("", str(exc)) from None
    except ServiceError as exc:
        if exc.status is not Status.UNIMPLEMENTED:
            raise
        return JSONResponse({"recorded": False, "runs": []})
    return JSONResponse({"recorded": True, "runs": [*map(run_record, found)]})


async def show_dispatchers(site: Site, session: Session, request: Request) -> Response:
    """Return the dispatchers of a microgrid."""
    params = Params(request)
    require(session, "read", params.microgrid_id)
    try:
        found = await site.client(session).list_dispatchers(params.microgrid_id)
    except ServiceError as exc:
        if exc.status is not Status.UNIMPLEMENTED:
            raise
        return JSONResponse({"recorded": False, "dispatchers": []})
    return JSONResponse({"recorded": True, "dispatchers": [*map(dispatcher_of, found)]})
