"""The error of a call to a dispatch service."""

from __future__ import annotations

import ssl

from ..errors import DispatchError
from ..grpc import GRPCError, Status

__all__ = ["ServiceError"]

_PERMANENT = {
    Status.UNAUTHENTICATED,
    Status.PERMISSION_DENIED,
    Status.UNIMPLEMENTED,
    Status.INVALID_ARGUMENT,
}


class ServiceError(DispatchError):
    """The dispatch service refused or failed a call, or could not be reached.

    Attributes:
      status: The gRPC status, for example ``Status.NOT_FOUND``.
      message: The message of the service, if it sent one.
      error: The `GRPCError` of the call.
    """

    def __init__(self, text: str, error: GRPCError) -> None:
        super().__init__(text)
        # Not only the cause: Trio before 0.34 drops the cause of what `Nursery.start` raises.
        self.error = error
        self.status: Status = error.status
        self.message: str | None = error.message

    def __reduce__(self) -> tuple[type[ServiceError], tuple[str, GRPCError]]:
        return ServiceError, (str(self), self.error)

    @property
    def permanent(self) -> bool:
        """Whether the same call will fail again, however often it is made.

        The API key is invalid or lacks the right, the service does not have the method or rejects
        the request, or its certificate does not verify.
        """
        if self.status in _PERMANENT:
            return True
        cause: BaseException | None = self.error
        while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
            cause = cause.__cause__
        return cause is not None
