"""What a client is told of what went wrong: errors of the service as gRPC statuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import DispatchError
from ..grpc import GRPCError, Status
from .errors import (
    InvalidRequestError,
    NotFoundError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
)
from .watchers import WatcherTooSlowError

__all__ = ["refusal_of", "refusals"]


@contextmanager
def refusals() -> Iterator[None]:
    """Tells the client with a status what went wrong, and nothing that is not its business."""
    try:
        yield
    except DispatchError as exc:
        raise refusal_of(exc) from exc


def refusal_of(error: DispatchError) -> GRPCError:
    """What a client is told of an error."""
    match error:
        case InvalidRequestError():
            return GRPCError(Status.INVALID_ARGUMENT, str(error))
        case NotFoundError():
            return GRPCError(Status.NOT_FOUND, str(error))
        case WatcherTooSlowError():
            return GRPCError(Status.RESOURCE_EXHAUSTED, str(error))
        case StoreFullError():
            return GRPCError(Status.RESOURCE_EXHAUSTED, "the service has no room left")
        case StoreCorruptError():
            return GRPCError(Status.DATA_LOSS, "the service's data are damaged")
        case StoreError():
            return GRPCError(Status.UNAVAILABLE, "the service's store is not available")
    raise error
