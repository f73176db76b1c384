"""The checks of every request, and the headers of every response."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import PageError, error_response

__all__ = ["Guard", "is_secure"]

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "font", "connect", "manifest")),
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_SECURE_HEADERS: Final = {**_HEADERS, "Strict-Transport-Security": "max-age=31536000"}
_SAFE: Final = {"GET", "HEAD"}
TOKEN_HEADER: Final = "X-CSRF"  # noqa: S105 - a name
"""Scripts of other sites cannot send this header: a browser would ask first, and is refused."""


class Guard:
    """A middleware that refuses requests of other sites, and sets the security headers.

    Args:
      hosts: The names under which the page may be asked for.  Addresses and ``localhost`` are
        always allowed: only a name can be made to point to another machine (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # No lifespan is needed, and web sockets are not offered.
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        own = _HEADERS if scope["scheme"] == "http" else _SECURE_HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in own.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._check(scope)
        except PageError as exc:
            await error_response(exc)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_own(host):
            raise PageError(421, "host", f"this page is not served as {host!r}: see --web-host")
        site = headers.get("sec-fetch-site")
        if scope["method"] in _SAFE:
            # Links lead to the page, but nothing else of it may be used by other sites.
            if site not in {None, "none", "same-origin"} and scope["path"] != "/":
                raise PageError(403, "csrf", "the request comes from another site")
            return
        origin = headers.get("origin")
        # Old browsers send the origin only.
        same = site == "same-origin" if site else origin is None or _host_of(origin) == host
        if not same or TOKEN_HEADER not in headers:
            raise PageError(403, "csrf", "the request comes from another site")

    def _is_own(self, host: str) -> bool:
        if not _is_plain(host):
            return False
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name != "localhost" and name not in self._hosts:
                ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def is_secure(scope: Scope) -> bool:
    """Whether the browser uses TLS, to this server or to a proxy before it."""
    return scope["scheme"] == "https" or Headers(scope=scope).get("origin", "").startswith("https:")


def _host_of(origin: str) -> str:
    return origin.partition("://")[2]


def _is_plain(host: str) -> bool:
    return host.isascii() and host.isprintable() and not set(host) & set("/?#@\\ ")
