"""The server's end of a connection."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import trio
from grpclib.const import Status
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.exceptions import GRPCError
from h2 import events
from h2.errors import ErrorCodes
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from ..concurrency.token_bucket import TokenBucket
from ._budget import Budget
from ._connection import Connection
from ._counts import CallCounts
from ._deadline import decode_timeout
from ._framing import ACCEPTED_ENCODINGS, Compression
from ._headers import MalformedError, check_request
from ._http2 import HTTP2
from ._interceptors import Proceed
from ._limits import Limits
from ._metadata import Headers
from ._server_stream import ServerStream, enter_call
from ._servicers import GenericRpcHandler, find_method
from ._services import Method
from ._status import Failure, grpc_error_in, is_grpc, printable, status_headers
from ._stream import HTTP2Stream, StreamLimits
from ._turns import Pace, Turns

log = logging.getLogger(__name__)

Interceptor: TypeAlias = Callable[[ServerStream[Any, Any], Proceed], Awaitable[None]]

# What a client may send of each request before the request is admitted.
STREAM_WINDOW = 64 * 1024
# The part of a server's budgets that one connection may use.
_SHARE = 4
# Calls that each connection may make when the server has too many.
_SPARE_CALLS = 5
_SMALL = 256
# Seconds per second that a connection may wait for the pace.
_WAITING = 0.2
# A call that is reset takes as much time as so many small frames.
_RESET_COST = 5


@dataclass(frozen=True)
class Service:
    """What a server serves, and how: shared by all of its connections."""

    methods: dict[str, Method]
    generic_handlers: list[GenericRpcHandler]
    interceptors: Sequence[Interceptor]
    codec: CodecBase
    status_details_codec: StatusDetailsCodecBase | None
    max_message_size: int
    limits: Limits
    keepalive_interval: float
    keepalive_timeout: float
    unfinished_requests: Budget
    unread_replies: Budget
    compression: Compression
    #: Long messages are decoded and compressed in a thread, one after the other.
    threads: trio.CapacityLimiter
    counts: CallCounts
    connections: set[ServerConnection]
    #: Calls whose first message is not complete.
    unfinished: set[HTTP2Stream]
    #: Time for what well-behaved clients do rarely.
    pace: Pace
    turns: Turns

    def method(self, name: str) -> Method | None:
        """The method with this full name, None if it is unknown."""
        found = self.methods.get(name)
        if found is None and self.generic_handlers:
            try:
                return find_method(self.generic_handlers, name)
            except Exception:
                log.exception("a generic handler failed to find the method %s", printable(name))
        return found

    def stream_limits(self) -> StreamLimits:
        """The limits on the streams of one connection."""
        return StreamLimits(
            unfinished_requests=self.unfinished_requests.part(_SHARE),
            unread_replies=self.unread_replies.part(_SHARE, soft=True),
            message_timeout=self.limits.message_timeout,
            message_elements=self.limits.message_elements,
        )


class ServerConnection(Connection):
    """A connection on which the other side makes the calls.

    Each call is served by a task in a nursery of `run`.  When the client exceeds one of the limits,
    the connection ends with ENHANCE_YOUR_CALM.
    """

    def __init__(self, transport: trio.abc.Stream, service: Service) -> None:
        limits = service.limits
        super().__init__(
            transport,
            HTTP2(
                client_side=False,
                stream_window=STREAM_WINDOW,
                max_streams=limits.concurrent_streams,
                max_header_list_size=limits.header_list_size,
            ),
            max_message_size=service.max_message_size,
            handshake_timeout=limits.handshake_timeout,
            keepalive_interval=service.keepalive_interval,
            keepalive_timeout=service.keepalive_timeout,
            write_timeout=limits.message_timeout,
        )
        #: The calls with a running handler, whatever has become of their streams.
        self.calls: set[HTTP2Stream] = set()
        self._service = service
        self._stream_limits = service.stream_limits()
        self._nursery: trio.Nursery
        self._grace_until = math.inf
        self._cost = 0
        self._free = TokenBucket(limits.free_work)
        self._waiting = TokenBucket(_WAITING)
        self._resets = TokenBucket(limits.resets)
        self._window_updates_received = 0
        self._empty_frames = TokenBucket(limits.empty_frames)
        self._small_frames = TokenBucket(limits.small_frames)
        settings = TokenBucket(limits.settings)
        self._buckets: dict[type[Frame], tuple[str, TokenBucket]] = {
            RstStreamFrame: ("resets", self._resets),
            PingFrame: ("pings", TokenBucket(limits.pings)),
            SettingsFrame: ("settings", settings),
            GoAwayFrame: ("goaways", settings),
            WindowUpdateFrame: ("window updates", TokenBucket(limits.window_updates)),
        }

    async def run(self) -> None:
        """Serve the client's calls until the connection and all handlers have ended."""
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

    # Limits.

    async def _turn(self) -> int:
        if self._cost:
            delay = self._service.pace.delay(self._cost)
            self._cost = 0
            if delay > 0:
                if not self._waiting.spend(delay):
                    self._cut_off("frames without use")
                    return 0
                await trio.sleep(delay)
        return await self._service.turns.wait()

    def _turn_ended(self, frames: int) -> None:
        self._service.turns.used(frames)

    def _spend(self, what: str, bucket: TokenBucket, cost: int = 1) -> None:
        """Count something that well-behaved clients do rarely."""
        if not self._free.spend(cost):
            self._cost += cost
        if not bucket.spend():
            self._cut_off(what)

    def _count(self, frame: Frame) -> None:
        if isinstance(frame, HeadersFrame):  # its call counts, if it is refused or reset
            return
        if isinstance(frame, DataFrame):
            if frame.stream_id not in self.streams and len(frame.data) < _SMALL:
                self._spend("small frames", self._small_frames)
                return
            if frame.data or "END_STREAM" in frame.flags:
                return
        elif (
            isinstance(frame, WindowUpdateFrame)
            # A client that reads sends two for each DATA frame; C-core sends one more, when it has
            # read the length of a message.
            and self._window_updates_received < 3 * self.h2.data_frames_sent
        ):
            self._window_updates_received += 1
            return
        what, bucket = self._buckets.get(type(frame), ("empty frames", self._empty_frames))
        self._spend(what, bucket, _RESET_COST if bucket is self._resets else 1)

    def _take_data(self, stream_id: int, data: bytes, size: int, *, ended: bool) -> None:
        super()._take_data(stream_id, data, size, ended=ended)
        stream = self.streams.get(stream_id)
        if stream is not None and (ended or stream.messages.ready):
            self._service.unfinished.discard(stream)
        elif 0 < len(data) < _SMALL and not ended and (stream is None or stream.messages.size != 5):
            self._spend("small frames", self._small_frames)

    def _end_received(self, stream_id: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._service.unfinished.discard(stream)
        super()._end_received(stream_id)

    def _reset_received(self, event: events.StreamReset) -> None:
        super()._reset_received(event)
        if not event.remote_reset:
            self._spend("resets", self._resets, _RESET_COST)

    def _malformed(self, stream: HTTP2Stream, exc: MalformedError) -> None:
        super()._malformed(stream, exc)
        self._spend("malformed messages", self._resets, _RESET_COST)

    def _cut_off(self, what: str) -> None:
        if self.failure is None:
            log.warning("%s sent too many %s: connection closed", self.peer.addr(), what)
            failure = Failure(Status.UNAVAILABLE, f"too_many_{what.replace(' ', '_')}")
            self.close(failure, code=ErrorCodes.ENHANCE_YOUR_CALM)

    # Calls begin.

    def _request_received(self, event: events.RequestReceived) -> None:
        stream = self.streams[event.stream_id] = HTTP2Stream(self, event.stream_id)
        try:
            headers = self._checked(event.headers, check_request)
        except MalformedError as exc:
            self._malformed(stream, exc)
            return
        # A handler that still runs counts, whatever has become of its stream: otherwise a client
        # could have any number of them by resetting one call after the other.
        if self.draining or len(self.calls) >= self._max_calls:
            self._service.counts.refused += 1
            self.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            if not self.draining:
                self._spend("calls at a time", self._resets, _RESET_COST)
            return
        stream.limits = self._stream_limits
        self.calls.add(stream)
        if not stream.remote_ended:
            self._service.unfinished.add(stream)
        self._service.counts.started += 1
        self._nursery.start_soon(self._serve, stream, headers)

    @property
    def _max_calls(self) -> int:
        service = self._service
        if (
            service.counts.running < service.limits.calls
            and len(service.unfinished) < service.limits.unfinished_calls
        ):
            return service.limits.concurrent_streams
        return min(_SPARE_CALLS, service.limits.concurrent_streams)

    def _goaway_received(self, event: events.ConnectionTerminated) -> None:
        """The client makes no more calls; it waits for the ones that it has made."""
        self.draining = True
        self._close_if_drained()

    # One call, from its headers to its trailers.

    async def _serve(self, stream: HTTP2Stream, headers: Headers) -> None:
        counts, succeeded = self._service.counts, False
        try:
            if stream.failure is not None:
                return
            method, response = self._accept(stream, headers)
            if method is None:
                await stream.send_headers(response, end_stream=True)
            else:
                succeeded = await self._handle(stream, headers, method)
            stream.reset(ErrorCodes.NO_ERROR)
        finally:
            self.calls.discard(stream)
            self._service.unfinished.discard(stream)
            counts.ended(succeeded=succeeded)

    def _accept(self, stream: HTTP2Stream, headers: Headers) -> tuple[Method | None, Headers]:
        """The method that the request is for, or the response that refuses it."""
        fields = dict(headers)
        if fields[":method"] != "POST":
            return None, [(":status", "405")]
        content_type = fields.get("content-type", "")
        subtype = content_type.partition(";")[0].partition("+")[2]
        if not is_grpc(content_type) or subtype not in {
            "",
            self._service.codec.__content_subtype__,
        }:
            message = f"the content-type {content_type!r} is not served here"
            return None, [(":status", "415"), *status_headers(Status.UNKNOWN, message, None, None)]
        method = self._service.method(fields[":path"])
        if method is None:
            message = f"unknown method {printable(fields[':path'])}"
            return None, _refused(Status.UNIMPLEMENTED, message)
        encoding = fields.get("grpc-encoding", "identity")
        if encoding not in ACCEPTED_ENCODINGS:
            message = f"the grpc-encoding {encoding!r} is not supported"
            return None, _refused(Status.UNIMPLEMENTED, message)
        stream.messages.encoding = encoding
        stream.messages.limit = min(method.max_request_size, stream.messages.limit)
        try:
            decode_timeout(headers)
        except ValueError as exc:
            return None, _refused(Status.INTERNAL, str(exc))
        return method, []

    async def _handle(self, stream: HTTP2Stream, headers: Headers, method: Method) -> bool:
        """Run the handler and send the status; whether the call succeeded."""
        service = self._service
        timeout = decode_timeout(headers)
        deadline = math.inf if timeout is None else trio.current_time() + timeout
        call: ServerStream[Any, Any] = ServerStream(
            stream,
            headers,
            method.handler,
            deadline=None if timeout is None else deadline,
            codec=method.codec or service.codec,
            status_details_codec=service.status_details_codec,
            threads=service.threads,
            compression=service.compression,
        )
        enter_call(call)
        stream.scope = trio.CancelScope(deadline=min(deadline, self._grace_until))
        if stream.failure is not None:
            stream.scope.cancel()
        error: Exception | None = None
        try:
            with stream.scope:
                # A client that does not read has no use for more replies.
                await stream.room()
                await self._proceed(call, method, 0)
        except Exception as exc:  # noqa: BLE001 - an error of a handler must not hurt other calls
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
        refusal = self._refusal(call, stream, error)
        # Its traceback keeps the messages, which the client may take long to make room for.
        error = None
        return await self._finish(call, stream, refusal)

    async def _proceed(self, call: ServerStream[Any, Any], method: Method, index: int) -> None:
        """Pass the call through the interceptors from this one on, then to the handler."""
        interceptors = self._service.interceptors
        if index == len(interceptors):
            await method.handler.func(call)
        else:
            await interceptors[index](call, lambda: self._proceed(call, method, index + 1))

    def _why_cancelled(self, stream: HTTP2Stream, deadline: float) -> GRPCError:
        if stream.failure is not None:
            return stream.failure.error()
        if trio.current_time() >= deadline:
            return GRPCError(Status.DEADLINE_EXCEEDED, "the deadline of the call has passed")
        return GRPCError(Status.UNAVAILABLE, "the server is shutting down")

    def _refusal(
        self, call: ServerStream[Any, Any], stream: HTTP2Stream, error: Exception | None
    ) -> GRPCError | None:
        """The status to send for what the handler raised, None for OK."""
        found = None if error is None else grpc_error_in(error)
        if found is not None:
            return GRPCError(found.status, found.message, found.details)
        if error is not None:
            log.error("%s failed", call.method_name, exc_info=error)
        elif stream.failure is not None or call.ended or call.has_all_messages:
            return None
        else:
            log.error("%s returned without having sent its reply", call.method_name)
        return GRPCError(Status.UNKNOWN, "Internal Server Error")

    async def _finish(
        self, call: ServerStream[Any, Any], stream: HTTP2Stream, refusal: GRPCError | None
    ) -> bool:
        if stream.failure is not None:
            log.debug("%s: %s", call.method_name, stream.failure.message)
            return False
        if call.ended:
            return refusal is None
        if refusal is None:
            await call.send_trailing_metadata()
            return True
        await call.send_trailing_metadata(
            status=refusal.status, status_message=refusal.message, status_details=refusal.details
        )
        return False


def _refused(status: Status, message: str) -> Headers:
    return [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-accept-encoding", ",".join(ACCEPTED_ENCODINGS)),
        *status_headers(status, message, None, None),
    ]
