"""The response of a call on the client: sync, without I/O."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError

from ._grpclib import Peer, Stream
from ._metadata import Headers, Metadata, decode_metadata
from ._status import error_of_http, status_error
from ._stream import HTTP2Stream

S = TypeVar("S")
R = TypeVar("R")
T = TypeVar("T")


class Pending(Enum):
    PENDING = "more has to come"


PENDING: Final = Pending.PENDING
Poll: TypeAlias = Callable[[], T | Literal[Pending.PENDING]]


class Response(Stream[S, R], Generic[S, R]):
    """The part of a call that evaluates what the server has sent.

    Each ``_poll_*`` evaluates one step of the response: it returns the result, or `PENDING` until
    more has come, or raises `GRPCError` if the call has failed or the response is not gRPC.
    """

    def __init__(self, status_details_codec: StatusDetailsCodecBase | None) -> None:
        self._status_details_codec = status_details_codec
        self._send_request_done = self._end_done = self._cancel_done = False
        self._recv_initial_metadata_done = self._recv_trailing_metadata_done = False
        self._trailers_only: bool | None = None
        self._initial_metadata: Metadata | None = None
        self._trailing_metadata: Metadata | None = None
        self.peer: Peer | None = None
        self._http2: HTTP2Stream | None = None
        # The request, while it may have to be sent again.
        self._request: bytes | None = None
        self._reply: bytes | None = None
        self._delivered = False
        self._finished = False

    def _forget(self) -> None:
        """Forget the response to an attempt that has failed."""
        self._recv_initial_metadata_done = self._recv_trailing_metadata_done = False
        self._trailers_only = None
        self._initial_metadata = self._trailing_metadata = None

    # Few calls look at metadata, so it is decoded when one does.

    @property
    def initial_metadata(self) -> Metadata | None:  # type: ignore[override]
        """The metadata of the response, None until it has come."""
        if self._initial_metadata is None and self._recv_initial_metadata_done:
            headers = None if self._trailers_only else self._stream_now.headers
            self._initial_metadata = decode_metadata(headers or [])
        return self._initial_metadata

    @property
    def trailing_metadata(self) -> Metadata | None:  # type: ignore[override]
        """The metadata of the status, None until it has come."""
        if self._trailing_metadata is None and self._recv_trailing_metadata_done:
            self._trailing_metadata = decode_metadata(self._trailers or [])
        return self._trailing_metadata

    @property
    def _trailers(self) -> Headers | None:
        stream = self._stream_now
        return stream.headers if self._trailers_only else stream.trailers

    @property
    def _stream_now(self) -> HTTP2Stream:
        assert self._http2 is not None
        return self._http2

    def _poll_headers(self) -> Literal[Pending.PENDING] | None:
        if self._recv_initial_metadata_done:
            return None
        stream = self._stream_now
        if stream.headers is None:
            if stream.remote_ended:
                raise GRPCError(Status.INTERNAL, "the stream ended without a response")
            self._raise_failure()
            return PENDING
        headers = dict(stream.headers)
        if "grpc-status" in headers:
            self._trailers_only = True
        else:
            error = error_of_http(headers)
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # its traceback refers to this frame
            # From here on, another attempt might have another reply.
            self._request = None
            stream.messages.encoding = headers.get("grpc-encoding", "identity")
        self._recv_initial_metadata_done = True
        return None

    def _poll_next(self) -> bytes | Literal[Pending.PENDING] | None:
        if not self._recv_initial_metadata_done and self._poll_headers() is PENDING:
            return PENDING
        stream = self._stream_now
        if stream.messages.ready:
            return stream.take_message().content()
        return self._poll_status()

    def _poll_reply(self) -> bytes | Literal[Pending.PENDING] | None:
        if self._poll_headers() is PENDING:
            return PENDING
        if self._delivered:
            return None
        stream = self._stream_now
        while stream.messages.ready:
            if self._reply is not None:
                raise GRPCError(Status.INTERNAL, "the server sent more than one reply")
            self._reply = stream.take_message().content()
        if self._poll_status() is PENDING:
            return PENDING
        if self._reply is None:
            raise GRPCError(Status.INTERNAL, "the call ended with OK but without a reply")
        self._delivered = True
        return self._reply

    def _poll_status(self) -> Literal[Pending.PENDING] | None:
        if self._poll_headers() is PENDING:
            return PENDING
        stream = self._stream_now
        if not (stream.remote_ended or self._trailers_only):
            self._raise_failure()
            return PENDING
        trailers = self._trailers
        if trailers is None:
            raise GRPCError(Status.UNKNOWN, "the response ended without trailers")
        self._recv_trailing_metadata_done = True
        error = status_error(dict(trailers), self._status_details_codec)
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame
        if stream.messages.size and not stream.messages.ready:
            raise GRPCError(Status.INTERNAL, "the response ended in the middle of a message")
        self._finished = True
        return None

    def _poll_over(self) -> None:
        """The end of a call to which nothing more can be sent."""
        if self._stream_now.remote_ended:
            self._poll_status()
        else:
            self._raise_failure()

    def _raise_failure(self) -> None:
        failure = self._stream_now.failure
        if failure is not None:
            raise failure.error()
