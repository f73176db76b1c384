"""gRPC status codes: as headers, as errors, and for errors of HTTP and HTTP/2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError
from h2.errors import ErrorCodes

from ._hpack import never_indexed
from ._metadata import (
    Headers,
    decode_binary,
    decode_grpc_message,
    encode_binary,
    encode_grpc_message,
)

# https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
_OF_HTTP = {
    "400": Status.INTERNAL,
    "401": Status.UNAUTHENTICATED,
    "403": Status.PERMISSION_DENIED,
    "404": Status.UNIMPLEMENTED,
    "429": Status.UNAVAILABLE,
    "502": Status.UNAVAILABLE,
    "503": Status.UNAVAILABLE,
    "504": Status.UNAVAILABLE,
}

# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors
_OF_RESET: dict[int | None, Status] = {
    ErrorCodes.NO_ERROR: Status.INTERNAL,
    ErrorCodes.PROTOCOL_ERROR: Status.INTERNAL,
    ErrorCodes.INTERNAL_ERROR: Status.INTERNAL,
    ErrorCodes.FLOW_CONTROL_ERROR: Status.INTERNAL,
    ErrorCodes.SETTINGS_TIMEOUT: Status.INTERNAL,
    ErrorCodes.FRAME_SIZE_ERROR: Status.INTERNAL,
    ErrorCodes.REFUSED_STREAM: Status.UNAVAILABLE,
    ErrorCodes.CANCEL: Status.CANCELLED,
    ErrorCodes.COMPRESSION_ERROR: Status.INTERNAL,
    ErrorCodes.CONNECT_ERROR: Status.INTERNAL,
    ErrorCodes.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}

_DETAILS = "grpc-status-details-bin"
# Encoding a header takes time, and a header list may be limited to 8 KiB.
_MAX_MESSAGE = 1024


def printable(text: str, limit: int = _MAX_MESSAGE) -> str:
    """Text from the other side for a log or an error: without control characters, and cut."""
    text = text if len(text) <= limit else f"{text[:limit]}..."
    return text if text.isprintable() else ascii(text)[1:-1]


@dataclass(frozen=True)
class Failure:
    """Why a stream or a connection has ended.

    Each task that waits for it gets its own exception.  `unprocessed` says that the other side has
    promised not to have looked at the request: it may be sent again.
    """

    status: Status
    message: str
    cause: BaseException | None = None
    unprocessed: bool = False

    def drop_traceback(self) -> None:
        """Drop the tracebacks of the cause: their frames refer to what refers to this failure."""
        error = self.cause
        while error is not None:
            error.__traceback__ = None
            error = error.__cause__ or error.__context__

    def error(self) -> GRPCError:
        error = GRPCError(self.status, self.message)
        error.__cause__ = self.cause
        return error


def error_name(code: int | None) -> str:
    """The name of an HTTP/2 error code."""
    try:
        return ErrorCodes(-1 if code is None else code).name
    except ValueError:
        return f"error {code}"


def failure_of_reset(code: int | None, *, remote: bool = True) -> Failure:
    """The status for a RST_STREAM from the other side, or for one that its error has caused."""
    if not remote:
        return Failure(Status.INTERNAL, f"the other side broke HTTP/2 ({error_name(code)})")
    return Failure(
        _OF_RESET.get(code, Status.UNKNOWN),
        f"the stream was reset by the other side ({error_name(code)})",
        unprocessed=code == ErrorCodes.REFUSED_STREAM,
    )


def error_of_http(headers: dict[str, str]) -> GRPCError | None:
    """The status for response headers without a `grpc-status`, None if they are gRPC's."""
    http_status = headers.get(":status")
    if http_status != "200":
        return GRPCError(
            _OF_HTTP.get(http_status or "", Status.UNKNOWN),
            f"the response has the HTTP status {printable(str(http_status), 20)}",
        )
    content_type = headers.get("content-type")
    if content_type is None or not is_grpc(content_type):
        return GRPCError(
            Status.UNKNOWN,
            f"the response is not gRPC: its content-type is {printable(repr(content_type))}",
        )
    return None


def is_grpc(content_type: str) -> bool:
    base = content_type.partition(";")[0].strip()
    return base == "application/grpc" or base.startswith("application/grpc+")


def status_headers(
    status: Status, message: str | None, details: Any, codec: StatusDetailsCodecBase | None
) -> Headers:
    """The status of a call as the last headers of a response; a long message is cut."""
    headers = [("grpc-status", str(status.value))]
    if message:
        if len(message) > _MAX_MESSAGE:
            message = f"{message[:_MAX_MESSAGE]}..."
        headers.append(never_indexed("grpc-message", _encode_message(message)))
    if details is not None:
        if codec is not None:
            details = codec.encode(status, message, details)
        if not isinstance(details, bytes):
            raise TypeError(f"without a codec the details of a status are bytes, not {details!r}")
        headers.append(never_indexed(_DETAILS, encode_binary(details)))
    return headers


def _encode_message(message: str) -> str:
    """Percent-encoded; spaces at the ends, too, which HTTP/2 does not allow in a value."""
    encoded = encode_grpc_message(message)
    inner = encoded.strip(" ")
    before = len(encoded) - len(encoded.lstrip(" "))
    return "%20" * before + inner + "%20" * (len(encoded) - before - len(inner))


def status_error(headers: dict[str, str], codec: StatusDetailsCodecBase | None) -> GRPCError | None:
    """The error in the last headers of a response, None if the status is OK."""
    value = headers.get("grpc-status")
    if value is None:
        return GRPCError(Status.UNKNOWN, "the response ended without a grpc-status")
    try:
        status = Status(int(value))
    except ValueError:
        return GRPCError(
            Status.UNKNOWN, f"the response ended with the grpc-status {printable(repr(value), 40)}"
        )
    if status is Status.OK:
        return None
    message = headers.get("grpc-message")
    if message is not None:
        message = decode_grpc_message(message)
    details: Any = decode_binary(headers[_DETAILS]) if _DETAILS in headers else None
    if details is not None and codec is not None:
        details = codec.decode(status, message, details)
    return GRPCError(status, message, details)


def grpc_error_in(error: Exception) -> GRPCError | None:
    """The `GRPCError` that a handler has raised, None if it raised something else.

    A nursery in the handler may have wrapped it in one or more groups.
    """
    if isinstance(error, GRPCError):
        return error
    if isinstance(error, ExceptionGroup):
        found = [grpc_error_in(inner) for inner in error.exceptions]
        return None if None in found else found[0]
    return None
