"""The stream of what happens, as server-sent events."""

from __future__ import annotations

from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ... import clock
from ...text.records import format_json_time
from ..feed import encode_event
from ..server import SEND_TIMEOUT
from ..sessions import Session
from ..site import Site
from ..views import View
from .params import Params

__all__ = ["stream"]

HEARTBEAT: Final = 15.0


async def stream(site: Site, session: Session, request: Request) -> Response:
    """Return the stream of a microgrid; after a reconnect it goes on where it ended."""
    view = await site.view(session, Params(request).microgrid_id)
    return _EventStream(site, session, view, request.headers.get("last-event-id", ""))


class _EventStream(Response):
    """Sends the messages of a view, until the page is gone or must not see more.

    A page that reads slowly gets a ``reset`` instead of the messages that it missed; one that does
    not read at all is disconnected.
    """

    def __init__(self, site: Site, session: Session, view: View, last_id: str) -> None:
        super().__init__(media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._site = site
        self._session = session
        self._view = view
        number = view.feed.number_of(last_id)
        self._resumed = number is not None and view.feed.after(number) is not None
        self._number = number if number is not None and self._resumed else view.feed.last
        self._reason: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await _send_body(send, b"", more=False)
            return
        with self._view.reading():
            async with trio.open_nursery() as nursery:
                for event, reason in (
                    (self._site.stopping, "stopping"),
                    (self._session.ended, "signed_out"),
                    (self._view.closed, "forbidden"),
                ):
                    nursery.start_soon(self._end, nursery.cancel_scope, event, reason)
                nursery.start_soon(_wait_disconnected, nursery.cancel_scope, receive)
                await self._send_messages(send)
        if self._reason is not None:
            await _send_body(send, encode_event("end", {"reason": self._reason}), more=False)

    async def _end(self, scope: trio.CancelScope, event: trio.Event, reason: str) -> None:
        await event.wait()
        self._reason = self._reason or reason
        scope.cancel()

    async def _send_messages(self, send: Send) -> None:
        feed = self._view.feed
        hello = {
            "version": self._number,
            "resumed": self._resumed,
            "now": format_json_time(clock.now()),
            "sync": self._view.sync(),
        }
        head = encode_event("hello", hello, feed.id_of(self._number))
        await _send_body(send, b"retry: 1000\n\n" + head)
        while True:
            messages, self._number = feed.after(self._number), feed.last
            if messages is None:
                reset = {"version": self._number}
                await _send_body(send, encode_event("reset", reset, feed.id_of(self._number)))
            elif messages:
                await _send_body(send, b"".join(messages))
            with trio.move_on_after(HEARTBEAT) as beat:
                await feed.wait(self._number)
            if beat.cancelled_caught:
                # An open page uses its session.
                self._site.sessions.find(self._session.id)
                await _send_body(send, b": ping\n\n")


async def _wait_disconnected(scope: trio.CancelScope, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _send_body(send: Send, data: bytes, *, more: bool = True) -> None:
    """Send data.

    Raises:
      trio.TooSlowError: the page does not read.
    """
    with trio.fail_after(SEND_TIMEOUT):
        await send({"type": "http.response.body", "body": data, "more_body": more})
