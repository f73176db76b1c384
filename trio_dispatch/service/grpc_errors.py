"""Map the errors of the service to gRPC errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def mapped_to_grpc() -> Iterator[None]:
    """Raise the service's errors as gRPC errors within a ``with`` block."""
    try:
        yield
    except DispatchError as exc:
        raise to_grpc_error(exc) from exc


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
