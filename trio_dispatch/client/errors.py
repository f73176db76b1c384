"""The error of a call to a dispatch service."""

from __future__ import annotations

from ..errors import DispatchError
from ..grpc import GRPCError, Status

__all__ = ["ServiceError"]


class ServiceError(DispatchError):
    """The dispatch service refused or failed a call, or could not be reached.

    The cause is the `GRPCError` of the call.

    Attributes:
      status: The gRPC status, say ``Status.NOT_FOUND``.
      message: What the service said, if anything.
    """

    def __init__(self, what: str, error: GRPCError) -> None:
        self._what = what
        self._error = error
        self.status: Status = error.status
        self.message: str | None = error.message
        said = f": {error.message}" if error.message else ""
        super().__init__(f"{what}: {error.status.name}{said}")

    def __reduce__(self) -> tuple[type[ServiceError], tuple[str, GRPCError]]:
        return ServiceError, (self._what, self._error)
