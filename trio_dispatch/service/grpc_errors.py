"""Map the errors of the service to gRPC errors."""

from __future__ import annotations

from contextlib import AbstractContextManager

from ..errors import DispatchError
from ..grpc import GRPCError, Status
from .errors import (
    InvalidRequestError,
    NotFoundError,
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    WatcherTooSlowError,
)

__all__ = ["mapped_to_grpc", "to_grpc_error"]


class _Mapped:
    """What `mapped_to_grpc` returns.  A generator would take several times as long."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, DispatchError):
            raise to_grpc_error(error) from error


_MAPPED = _Mapped()


def mapped_to_grpc() -> AbstractContextManager[None]:
    """Raise the service's errors as gRPC errors within a ``with`` block."""
    return _MAPPED


def to_grpc_error(error: DispatchError) -> GRPCError:
    """Return the gRPC error for an error of the service.

    What a client cannot act upon, such as paths and messages of the database, is left out.
    """
    match error:
        case InvalidRequestError():
            return GRPCError(Status.INVALID_ARGUMENT, str(error))
        case NotFoundError():
            return GRPCError(Status.NOT_FOUND, str(error))
        case WatcherTooSlowError() | StoreBusyError():
            return GRPCError(Status.RESOURCE_EXHAUSTED, str(error))
        case StoreFullError():
            return GRPCError(Status.RESOURCE_EXHAUSTED, "the service has no disk space left")
        case StoreCorruptError():
            return GRPCError(Status.DATA_LOSS, "the service's database is damaged")
        case StoreError():
            return GRPCError(Status.UNAVAILABLE, "the service's database is not available")
    raise error
