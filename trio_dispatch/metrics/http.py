"""Serves a few pages over HTTP, such as ``/metrics`` and ``/healthz``, to other programs."""

from __future__ import annotations

import io
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Final, TypeAlias

import trio

__all__ = ["Answer", "Pages", "serve_connection", "serve_pages"]

log = logging.getLogger("trio_dispatch.metrics")

_MAX_HEAD: Final = 16 * 1024
_TIMEOUT: Final = 10.0
_MAX_CONNECTIONS: Final = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page shows.

    Attributes:
      body: The content.
      status: The status of HTTP.
      content_type: The type of the content.
    """

    body: bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"


Pages: TypeAlias = Mapping[str, Callable[[], Awaitable[Answer]]]
"""Functions that return the answer of each path."""


async def serve_pages(pages: Pages, listeners: Sequence[trio.SocketListener]) -> None:
    """Answer requests on listeners, until cancelled.

    Each connection takes one request.  A connection is closed if its request is not complete after
    10 seconds, if the answer takes longer than that, or if 20 others are open.
    """
    limiter = trio.CapacityLimiter(_MAX_CONNECTIONS)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                limiter.acquire_on_behalf_of_nowait(stream)
            except trio.WouldBlock:
                return
            try:
                await serve_connection(pages, stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                log.debug("a connection was lost: %s", exc)
            finally:
                limiter.release_on_behalf_of(stream)

    await trio.serve_listeners(serve, [*listeners])


async def serve_connection(pages: Pages, stream: trio.abc.Stream) -> None:
    """Read a request from a stream, and answer it; nothing if it is not complete in time."""
    head = b""
    with trio.move_on_after(_TIMEOUT):
        # Only the head: a body has no meaning here.
        while b"\r\n\r\n" not in head and b"\n\n" not in head and len(head) < _MAX_HEAD:
            some = await stream.receive_some(_MAX_HEAD)
            if not some:
                return
            head += some
        request = _Request(head)
        if request.wanted is not None:
            page = pages.get(request.wanted)
            answer = Answer(f"use {', '.join(pages)}\n".encode(), 404)
            request.answer(answer if page is None else await _content(page))
        await stream.send_all(request.wfile.getvalue())


async def _content(page: Callable[[], Awaitable[Answer]]) -> Answer:
    try:
        return await page()
    except Exception:
        log.exception("a page cannot be shown")
        return Answer(b"the page cannot be shown; see the log\n", 500)


class _Request(BaseHTTPRequestHandler):
    """The standard library's parser of requests, on bytes in place of a socket.

    Attributes:
      wanted: The path; None if the request was answered with an error already.
    """

    protocol_version = "HTTP/1.1"
    server_version = "trio-dispatch"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # errors have a status line
    error_message_format = "%(message)s\n"
    error_content_type = "text/plain; charset=utf-8"
    wfile: io.BytesIO

    def __init__(self, head: bytes) -> None:
        self.rfile = io.BytesIO(head)
        self.wfile = io.BytesIO()
        self.client_address = ("", 0)
        self.wanted: str | None = None
        self.handle_one_request()

    def do_GET(self) -> None:
        self.wanted = self.path.partition("?")[0]

    do_HEAD = do_GET  # noqa: N815

    def answer(self, answer: Answer) -> None:
        """Write an answer."""
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)
