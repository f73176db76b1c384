"""Dispatches: lists, details, and their changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ... import clock
from ...client.client import DispatchClient
from ...client.errors import ServiceError
from ...client.evidence import find_evidence
from ...grpc import Status
from ...model.dispatch import Dispatch
from ...model.explanation import explain
from ...model.target import Target, TargetIds
from ...model.validation import MAX_ID
from ...text.records import format_json_time, payload_json
from ...text.rules import local_time_warning
from ...text.runs import format_reason, run_record
from ..errors import PageError
from ..forms import preview, read_changes, read_dispatch
from ..records import change_of, occurrences_of, page_record
from ..sessions import Session
from ..site import Site, require
from .params import Params, invalid, read_body, zone_of

__all__ = ["create", "delete", "show", "show_list", "show_preview", "update"]

_OCCURRENCES: Final = 10
_RUNS: Final = 20
_HISTORY: Final = 50


# Lists.


async def show_list(site: Site, session: Session, request: Request) -> Response:
    """Return the dispatches that pass a filter, a page of them."""
    params = Params(request)
    view = await site.view(session, params.microgrid_id)
    select = partial(
        _select,
        view.dispatches,
        _filter(params),
        _order(
            params.choice("sort", "id", "type", "start_time", "update_time", "next_run"),
            clock.now(),
        ),
        bool(params.flag("descending")),
        params.integer("offset", 0, 10**9, 0),
        params.integer("limit", 1, 1000, 200),
        clock.now(),
        params.zone,
    )
    content = {"version": view.feed.last, **await clock.run_in_thread(select)}
    return JSONResponse(content)


def _select(
    dispatches: Sequence[Dispatch],
    passes: Callable[[Dispatch], bool],
    order: Callable[[Dispatch], Any],
    descending: bool,
    offset: int,
    limit: int,
    now: datetime,
    zone: tzinfo,
) -> dict[str, Any]:
    matching = sorted(filter(passes, dispatches), key=order, reverse=descending)
    return {
        "total": len(dispatches),
        "matching": len(matching),
        "types": sorted({each.type for each in dispatches}),
        "dispatches": [page_record(each, now, zone) for each in matching[offset : offset + limit]],
    }


def _filter(params: Params) -> Callable[[Dispatch], bool]:
    now = clock.now()
    text, types, target = params.text("text"), {*params.texts("type")}, params.target("target")
    flags = {name: params.flag(name) for name in ("active", "dry_run", "recurring", "running")}
    asked = {name: flag for name, flag in flags.items() if flag is not None}

    def state(name: str, dispatch: Dispatch) -> bool:
        if name == "recurring":
            return dispatch.effective_recurrence is not None
        return dispatch.running_at(now) if name == "running" else bool(getattr(dispatch, name))

    def passes(dispatch: Dispatch) -> bool:
        return (
            (not types or dispatch.type in types)
            and all(state(name, dispatch) is flag for name, flag in asked.items())
            and (target is None or _meets(dispatch.target, target))
            and (text is None or _matches(dispatch, text))
        )

    return passes


def _meets(target: Target | None, wanted: Target) -> bool:
    """Whether two targets of the same kind have something in common."""
    if target is None or isinstance(target, TargetIds) is not isinstance(wanted, TargetIds):
        return False
    return not frozenset(target).isdisjoint(wanted)


def _matches(dispatch: Dispatch, text: str) -> bool:
    if text.startswith("#"):
        return str(dispatch.id) == text[1:]
    folded = text.casefold()
    return folded in dispatch.type.casefold() or folded in payload_json(dispatch).casefold()


def _order(name: str, now: datetime) -> Callable[[Dispatch], Any]:
    if name == "next_run":

        def next_run(dispatch: Dispatch) -> tuple[bool, datetime, int]:
            run = dispatch.next_run_after(now) if dispatch.active else None
            return run is None, run or now, dispatch.id

        return next_run
    return lambda dispatch: (getattr(dispatch, name), dispatch.id)


# One dispatch.


def _id(request: Request) -> int:
    text: str = request.path_params["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= MAX_ID):
        raise PageError(404, "not_found", f"there is no dispatch {text!r}")
    return int(text)


async def show(site: Site, session: Session, request: Request) -> Response:
    """Return all that is known of a dispatch: what it does, who changed it, and how it went."""
    params = Params(request)
    microgrid_id, zone, now = params.microgrid_id, params.zone, clock.now()
    require(session, "read", microgrid_id)
    client = site.client(session)
    dispatch = await client.get(microgrid_id, _id(request))
    known = await find_evidence(client, microgrid_id, dispatch.id)
    reasons = explain(
        dispatch,
        now,
        runs=known.runs,
        others=known.others,
        changes=known.changes,
        dispatchers=known.dispatchers,
    )
    return JSONResponse(
        {
            "dispatch": page_record(dispatch, now, zone),
            "occurrences": occurrences_of(dispatch, now, zone, _OCCURRENCES),
            "warning": local_time_warning(dispatch, zone, now),
            "history": [change_of(change, zone) for change in known.changes[:_HISTORY]],
            "runs": [*map(run_record, known.runs[:_RUNS])],
            "explanation": [
                format_reason(reason, now, zone, known.dispatchers or ()) for reason in reasons
            ],
            "recorded": known.dispatchers is not None,
        }
    )


async def show_preview(site: Site, session: Session, request: Request) -> Response:
    """Return what a form means, without storing it."""
    body = await read_body(request)
    count = body.get("count", _OCCURRENCES)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 100:
        raise invalid("count", "is not an integer from 1 to 100")
    return JSONResponse(
        preview(body.get("dispatch"), clock.now(), zone_of(body.get("zone")), count)
    )


# Changes.


async def create(site: Site, session: Session, request: Request) -> Response:
    """Create a dispatch."""
    params = Params(request)
    require(session, "write", params.microgrid_id)
    values = read_dispatch(await read_body(request), params.zone)
    try:
        created = await site.client(session).create(params.microgrid_id, **values)
    except ValueError as exc:
        raise invalid("", str(exc)) from None
    return JSONResponse({"dispatch": page_record(created, clock.now(), params.zone)}, 201)


async def update(site: Site, session: Session, request: Request) -> Response:
    """Change fields of a dispatch that nobody has changed meanwhile."""
    params = Params(request)
    microgrid_id, client = params.microgrid_id, site.client(session)
    require(session, "write", microgrid_id)
    body = await read_body(request)
    if unknown := body.keys() - {"expected_update_time", "changes"}:
        raise invalid(min(unknown), "unknown")
    values = read_changes(body.get("changes"), params.zone)
    id_ = _id(request)
    await _check_unchanged(client, params, id_, body.get("expected_update_time"))
    try:
        updated = await client.update(microgrid_id, id_, **values)
    except ValueError as exc:
        raise invalid("", str(exc)) from None
    return JSONResponse({"dispatch": page_record(updated, clock.now(), params.zone)})


async def delete(site: Site, session: Session, request: Request) -> Response:
    """Delete a dispatch that nobody has changed meanwhile."""
    params = Params(request)
    microgrid_id, client = params.microgrid_id, site.client(session)
    require(session, "write", microgrid_id)
    id_ = _id(request)
    await _check_unchanged(client, params, id_, params.text("expected_update_time"))
    await client.delete(microgrid_id, id_)
    return Response(status_code=204)


async def _check_unchanged(
    client: DispatchClient, params: Params, id_: int, expected: object
) -> None:
    """Check that a page knows the present content of what it changes.

    The API has no conditional update: a change by somebody else between this check and the update,
    which takes milliseconds, is not seen.

    Raises:
      PageError: the dispatch was changed or deleted; the error has its present content.
    """
    if not isinstance(expected, str):
        raise invalid("expected_update_time", "required")
    found: Dispatch | None = None
    try:
        found = await client.get(params.microgrid_id, id_)
    except ServiceError as exc:
        if exc.status is not Status.NOT_FOUND:
            raise
    if found is not None and format_json_time(found.update_time) == expected:
        return
    record = None if found is None else page_record(found, clock.now(), params.zone)
    message = "it was deleted meanwhile" if found is None else "it was changed meanwhile"
    raise PageError(409, "changed", message, more={"dispatch": record})
