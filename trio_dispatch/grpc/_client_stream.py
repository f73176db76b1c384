"""One call on the client."""

from __future__ import annotations

import logging
import math
import platform
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, TypeVar, TypeVarTuple, cast

import trio
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.exceptions import GRPCError, ProtocolError
from h2.errors import ErrorCodes
from multidict import MultiDict

from ..clock import run_in_thread
from ._counts import CallCounts
from ._deadline import Deadline, encode_timeout
from ._framing import (
    ACCEPTED_ENCODINGS,
    COMPRESSED_AT_ONCE,
    Compression,
    frame_compressed,
    frame_message,
)
from ._hpack import never_indexed
from ._metadata import Headers, Metadata, MetadataLike, encode_metadata
from ._pool import ConnectionPool
from ._response import PENDING, Poll, Response
from ._retry import PREVIOUS_ATTEMPTS, Attempts
from ._stream import HTTP2Stream
from ._turns import used_of_turn

S = TypeVar("S")
R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = logging.getLogger(__name__)

USER_AGENT = f"grpc-python-trio-dispatch (python/{platform.python_version()})"
_ACCEPT_ENCODING = ("grpc-accept-encoding", ",".join(ACCEPTED_ENCODINGS))

# A request that the server has not looked at is repeated, at once and then with pauses.
_MAX_RETRIES = 6
_RETRY_PAUSE = 0.005
# A server's clock may be fast by so much when it finds that our deadline has passed.
_EARLY = 0.5


class ClientStream(Response[S, R], Generic[S, R]):
    """A call on a `Channel`, with the interface of grpclib's.

    An async context manager; nothing is sent before the first `send_request` or `send_message`.
    Leaving the block ends the call.  A call with a single reply waits for its status.  A stream of
    replies that was not read to its end is cancelled, and so is any call that is left with an
    exception, `trio.Cancelled` among them.  Cancelling sends RST_STREAM(CANCEL) and does not wait.

    Every method is a checkpoint, with two exceptions that can be cancelled nevertheless: other
    tasks do not run when a request with a single message is sent without waiting, and not before
    up to 16 messages that have already come were returned.  Receiving may be cancelled and tried
    again, nothing is lost.  A `send_message` that is cancelled after a part of the message was
    sent cancels the call.

    One task may send while another one receives.

    Attributes:
      method_name: As in ``/package.Service/Method``.
      compression: How the messages from here on are sent: ``"gzip"`` or ``"identity"``.  A call can
        compress only if this is ``"gzip"`` when its request is sent.
      initial_metadata, trailing_metadata: The metadata of the response, None until it has come.
      peer: The server's address and certificate, None until the request is sent.

    Raises:
      GRPCError: the call has failed; from any method, as soon as it is known.  The status is
        DEADLINE_EXCEEDED when an explicit timeout or deadline has passed.  (When the deadline of
        a cancel scope around the call passes, it is always Trio that cancels.)
    """

    def __init__(
        self,
        pool: ConnectionPool,
        counts: CallCounts,
        method_name: str,
        cardinality: Cardinality,
        request_type: type[S],
        reply_type: type[R],
        *,
        codec: CodecBase,
        status_details_codec: StatusDetailsCodecBase | None,
        deadline: float,
        metadata: MetadataLike | None,
        compression: Compression = "identity",
        attempts: Attempts | None = None,
    ) -> None:
        super().__init__(status_details_codec)
        self._pool = pool
        self._counts = counts
        self.method_name = method_name
        self._cardinality = cardinality
        self._request_type = request_type
        self._reply_type = reply_type
        self._codec = codec
        self._explicit = deadline
        self._enclosing = math.inf
        self.compression = compression
        self._request_metadata: MetadataLike | None = metadata
        self._announces_gzip = False
        self._attempts = attempts
        self._first: S | None = None
        self._retries = 0
        self._opening: trio.Event | None = None
        self._turn = 0

    @property
    def metadata(self) -> Metadata:
        """The metadata of the request; it may be changed until the request is sent."""
        if not isinstance(self._request_metadata, MultiDict):
            self._request_metadata = MultiDict(self._request_metadata or {})
        return cast(Metadata, self._request_metadata)

    @property
    def authority(self) -> str:
        """The name of the server, as in ``host:port``."""
        return self._pool.dialer.authority

    @property
    def deadline(self) -> Deadline | None:
        """The explicit deadline of the call, None without one; it may be set at any time."""
        return None if self._explicit == math.inf else Deadline.at(self._explicit)

    @deadline.setter
    def deadline(self, deadline: Deadline | None) -> None:
        self._explicit = math.inf if deadline is None else deadline.time

    async def __aenter__(self) -> ClientStream[S, R]:
        self._counts.started += 1
        if self._first is not None:
            try:
                await self.send_message(self._first)
            except BaseException as exc:
                await self.__aexit__(type(exc), exc, None)
                raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        succeeded = False
        try:
            if exc_val is None and self._status_is_wanted:
                await self._in_time(self._until, self._poll_status)
            succeeded = exc_val is None
        finally:
            if self._http2 is not None:
                self._http2.reset(ErrorCodes.CANCEL)
            if succeeded and self._attempts is not None:
                self._attempts.succeeded()
            self._counts.ended(succeeded=succeeded)

    async def send_request(self, *, end: bool = False) -> None:
        """Send the headers of the request; otherwise the first `send_message` sends them.

        Waits for a connection that admits another call.

        Args:
          end: No message follows.
        """
        if self._send_request_done:
            raise ProtocolError("the request was already sent")
        if end and not self._cardinality.client_streaming:
            raise ProtocolError("a request with a single message cannot end before it")
        await self._in_time(self._open)
        if end:
            await self._in_time(self._send, b"", True)
        else:
            self._stream_now.connection.flush()
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_message(self, message: S, *, end: bool = False) -> None:
        """Send a message, waiting while the other side does not read.

        A message to a server that has already answered with OK is dropped.

        Args:
          end: This is the last message; always true of a request with a single message.
        """
        if self._end_done:
            raise ProtocolError("the request has ended")
        payload = self._encode(message)
        if self.compression == "gzip":
            data = await self._in_time(self._compress, payload)
        else:
            data = frame_message(payload)
        if not self._cardinality.client_streaming:
            end = True
            self._request = data
        await self._in_time(self._send, data, end)
        self._counts.messages_sent += 1

    async def end(self) -> None:
        """Say that no more messages follow."""
        if not self._send_request_done:
            raise ProtocolError("the request was not sent yet")
        if self._end_done:
            raise ProtocolError("the request has ended")
        if not self._cardinality.client_streaming:
            raise ProtocolError("a request with a single message cannot end before it")
        await self._in_time(self._send, b"", True)

    async def recv_initial_metadata(self) -> None:
        """Wait for `initial_metadata`."""
        await self._in_time(self._until, self._poll_headers)

    async def recv_message(self) -> R | None:
        """The next message, None when the call has ended with OK.

        A single reply is returned when the status of the call has come, too.
        """
        poll = self._poll_next if self._cardinality.server_streaming else self._poll_reply
        payload = await self._in_time(self._until, poll)
        if payload is None:
            return None
        self._counts.messages_received += 1
        return self._decode(payload)

    async def recv_trailing_metadata(self) -> None:
        """Wait for the end of the call, and `trailing_metadata`; unread messages are dropped."""
        if self._http2 is not None and self._cardinality.server_streaming:
            self._http2.discard()
        await self._in_time(self._until, self._poll_status)

    async def cancel(self) -> None:
        """End the call at once; leaving the block then raises no error."""
        if self._http2 is None:
            raise ProtocolError("the request was not sent yet")
        self._cancel_done = True
        self._http2.reset(ErrorCodes.CANCEL)
        await trio.lowlevel.checkpoint()

    def send_on_entry(self, request: S) -> None:
        """Send this, the only request, when the block is entered."""
        self._first = request

    # Sending.

    async def _see_it_open(self) -> None:
        """Send the request's headers, or wait for the task that is sending them."""
        while not self._send_request_done:
            if self._opening is not None:
                await self._opening.wait()
                continue
            stream = self._pool.open_stream_nowait(self._request_headers)
            if stream is not None:
                self._opened(stream)
                return
            self._opening = trio.Event()
            try:
                await self._open()
            finally:
                self._opening.set()
                self._opening = None

    async def _open(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                stream = await self._pool.open_stream(self._request_headers)
            except GRPCError as error:
                if not await self._wait_to_retry(error, None):
                    raise
            else:
                self._opened(stream)
                return

    def _opened(self, stream: HTTP2Stream) -> None:
        self._http2 = stream
        self._send_request_done = True
        self.peer = stream.connection.peer

    def _request_headers(self) -> Headers:
        deadline = self._explicit
        if not self._cardinality.server_streaming:
            # The scope's deadline may still be moved during a long stream.
            self._enclosing = trio.current_effective_deadline()
            deadline = min(deadline, self._enclosing)
        dialer = self._pool.dialer
        headers = [
            (":method", "POST"),
            (":scheme", dialer.scheme),
            (":path", self.method_name),
            (":authority", dialer.authority),
            ("te", "trailers"),
            ("content-type", _content_type(self._codec)),
            ("user-agent", USER_AGENT),
            _ACCEPT_ENCODING,
        ]
        if self.compression == "gzip" or self._announces_gzip:
            self._announces_gzip = True
            headers.append(("grpc-encoding", "gzip"))
        if self._request_metadata:
            # It may contain an API key, or change with every call.
            headers += [
                never_indexed(*header) for header in encode_metadata(self._request_metadata)
            ]
        if self._attempts is not None and self._attempts.repeated:
            headers.append(never_indexed(PREVIOUS_ATTEMPTS, str(self._attempts.repeated)))
        if deadline != math.inf:
            timeout = encode_timeout(deadline - trio.current_time())
            headers.append(never_indexed("grpc-timeout", timeout))
        return headers

    async def _compress(self, payload: bytes) -> bytes:
        """The message as it is sent, compressed if the headers of the request announce it."""
        if not self._send_request_done:
            self._announces_gzip = True
        if not self._announces_gzip:
            return frame_message(payload)
        if len(payload) <= COMPRESSED_AT_ONCE:
            return frame_compressed(payload)
        return await run_in_thread(frame_compressed, payload)

    async def _send(self, data: bytes, end: bool) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._send_request_done:
            await self._see_it_open()
        self._end_done = end
        if not await self._stream_now.send_data(data, end_stream=end):
            await self._until(self._poll_over)
        # A single request is followed by waiting for the reply.
        if self._cardinality.client_streaming:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _send_again(self) -> None:
        """Repeat a request that the server has promised not to have looked at."""
        assert self._request is not None
        # A server may count ended calls a moment longer than we do.
        if self._retries:
            await trio.sleep(_RETRY_PAUSE * 2**self._retries)
        self._retries += 1
        await self._open_again()

    async def _retry(self, error: GRPCError) -> bool:
        """Repeat a request that has failed, if the policy for its method allows it."""
        stream = self._stream_now
        if self._request is None or not await self._wait_to_retry(
            error, stream.trailers or stream.headers
        ):
            return False
        stream.reset(ErrorCodes.CANCEL)
        self._forget()
        await self._open_again()
        return True

    async def _wait_to_retry(self, error: GRPCError, trailers: Headers | None) -> bool:
        """Wait until the next attempt; whether there is to be one."""
        attempts = self._attempts
        if attempts is None:
            return False
        pause = attempts.pause(error.status, trailers)
        due = trio.current_time() + (pause or 0.0)
        if pause is None or due >= min(self._explicit, trio.current_effective_deadline()):
            return False
        attempts.repeated += 1
        self._counts.repeated += 1
        log.debug("%s: attempt %d in %.3g s", self.method_name, attempts.repeated + 1, pause)
        await trio.sleep_until(due)
        return True

    async def _open_again(self) -> None:
        assert self._request is not None
        await self._open()
        self._end_done = True
        await self._stream_now.send_data(self._request, end_stream=True)

    # Receiving.

    async def _until(self, poll: Poll[T]) -> T:
        """Wait until `poll` has a result, or raises."""
        if not self._send_request_done and not self._cardinality.client_streaming:
            raise ProtocolError("the request was not sent yet")
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._send_request_done:
            await self._see_it_open()
            self._stream_now.connection.flush()
        waited = False
        while True:
            while self._stream_now.failure is not None and self._may_be_sent_again:
                await self._send_again()
            try:
                result = poll()
            except GRPCError as error:
                if self._attempts is not None and await self._retry(error):
                    continue
                if error.status is Status.DEADLINE_EXCEEDED:
                    await self._enclosing_deadline()
                raise
            if result is not PENDING:
                break
            await self._stream_now.arrival()
            waited = True
        if waited or not isinstance(result, bytes):
            self._turn = 0
        else:
            self._turn = used_of_turn(self._turn, len(result))
        if not waited and not self._turn:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return result

    # The end of the call.

    @property
    def _status_is_wanted(self) -> bool:
        return (
            self._end_done
            and not self._cancel_done
            and not self._finished
            and not self._cardinality.server_streaming
        )

    @property
    def _may_be_sent_again(self) -> bool:
        failure = self._stream_now.failure
        return (
            failure is not None
            and failure.unprocessed
            and self._request is not None
            and self._retries < _MAX_RETRIES
        )

    def _in_time(self, operation: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> Awaitable[T]:
        """An operation, to be awaited, within the explicit deadline of the call, if any."""
        if self._explicit == math.inf:
            return operation(*args)
        return self._before_the_deadline(operation, *args)

    async def _before_the_deadline(self, operation: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        # A scope for each operation: it must not stay open while the caller's block runs.
        with trio.CancelScope(deadline=self._explicit):
            return await operation(*args)
        raise GRPCError(Status.DEADLINE_EXCEEDED, "the deadline of the call has passed")

    async def _enclosing_deadline(self) -> None:
        """Let Trio cancel, if the server was first to find that the caller's deadline has passed.

        If that deadline is further away, the server has applied a deadline of its own.
        """
        if (
            self._enclosing < self._explicit
            and trio.current_effective_deadline() <= self._enclosing
            and self._enclosing - trio.current_time() < _EARLY
        ):
            await trio.sleep_until(self._enclosing)
            await trio.lowlevel.checkpoint()

    def _encode(self, message: S) -> bytes:
        try:
            return self._codec.encode(message, self._request_type)
        except Exception as exc:
            raise GRPCError(Status.INTERNAL, f"the request cannot be encoded: {exc}") from exc

    def _decode(self, payload: bytes) -> R:
        try:
            reply: R = self._codec.decode(payload, self._reply_type)
        except Exception as exc:
            raise GRPCError(Status.INTERNAL, f"the reply cannot be decoded: {exc}") from exc
        return reply


def _content_type(codec: CodecBase) -> str:
    subtype = codec.__content_subtype__
    return "application/grpc" if subtype == "proto" else f"application/grpc+{subtype}"
