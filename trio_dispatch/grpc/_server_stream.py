"""One call on the server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, Generic, NoReturn, TypeVar

import grpclib.const
import grpclib.server
import trio
from grpclib.const import Status
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.exceptions import GRPCError, ProtocolError
from h2.errors import ErrorCodes

from ..clock import run_in_thread
from ..protobuf.codec import limit_elements
from ._deadline import Deadline
from ._framing import (
    COMPRESSED_AT_ONCE,
    Compression,
    FramedMessages,
    Message,
    frame_compressed,
    frame_message,
)
from ._metadata import Headers, Metadata, MetadataLike, decode_metadata, encode_metadata
from ._peer import Peer
from ._status import Failure, status_headers
from ._stream import HTTP2Stream
from ._turns import used_of_turn

S = TypeVar("S")
R = TypeVar("R")

# Longer and compressed requests are decoded in a thread: 4 KiB may take 10 ms.
_DECODED_AT_ONCE = 4 * 1024

_current: ContextVar[ServerStream[Any, Any]] = ContextVar("trio_dispatch_grpc_call")


def current_call() -> ServerStream[Any, Any]:
    """The call that this task, or the task that started it, is handling.

    A handler of betterproto2 gets only the request; here it finds the call's metadata, deadline and
    client, and `ServerStream.send_initial_metadata`.

    Raises:
      RuntimeError: this task does not handle a call.
    """
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("current_call() works only in the handler of a call") from None


class ServerStream(grpclib.server.Stream[R, S], Generic[R, S]):
    """A call in its handler, with the interface of grpclib's.

    Each call has its own task.  It is cancelled when the call's deadline passes, when the client
    cancels the call or disconnects, and when the grace period of a stopping server ends.

    Every async method is a checkpoint, with exceptions that can be cancelled nevertheless: other
    tasks do not run when the whole request of a call with a single one has come already, when its
    single reply can be sent without waiting, and not before up to 16 messages of a stream were sent
    without waiting.  Receiving may be cancelled and tried again; a
    `send_message` that is cancelled after a part of the message was sent ends the call.

    Attributes:
      method_name: As in ``/package.Service/Method``.
      metadata: The metadata of the request.
      deadline: When the call has to end; None if the client gave no deadline.
      peer: The client's address and certificate.
      user_agent: The client's name for itself, if it gave one.
      compression: How the messages from here on are sent: ``"gzip"`` or ``"identity"``; at first as
        on the server.  A call can compress only if this is ``"gzip"`` when the headers of its
        response are sent, and if the client accepts that.
    """

    def __init__(
        self,
        stream: HTTP2Stream,
        headers: Headers,
        method: grpclib.const.Handler,
        *,
        deadline: float | None,
        codec: CodecBase,
        status_details_codec: StatusDetailsCodecBase | None,
        threads: trio.CapacityLimiter,
        compression: Compression = "identity",
    ) -> None:
        fields = dict(headers)
        self.method_name: str = fields[":path"]
        self.metadata: Metadata = decode_metadata(headers)
        self.deadline = None if deadline is None else Deadline.at(deadline)
        self.user_agent = fields.get("user-agent")
        self.peer: Peer = stream.connection.peer
        self.messages_received = 0
        self.messages_sent = 0
        self._http2 = stream
        self._cardinality = method.cardinality
        self._request_type = method.request_type
        self._reply_type = method.reply_type
        self._codec = codec
        self._status_details_codec = status_details_codec
        self._threads = threads
        self.compression = compression
        self._accepted_encodings = fields.get("grpc-accept-encoding", "")
        self._announces_gzip = False
        self._turn = 0
        self._trailing_metadata: MetadataLike = {}
        # Without parameters, which may be of any length.
        self._reply_content_type = fields["content-type"].partition(";")[0].strip()

    @property
    def max_request_size(self) -> int:
        """The greatest size of a request message in bytes.

        An interceptor may lower it, for callers that it does not trust, before it goes on.
        """
        return self._http2.messages.limit

    @max_request_size.setter
    def max_request_size(self, size: int) -> None:
        self._http2.messages.limit = size

    async def recv_message(self) -> R | None:
        """The next message of the client, None after the last one.

        Raises:
          GRPCError: the message is too long, not of the request's type, or incomplete after the
            server's `Limits.message_timeout`.  It is meant for the client: a handler lets it pass.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        stream, waited = self._http2, False
        deadline = math.inf
        while not stream.messages.ready:
            if stream.remote_ended:
                self._check_request()
                return None
            if stream.failure is not None:
                await self._failed(stream.failure)
            # A client may take its time between the messages of a stream, but not within one.
            if deadline == math.inf and (
                stream.messages.size or not self._cardinality.client_streaming
            ):
                deadline = trio.current_time() + self._message_timeout
            with trio.CancelScope(deadline=deadline) as scope:
                await stream.arrival()
            if scope.cancelled_caught:
                raise GRPCError(
                    Status.DEADLINE_EXCEEDED,
                    f"the request was not complete after {self._message_timeout:g} s",
                )
            waited = True
        received = stream.take_message()
        if not self._cardinality.client_streaming:
            stream.discard()
        # What is left of a request may tell that it is malformed.
        if not waited and (self._cardinality.client_streaming or not stream.remote_ended):
            await trio.lowlevel.cancel_shielded_checkpoint()
        self.messages_received += 1
        return await self._decode(received)

    async def _failed(self, failure: Failure) -> NoReturn:
        """Cancel the handler, or raise the failure where it is shielded.

        A task that is about to run again when its stream fails is not cancelled by that.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        raise failure.error()

    async def _decode(self, received: Message) -> R:
        limits = self._http2.limits
        try:
            message: R
            if limits is None or (
                received.encoding is None and len(received.payload) <= _DECODED_AT_ONCE
            ):
                message = self._codec.decode(received.content(), self._request_type)
            else:
                decode = partial(_decode_with_limit, limits.message_elements, self._codec)
                message = await run_in_thread(
                    decode, received, self._request_type, limiter=self._threads
                )
        except GRPCError:
            raise
        except Exception as exc:
            exc.__traceback__ = None  # It would keep the message until the call has ended.
            raise GRPCError(Status.INTERNAL, f"the request cannot be decoded: {exc}") from exc
        return message

    @property
    def _message_timeout(self) -> float:
        limits = self._http2.limits
        return math.inf if limits is None else limits.message_timeout

    async def send_initial_metadata(self, *, metadata: MetadataLike | None = None) -> None:
        """Send the headers of the response; otherwise the first message sends them.

        They tell the client that its call is being handled.
        """
        if self._send_initial_metadata_done:
            raise ProtocolError("the initial metadata was already sent")
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._http2.send_headers(
            [*self._headers_before_messages(), *encode_metadata(metadata or {})]
        )
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_message(self, message: S) -> None:
        """Send a message, waiting while the client does not read.

        Raises:
          GRPCError: the client has not read the message within the server's
            `Limits.message_timeout`, or too much is unread on its connection or on the server.
        """
        if self._send_message_done and not self._cardinality.server_streaming:
            raise ProtocolError("the only reply was already sent")
        framed = await self._framed([message])
        # The client may take long to read; what it reads is the encoded message.
        del message
        await self.send_framed(framed)

    async def send_messages(self, messages: Sequence[S]) -> None:
        """Send several messages of a streaming call together."""
        framed = await self._framed(messages)
        del messages
        await self.send_framed(framed)

    async def _framed(self, messages: Sequence[S]) -> FramedMessages:
        encode, reply_type = self._codec.encode, self._reply_type
        if self.compression == "identity":
            data = b"".join(frame_message(encode(message, reply_type)) for message in messages)
        else:
            data = await self._compress([encode(message, reply_type) for message in messages])
        return FramedMessages(data, len(messages))

    async def send_framed(self, messages: FramedMessages) -> None:
        """Send messages that were framed before, like `send_messages`, uncompressed."""
        if self._send_trailing_metadata_done:
            raise ProtocolError("the call has ended")
        await trio.lowlevel.checkpoint_if_cancelled()
        stream, headers = self._http2, None
        if not self._send_initial_metadata_done:
            headers = self._headers_before_messages()
        self._send_message_done = True
        # A single reply is sent with the status, without which it does not count: that is soon.
        streaming = self._cardinality.server_streaming
        flush = streaming and not self._turn
        sent = await stream.send_data(messages.data, headers=headers, flush=flush)
        if not sent and stream.failure is not None:
            await self._failed(stream.failure)
        self.messages_sent += messages.count
        if streaming:
            if not flush:
                stream.connection.flush_soon()
            self._turn = used_of_turn(self._turn, len(messages.data))
        if not self._turn and (streaming or not stream.remote_ended):
            await trio.lowlevel.cancel_shielded_checkpoint()

    def send_framed_nowait(self, messages: FramedMessages) -> bool:
        """Send messages of a streaming call if it need not wait; return whether they were sent.

        They are not if the client has to read first, if a task is sending on this call, and before
        the headers were sent or after the call has ended.
        """
        if not self._http2.headers_sent or self._send_trailing_metadata_done:
            return False
        if not self._http2.send_data_nowait(messages.data):
            return False
        self._send_message_done = True
        self.messages_sent += messages.count
        return True

    async def _compress(self, payloads: Sequence[bytes]) -> bytes:
        """The messages as they are sent, compressed if the client accepts that."""
        if not self._may_compress():
            return b"".join(map(frame_message, payloads))
        if sum(map(len, payloads)) <= COMPRESSED_AT_ONCE:
            return b"".join(map(frame_compressed, payloads))
        return await run_in_thread(
            lambda: b"".join(map(frame_compressed, payloads)), limiter=self._threads
        )

    def _may_compress(self) -> bool:
        """Whether messages may be compressed, which the headers of the response announce."""
        if self.compression == "gzip" and not self._send_initial_metadata_done:
            accepted = self._accepted_encodings.replace(" ", "").split(",")
            self._announces_gzip = "gzip" in accepted
        return self._announces_gzip

    def set_trailing_metadata(self, metadata: MetadataLike) -> None:
        """Set metadata that is sent with the status when the handler returns or raises."""
        self._trailing_metadata = metadata

    async def send_trailing_metadata(
        self,
        *,
        status: Status = Status.OK,
        status_message: str | None = None,
        status_details: Any = None,
        metadata: MetadataLike | None = None,
    ) -> None:
        """End the call, as returning from the handler does.

        Args:
          status_details: Bytes, or what the server's `status_details_codec` encodes.
          metadata: Sent instead of that of `set_trailing_metadata`.
        """
        if self._send_trailing_metadata_done:
            raise ProtocolError("the call has ended")
        if status is Status.OK and not self.has_all_messages:
            raise ProtocolError("a call with a single reply cannot end with OK before it is sent")
        headers = status_headers(status, status_message, status_details, self._status_details_codec)
        if metadata := metadata or self._trailing_metadata:
            headers.extend(encode_metadata(metadata))
        if not self._http2.headers_sent:
            headers = [*self._response_headers(), *headers]
        self._send_trailing_metadata_done = True
        await self._http2.send_headers(headers, end_stream=True)
        # The client may still be sending, but nothing reads its messages.
        if not self._http2.remote_ended:
            self._http2.reset(ErrorCodes.NO_ERROR)

    async def cancel(self) -> None:
        """End the call with RST_STREAM(CANCEL); what the handler returns is not sent."""
        self._cancel_done = True
        self._send_trailing_metadata_done = True
        self._http2.reset(ErrorCodes.CANCEL)
        await trio.lowlevel.checkpoint()

    # For the server.

    @property
    def ended(self) -> bool:
        """Whether the status was sent."""
        return self._send_trailing_metadata_done

    @property
    def has_all_messages(self) -> bool:
        """Whether the call may end with OK."""
        return self._cardinality.server_streaming or self._send_message_done

    def _check_request(self) -> None:
        if self._http2.messages.size:
            raise GRPCError(Status.INTERNAL, "the request ended in the middle of a message")
        if not self._cardinality.client_streaming and not self.messages_received:
            raise GRPCError(Status.INTERNAL, "the request ended without a message")

    def _response_headers(self) -> Headers:
        return [
            (":status", "200"),
            ("content-type", self._reply_content_type),
            _ACCEPT_ENCODING,
        ]

    def _headers_before_messages(self) -> Headers:
        headers = self._response_headers()
        if self._may_compress():
            headers.append(("grpc-encoding", "gzip"))
        self._send_initial_metadata_done = True
        return headers


def _decode_with_limit(
    elements: int, codec: CodecBase, received: Message, message_type: Any
) -> Any:
    with limit_elements(elements):
        return codec.decode(received.content(), message_type)


def enter_call(call: ServerStream[Any, Any]) -> None:
    """Make this the `current_call` of the task."""
    _current.set(call)


_ACCEPT_ENCODING: Final = ("grpc-accept-encoding", "identity,gzip")
