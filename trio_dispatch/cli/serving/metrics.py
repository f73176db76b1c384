"""A page for Prometheus over HTTP: ``GET /metrics``, and nothing else."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import trio
from prometheus_client import CONTENT_TYPE_LATEST

log = logging.getLogger("trio_dispatch.service.metrics")

_MAX_HEAD = 16 * 1024
_TIMEOUT = 10.0
_MAX_CONNECTIONS = 20


async def serve_metrics(text: Callable[[], bytes], listeners: list[trio.SocketListener]) -> None:
    """Answer requests for metrics on listeners, until cancelled.

    Each connection takes one request.  A connection is closed if its request is not complete after
    10 seconds, or if 20 others are open.

    Args:
      text: Returns what ``/metrics`` shows.
    """
    limiter = trio.CapacityLimiter(_MAX_CONNECTIONS)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                limiter.acquire_on_behalf_of_nowait(stream)
            except trio.WouldBlock:
                return
            try:
                await serve_connection(text, stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                log.debug("a connection for metrics was lost: %s", exc)
            finally:
                limiter.release_on_behalf_of(stream)

    await trio.serve_listeners(serve, listeners)


async def serve_connection(text: Callable[[], bytes], stream: trio.abc.Stream) -> None:
    """Read a request from a stream, and answer it; nothing if it is not complete in time."""
    head = b""
    with trio.move_on_after(_TIMEOUT):
        # Only the head: a body has no meaning here.
        while b"\r\n\r\n" not in head and b"\n\n" not in head and len(head) < _MAX_HEAD:
            some = await stream.receive_some(_MAX_HEAD)
            if not some:
                return
            head += some
        await stream.send_all(_Request(head, text).response())


class _Request(BaseHTTPRequestHandler):
    """The standard library's parser of requests, on bytes in place of a socket."""

    protocol_version = "HTTP/1.1"
    server_version = "trio-dispatch"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # errors have a status line
    error_message_format = "%(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def __init__(self, head: bytes, text: Callable[[], bytes]) -> None:
        self.rfile = io.BytesIO(head)
        self.client_address = ("", 0)
        self._text = text

    def response(self) -> bytes:
        output = self.wfile = io.BytesIO()
        self.handle_one_request()
        return output.getvalue()

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "only /metrics is served here")
            return
        body = self._text()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)
