"""The server's end of a connection."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import grpclib.const
import trio
from grpclib.const import Status
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.exceptions import GRPCError
from h2 import events
from h2.errors import ErrorCodes

from ._connection import Connection
from ._deadline import decode_timeout
from ._framing import ACCEPTED_ENCODINGS
from ._http2 import HTTP2
from ._limits import Allowance, Limits
from ._metadata import Headers, text_headers
from ._server_stream import ServerStream, enter_call
from ._status import Failure, grpc_error_in, is_grpc, status_headers
from ._stream import HTTP2Stream

log = logging.getLogger(__name__)

Proceed: TypeAlias = Callable[[], Awaitable[None]]
Interceptor: TypeAlias = Callable[[ServerStream[Any, Any], Proceed], Awaitable[None]]


@dataclass(frozen=True)
class Service:
    """What a server serves, and how: the same on all of its connections."""

    methods: Mapping[str, grpclib.const.Handler]
    interceptors: Sequence[Interceptor]
    codec: CodecBase
    status_details_codec: StatusDetailsCodecBase | None
    max_message_size: int
    limits: Limits
    keepalive_interval: float | None
    keepalive_timeout: float


class CallCounts:
    """How the calls of a server have gone."""

    def __init__(self) -> None:
        self.started = 0
        self.succeeded = 0
        self.failed = 0
        self.refused = 0


class ServerConnection(Connection):
    """A connection on which the other side makes the calls.

    Each call is served by a task in a nursery of `run`.  When the client breaks one of the limits,
    the connection ends with ENHANCE_YOUR_CALM.
    """

    client_side: ClassVar = False

    def __init__(self, transport: trio.abc.Stream, service: Service, counts: CallCounts) -> None:
        limits = service.limits
        super().__init__(
            transport,
            HTTP2(
                client_side=False,
                max_streams=limits.concurrent_streams,
                max_header_list_size=limits.header_list_size,
            ),
            max_message_size=service.max_message_size,
            handshake_timeout=limits.handshake_timeout,
            keepalive_interval=service.keepalive_interval,
            keepalive_timeout=service.keepalive_timeout,
        )
        self.calls: set[HTTP2Stream] = set()
        self._service = service
        self._counts = counts
        self._nursery: trio.Nursery
        self._grace_until = math.inf
        self._resets = Allowance(limits.resets)
        empty = Allowance(limits.empty_frames)
        self._allowances: dict[type[events.Event], tuple[str, Allowance]] = {
            events.StreamReset: ("resets", self._resets),
            events.PingReceived: ("pings", Allowance(limits.pings)),
            events.RemoteSettingsChanged: ("settings", Allowance(limits.settings)),
            events.DataReceived: ("empty frames", empty),
            events.PriorityUpdated: ("empty frames", empty),
            events.UnknownFrameReceived: ("empty frames", empty),
        }

    async def run(self) -> None:
        """Serve the client's calls until the connection is over and all handlers have ended."""
        async with trio.open_nursery() as self._nursery:
            await super().run()
            self._nursery.cancel_scope.cancel()

    def stop(self, deadline: float) -> None:
        """Take no more calls; those that run are cancelled at the deadline."""
        self._grace_until = min(self._grace_until, deadline)
        for stream in self.calls:
            if stream.scope is not None:
                stream.scope.deadline = min(stream.scope.deadline, deadline)
        self.drain(self.h2.highest_inbound_stream_id)
        self.give_up_at(deadline)

    # What the client does.

    def _count(self, event: events.Event) -> None:
        limited = self._allowances.get(type(event))
        if limited is None:
            return
        if isinstance(event, events.DataReceived) and (event.data or event.stream_ended):
            return
        what, allowance = limited
        if not allowance.spend():
            self._enough(what)

    def _enough(self, what: str) -> None:
        if self.failure is None:
            log.warning("%s sent too many %s, the connection is cut", self.peer.addr(), what)
            failure = Failure(Status.UNAVAILABLE, f"too_many_{what.replace(' ', '_')}")
            self.close(failure, code=ErrorCodes.ENHANCE_YOUR_CALM)

    def _request_received(self, event: events.RequestReceived) -> None:
        stream = self.streams[event.stream_id] = HTTP2Stream(self, event.stream_id)
        # A handler that still runs counts, whatever has become of its stream: otherwise a client
        # could have any number of them by resetting one call after the other.
        if self.draining or len(self.calls) >= self._service.limits.concurrent_streams:
            self._counts.refused += 1
            self.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            if not self.draining and not self._resets.spend():
                self._enough("calls at a time")
            return
        self.calls.add(stream)
        self._nursery.start_soon(self._serve, stream, text_headers(event.headers))

    def _goaway_received(self, event: events.ConnectionTerminated) -> None:
        """The client makes no more calls; it waits for the ones that it has made."""
        self.draining = True
        self._close_if_drained()

    # One call, from its headers to its trailers.

    async def _serve(self, stream: HTTP2Stream, headers: Headers) -> None:
        counts, succeeded = self._counts, False
        counts.started += 1
        try:
            method, response = self._accept(stream, headers)
            if method is None:
                await stream.send_headers(response, end_stream=True)
            else:
                succeeded = await self._handle(stream, headers, method)
            stream.reset(ErrorCodes.NO_ERROR)
        finally:
            self.calls.discard(stream)
            if succeeded:
                counts.succeeded += 1
            else:
                counts.failed += 1

    def _accept(
        self, stream: HTTP2Stream, headers: Headers
    ) -> tuple[grpclib.const.Handler | None, Headers]:
        """The method that the request is for, or the response that refuses it."""
        fields = dict(headers)
        if fields.get(":method") != "POST":
            return None, [(":status", "405")]
        content_type = fields.get("content-type", "")
        subtype = content_type.partition(";")[0].partition("+")[2]
        if not is_grpc(content_type) or subtype not in {
            "",
            self._service.codec.__content_subtype__,
        }:
            message = f"the content-type {content_type!r} is not served here"
            return None, [(":status", "415"), *status_headers(Status.UNKNOWN, message, None, None)]
        method = self._service.methods.get(fields.get(":path", ""))
        if method is None:
            message = f"there is no method {fields.get(':path')}"
            return None, _refusal(content_type, Status.UNIMPLEMENTED, message)
        encoding = fields.get("grpc-encoding", "identity")
        if encoding not in ACCEPTED_ENCODINGS:
            message = f"the grpc-encoding {encoding!r} is not supported"
            return None, _refusal(content_type, Status.UNIMPLEMENTED, message)
        stream.messages.encoding = encoding
        try:
            decode_timeout(headers)
        except ValueError as exc:
            return None, _refusal(content_type, Status.INTERNAL, str(exc))
        return method, []

    async def _handle(
        self, stream: HTTP2Stream, headers: Headers, method: grpclib.const.Handler
    ) -> bool:
        """Run the handler and tell the client how it ended; whether it ended well."""
        timeout = decode_timeout(headers)
        deadline = math.inf if timeout is None else trio.current_time() + timeout
        call: ServerStream[Any, Any] = ServerStream(
            stream,
            headers,
            method,
            deadline=None if timeout is None else deadline,
            codec=self._service.codec,
            status_details_codec=self._service.status_details_codec,
        )
        enter_call(call)
        stream.scope = trio.CancelScope(deadline=min(deadline, self._grace_until))
        if stream.failure is not None:
            stream.scope.cancel()
        error: Exception | None = None
        try:
            with stream.scope:
                await self._proceed(call, method, 0)
        except Exception as exc:  # noqa: BLE001 - what a handler raises is not to hurt other calls
            error = exc
        except BaseExceptionGroup as group:
            # What is not an error of the handler goes on, `Cancelled` above all.
            errors, others = group.split(Exception)
            if errors is not None:
                log.error(  # noqa: TRY400 - of the group, only these are errors
                    "%s failed while it was cancelled", call.method_name, exc_info=errors
                )
            assert others is not None
            raise others from None
        if stream.scope.cancelled_caught and error is None:
            error = self._why_cancelled(stream, deadline)
        return await self._finish(call, stream, error)

    async def _proceed(
        self, call: ServerStream[Any, Any], method: grpclib.const.Handler, index: int
    ) -> None:
        """Pass the call through the interceptors from this one on, then to the handler."""
        interceptors = self._service.interceptors
        if index == len(interceptors):
            await method.func(call)
        else:
            await interceptors[index](call, lambda: self._proceed(call, method, index + 1))

    def _why_cancelled(self, stream: HTTP2Stream, deadline: float) -> GRPCError:
        if stream.failure is not None:
            return stream.failure.error()
        if trio.current_time() >= deadline:
            return GRPCError(Status.DEADLINE_EXCEEDED, "the deadline of the call has passed")
        return GRPCError(Status.UNAVAILABLE, "the server is shutting down")

    async def _finish(
        self, call: ServerStream[Any, Any], stream: HTTP2Stream, error: Exception | None
    ) -> bool:
        refusal = None if error is None else grpc_error_in(error)
        if error is not None and refusal is None:
            log.error("%s failed", call.method_name, exc_info=error)
            refusal = GRPCError(Status.UNKNOWN, "Internal Server Error")
        if stream.failure is not None:
            log.debug("%s: %s", call.method_name, stream.failure.message)
            return False
        if call.ended:
            return refusal is None
        if refusal is None and not call.has_all_messages:
            log.error("%s returned without having sent its reply", call.method_name)
            refusal = GRPCError(Status.UNKNOWN, "Internal Server Error")
        if refusal is None:
            await call.send_trailing_metadata()
            return True
        await call.send_trailing_metadata(
            status=refusal.status, status_message=refusal.message, status_details=refusal.details
        )
        return False


def _refusal(content_type: str, status: Status, message: str) -> Headers:
    return [
        (":status", "200"),
        ("content-type", content_type),
        ("grpc-accept-encoding", ",".join(ACCEPTED_ENCODINGS)),
        *status_headers(status, message, None, None),
    ]
