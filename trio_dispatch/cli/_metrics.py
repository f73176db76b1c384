"""A page for Prometheus over HTTP/1.1: ``GET /metrics``, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

import h11
import trio
from prometheus_client import CONTENT_TYPE_LATEST

__all__ = ["serve_connection", "serve_metrics"]

log = logging.getLogger("trio_dispatch.service.metrics")

_READ_SIZE = 16 * 1024
# Who asks for metrics asks at once, and there are few of them.
_TIMEOUT = 10.0
_CONNECTIONS = 20


async def serve_metrics(text: Callable[[], bytes], listeners: list[trio.SocketListener]) -> None:
    """Answer requests for metrics on listeners, until cancelled.

    A connection that is not used for 10 seconds is closed, and so is one beyond the twentieth.

    Args:
      text: Makes what ``/metrics`` shows.
    """
    open_connections: set[trio.SocketStream] = set()

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if len(open_connections) >= _CONNECTIONS:
                return
            open_connections.add(stream)
            try:
                await serve_connection(text, stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                log.debug("a connection for metrics was lost: %s", exc)
            finally:
                open_connections.discard(stream)

    await trio.serve_listeners(serve, listeners)


async def serve_connection(text: Callable[[], bytes], stream: trio.abc.Stream) -> None:
    """Answer the requests on one connection, until it has no more of them."""
    connection = h11.Connection(h11.SERVER)
    while True:
        with trio.move_on_after(_TIMEOUT) as patience:
            await _answer(connection, text, stream)
        if patience.cancelled_caught or connection.our_state is not h11.DONE:
            return
        try:
            connection.start_next_cycle()
        except h11.LocalProtocolError:
            return  # The client has said that it will send no more.


async def _answer(
    connection: h11.Connection, text: Callable[[], bytes], stream: trio.abc.Stream
) -> None:
    """Read one request and answer it; if there is none, leave it at that."""
    try:
        request = await _request(connection, stream)
    except h11.RemoteProtocolError as exc:
        if connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await _respond(connection, stream, exc.error_status_hint, f"{exc}\n".encode())
        return
    if request is None:
        return
    respond = partial(_respond, connection, stream, head=request.method == b"HEAD")
    if request.target.partition(b"?")[0] != b"/metrics":
        await respond(404, b"there is only /metrics here\n")
    elif request.method not in {b"GET", b"HEAD"}:
        await respond(405, b"GET is all that can be done here\n", [("Allow", "GET, HEAD")])
    else:
        await respond(200, text(), content_type=CONTENT_TYPE_LATEST)


async def _request(connection: h11.Connection, stream: trio.abc.Stream) -> h11.Request | None:
    """The next request, with its body read and dropped; None if there is none."""
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_READ_SIZE)))
        elif isinstance(event, h11.Request):
            request = event
            if connection.they_are_waiting_for_100_continue:
                return request
        elif isinstance(event, h11.EndOfMessage):
            return request
        elif not isinstance(event, h11.Data):
            return None


async def _respond(
    connection: h11.Connection,
    stream: trio.abc.Stream,
    status: int,
    body: bytes,
    headers: list[tuple[str, str]] | None = None,
    *,
    content_type: str = "text/plain; charset=utf-8",
    head: bool = False,
) -> None:
    response = h11.Response(
        status_code=status,
        reason=HTTPStatus(status).phrase,
        headers=[
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            *(headers or []),
        ],
    )
    data = connection.send(response)
    assert data is not None
    if not head:
        data += connection.send(h11.Data(data=body)) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    await stream.send_all(data)
