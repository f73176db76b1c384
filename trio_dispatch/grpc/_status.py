"""What went wrong, as a gRPC status: the tables of the gRPC documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError
from h2.errors import ErrorCodes

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


@dataclass(frozen=True)
class Failure:
    """Why a stream or a connection is gone.

    Several tasks may have to be told; each gets an exception of its own.  `unprocessed` says that
    the other side has promised not to have looked at the request: it may be sent again.
    """

    status: Status
    message: str
    cause: BaseException | None = None
    unprocessed: bool = False

    def error(self) -> GRPCError:
        error = GRPCError(self.status, self.message)
        error.__cause__ = self.cause
        return error


def error_name(code: int | None) -> str:
    """How the HTTP/2 error code is called."""
    try:
        return ErrorCodes(-1 if code is None else code).name
    except ValueError:
        return f"error {code}"


def failure_of_reset(code: int | None) -> Failure:
    """What a RST_STREAM from the other side means."""
    return Failure(
        _OF_RESET.get(code, Status.UNKNOWN),
        f"the stream was reset by the other side ({error_name(code)})",
        unprocessed=code == ErrorCodes.REFUSED_STREAM,
    )


def error_of_http(headers: dict[str, str]) -> GRPCError | None:
    """What response headers without a `grpc-status` say that is not gRPC, None if all is well."""
    http_status = headers.get(":status")
    if http_status != "200":
        return GRPCError(
            _OF_HTTP.get(http_status or "", Status.UNKNOWN),
            f"the response has the HTTP status {http_status}",
        )
    content_type = headers.get("content-type")
    if content_type is None or not is_grpc(content_type):
        return GRPCError(
            Status.UNKNOWN, f"the response is not gRPC: its content-type is {content_type!r}"
        )
    return None


def is_grpc(content_type: str) -> bool:
    base = content_type.partition(";")[0].strip()
    return base == "application/grpc" or base.startswith("application/grpc+")


def status_headers(
    status: Status, message: str | None, details: Any, codec: StatusDetailsCodecBase | None
) -> Headers:
    """The status of a call, as the end of a response."""
    headers = [("grpc-status", str(status.value))]
    if message:
        headers.append(("grpc-message", encode_grpc_message(message)))
    if details is not None:
        if codec is not None:
            details = codec.encode(status, message, details)
        if not isinstance(details, bytes):
            raise TypeError(f"the details of a status are bytes without a codec, not {details!r}")
        headers.append((_DETAILS, encode_binary(details)))
    return headers


def status_error(headers: dict[str, str], codec: StatusDetailsCodecBase | None) -> GRPCError | None:
    """What the end of a response says, None if it is OK."""
    value = headers.get("grpc-status")
    if value is None:
        return GRPCError(Status.UNKNOWN, "the response ended without a grpc-status")
    try:
        status = Status(int(value))
    except ValueError:
        return GRPCError(Status.UNKNOWN, f"the response ended with the grpc-status {value!r}")
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
    """The status that a handler meant by what it raised, None if it meant none.

    A nursery in the handler may have wrapped it in a group, or in several.
    """
    if isinstance(error, GRPCError):
        return error
    if isinstance(error, ExceptionGroup):
        found = [grpc_error_in(inner) for inner in error.exceptions]
        return None if None in found else found[0]
    return None
