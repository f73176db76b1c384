"""The routes of the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..client.errors import ServiceError
from ..errors import DispatchError
from .errors import PageError, error_response, page_error_of
from .guard import Guard
from .routes import dispatches, events, plan, runs, session, static
from .sessions import Session
from .site import Site

__all__ = ["make_app"]

Handler: TypeAlias = Callable[[Site, Session, Request], Awaitable[Response]]


def make_app(site: Site, *, hosts: Collection[str] = ()) -> Starlette:
    """Return the ASGI application of a site.

    Args:
      hosts: The names under which the page is served, besides addresses and ``localhost``.
    """

    def signed_in(path: str, handler: Handler, method: str = "GET") -> Route:
        async def handle(request: Request) -> Response:
            return await handler(site, site.session(request), request)

        return Route(path, handle, methods=[method])

    def public(
        path: str, handler: Callable[[Site, Request], Awaitable[Response]], method: str
    ) -> Route:
        return Route(path, partial(handler, site), methods=[method])

    return Starlette(
        routes=[
            Route("/", static.index),
            Route("/favicon.ico", static.favicon),
            Route("/static/{name:path}", static.file),
            public("/api/session", session.show, "GET"),
            public("/api/login", session.log_in, "POST"),
            public("/api/logout", session.log_out, "POST"),
            signed_in("/api/plan", plan.show),
            signed_in("/api/dispatches", dispatches.show_list),
            signed_in("/api/dispatches", dispatches.create, "POST"),
            signed_in("/api/dispatches/{id}", dispatches.show),
            signed_in("/api/dispatches/{id}", dispatches.update, "PATCH"),
            signed_in("/api/dispatches/{id}", dispatches.delete, "DELETE"),
            signed_in("/api/preview", dispatches.show_preview, "POST"),
            signed_in("/api/runs", runs.show_runs),
            signed_in("/api/dispatchers", runs.show_dispatchers),
            signed_in("/api/events", events.stream),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={
            PageError: _page_error,
            ServiceError: _service_error,
            DispatchError: _dispatch_error,
            HTTPException: _http_error,
            Exception: _internal_error,
        },
    )


async def _page_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, PageError)
    return error_response(error)


async def _service_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return error_response(page_error_of(error))


async def _dispatch_error(_: Request, error: Exception) -> Response:
    return error_response(PageError(502, "unavailable", str(error)))


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "not_found" if error.status_code == 404 else "invalid"
    return error_response(PageError(error.status_code, code, error.detail))


async def _internal_error(_: Request, __: Exception) -> Response:
    # Starlette raises the error afterwards, and the server logs it.
    return error_response(PageError(500, "internal", "the server made an error, see its log"))
