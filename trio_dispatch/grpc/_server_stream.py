"""One call, as its server sees it."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final, Generic, TypeVar

import grpclib.const
import grpclib.server
import trio
from grpclib.const import Status
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.exceptions import GRPCError, ProtocolError
from h2.errors import ErrorCodes

from ._deadline import Deadline
from ._framing import frame_message
from ._metadata import Headers, Metadata, MetadataLike, decode_metadata, encode_metadata
from ._status import status_headers
from ._stream import HTTP2Stream

S = TypeVar("S")
R = TypeVar("R")

_current: ContextVar[ServerStream[Any, Any]] = ContextVar("trio_dispatch_grpc_call")


def current_call() -> ServerStream[Any, Any]:
    """The call whose handler is running, in its task or in one started by it.

    A betterproto2 handler is given only the request; this is where it finds the metadata of the
    call, its deadline, its client, and `ServerStream.send_initial_metadata`.

    Raises:
      RuntimeError: no handler is running here.
    """
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("current_call() is for the handler of a call") from None


class ServerStream(grpclib.server.Stream[R, S], Generic[R, S]):
    """A call that a handler is serving, with the interface of grpclib's.

    The handler runs in a task of its own, which is cancelled when the call's deadline passes, when
    its client cancels it or is gone, and when the grace period of a stopping server is over.

    Every method is a checkpoint. Receiving may be cancelled and tried again; a `send_message` that
    is cancelled when a part of the message is on its way ends the call.

    Attributes:
      method_name: As in ``/package.Service/Method``.
      metadata: What the client sent along with the request.
      deadline: When the call has to be over, None if it may take its time.
      peer: The client's address and certificate.
      user_agent: What the client says that it is.
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
    ) -> None:
        fields = dict(headers)
        self.method_name: str = fields[":path"]
        self.metadata: Metadata = decode_metadata(headers)
        self.deadline = None if deadline is None else Deadline.at(deadline)
        self.user_agent = fields.get("user-agent")
        self.peer = stream.connection.peer
        self.messages_received = 0
        self.messages_sent = 0
        self._http2 = stream
        self._cardinality = method.cardinality
        self._request_type = method.request_type
        self._reply_type = method.reply_type
        self._codec = codec
        self._status_details_codec = status_details_codec
        self._reply_content_type = fields["content-type"]

    async def recv_message(self) -> R | None:
        """The next message of the client, None when it has sent its last.

        Raises:
          GRPCError: the message is too long, or no message of the request's type.  It is for the
            client: a handler lets it pass.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        stream, waited = self._http2, False
        while not stream.messages.ready:
            if stream.remote_ended:
                self._check_request()
                return None
            if stream.failure is not None:
                raise stream.failure.error()
            await stream.arrival()
            waited = True
        payload = stream.take_message()
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        self.messages_received += 1
        try:
            message: R = self._codec.decode(payload, self._request_type)
        except Exception as exc:
            raise GRPCError(Status.INTERNAL, f"the request cannot be decoded: {exc}") from exc
        return message

    async def send_initial_metadata(self, *, metadata: MetadataLike | None = None) -> None:
        """Send the headers of the response, before the first message does it.

        The client then knows that its call has been taken up.
        """
        if self._send_initial_metadata_done:
            raise ProtocolError("the initial metadata was sent already")
        await trio.lowlevel.checkpoint_if_cancelled()
        self._send_initial_metadata_done = True
        await self._http2.send_headers(
            [*self._response_headers(), *encode_metadata(metadata or {})]
        )
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_message(self, message: S) -> None:
        """Send a message, waiting while the client does not read."""
        if self._send_message_done and not self._cardinality.server_streaming:
            raise ProtocolError("the one message was sent already")
        await self.send_messages([message])

    async def send_messages(self, messages: Sequence[S]) -> None:
        """Send several messages of a streaming call together, with a single checkpoint."""
        if self._send_trailing_metadata_done:
            raise ProtocolError("the call has ended")
        encode, reply_type = self._codec.encode, self._reply_type
        data = b"".join(frame_message(encode(message, reply_type)) for message in messages)
        await trio.lowlevel.checkpoint_if_cancelled()
        stream = self._http2
        if not self._send_initial_metadata_done:
            self._send_initial_metadata_done = True
            await stream.send_headers(self._response_headers(), flush=False)
        self._send_message_done = True
        # A single reply goes with the status, without which it does not count.
        flush = self._cardinality.server_streaming
        if not await stream.send_data(data, flush=flush) and stream.failure is not None:
            raise stream.failure.error()
        self.messages_sent += len(messages)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_trailing_metadata(
        self,
        *,
        status: Status = Status.OK,
        status_message: str | None = None,
        status_details: Any = None,
        metadata: MetadataLike | None = None,
    ) -> None:
        """End the call, as returning from the handler does, but with metadata.

        Args:
          status_details: Bytes, or what the server's `status_details_codec` encodes.
        """
        if self._send_trailing_metadata_done:
            raise ProtocolError("the call has ended")
        if status is Status.OK and not self.has_all_messages:
            raise ProtocolError("a call with a single reply cannot end with OK without it")
        headers = status_headers(status, status_message, status_details, self._status_details_codec)
        headers.extend(encode_metadata(metadata or {}))
        if not self._send_initial_metadata_done:
            headers = [*self._response_headers(), *headers]
        self._send_trailing_metadata_done = True
        await self._http2.send_headers(headers, end_stream=True)
        # The request may go on for ever, but nobody listens any more.
        if not self._http2.remote_ended:
            self._http2.reset(ErrorCodes.NO_ERROR)

    async def cancel(self) -> None:
        """End the call with RST_STREAM(CANCEL); what the handler returns is for nobody."""
        self._cancel_done = True
        self._send_trailing_metadata_done = True
        self._http2.reset(ErrorCodes.CANCEL)
        await trio.lowlevel.checkpoint()

    # For the server.

    @property
    def ended(self) -> bool:
        """Whether the client has been told how the call ended."""
        return self._send_trailing_metadata_done

    @property
    def has_all_messages(self) -> bool:
        """Whether the call may end with OK."""
        return self._cardinality.server_streaming or self._send_message_done

    def _check_request(self) -> None:
        if len(self._http2.messages):
            raise GRPCError(Status.INTERNAL, "the request ended in the middle of a message")
        if not self._cardinality.client_streaming and not self.messages_received:
            raise GRPCError(Status.INTERNAL, "the request ended without a message")

    def _response_headers(self) -> Headers:
        return [
            (":status", "200"),
            ("content-type", self._reply_content_type),
            _ACCEPT_ENCODING,
        ]


def enter_call(call: ServerStream[Any, Any]) -> None:
    """Make it the `current_call` of this task."""
    _current.set(call)


_ACCEPT_ENCODING: Final = ("grpc-accept-encoding", "identity,gzip")
