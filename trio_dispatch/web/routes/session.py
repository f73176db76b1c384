"""Log in, log out, and what the page may know of the session."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...text.records import format_json_time
from ..guard import is_secure
from ..sessions import Session
from ..site import Site
from .params import address_of, invalid, read_body

__all__ = ["log_in", "log_out", "show"]


async def show(site: Site, request: Request) -> Response:
    """Return whether somebody is logged in, and with which rights."""
    session = site.find_session(request)
    if session is not None or site.backend.keys_required:
        return JSONResponse(_content(site, request, session))
    session = site.begin_open()
    response = JSONResponse(_content(site, request, session))
    site.set_cookie(request, response, session)
    return response


async def log_in(site: Site, request: Request) -> Response:
    """Begin a session with an API key."""
    body = await read_body(request)
    key, secret = body.get("key"), body.get("secret")
    if not isinstance(key, str) or not key:
        raise invalid("key", "required")
    if secret is not None and not isinstance(secret, str):
        raise invalid("secret", "must be a text")
    session = await site.log_in(key, secret or None, address_of(request))
    old = site.find_session(request)
    if old is not None:
        site.sessions.end(old)
    response = JSONResponse(_content(site, request, session))
    site.set_cookie(request, response, session)
    return response


async def log_out(site: Site, request: Request) -> Response:
    """End the session."""
    response = Response(status_code=204)
    site.log_out(request, response)
    return response


def _content(site: Site, request: Request, session: Session | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "signed_in": session is not None,
        "version": version("trio-dispatch"),
        "keys_required": site.backend.keys_required,
        "secure": is_secure(request.scope),
    }
    if session is None:
        return content
    info = session.info
    microgrids = site.backend.microgrids if info.microgrids is None else info.microgrids
    return content | {
        "key": {"name": info.name, "rights": sorted(info.rights)},
        "microgrids": sorted(microgrids),
        "any_microgrid": info.microgrids is None,
        "expires": format_json_time(session.expires),
        "span": site.backend.span.total_seconds(),
    }
