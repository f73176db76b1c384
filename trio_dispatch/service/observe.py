"""Finished calls, for logs and metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import trio

from ..grpc import Interceptor, Proceed, ServerStream, Status, grpc_error_in
from .auth import address_of, current_caller

__all__ = ["FinishedCall", "Observer", "log_call", "observing"]

log = logging.getLogger("trio_dispatch.service.calls")


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A finished call.

    Attributes:
      method: The full name without the leading slash, ``package.Service/Method``.
      status: How the call ended; CANCELLED if the client did not wait for it.
      duration: In seconds, from the end of its headers; for a stream, how long it was open.
      peer: The address of the client; empty if the transport has none.
      caller: The name of its API key; None without a valid one.
    """

    method: str
    status: Status
    duration: float
    peer: str
    caller: str | None


Observer: TypeAlias = Callable[[FinishedCall], None]


def observing(*observers: Observer) -> Interceptor:
    """Return an interceptor that passes every finished call to functions.

    Make it the first interceptor, so that it sees the calls that others refuse.
    """

    async def observe(call: ServerStream[Any, Any], proceed: Proceed) -> None:
        began = trio.current_time()
        status = Status.UNKNOWN
        try:
            await proceed()
            status = Status.OK
        except trio.Cancelled:
            status = _status_of_cancelled(call)
            raise
        except Exception as exc:
            error = grpc_error_in(exc)
            status = Status.UNKNOWN if error is None else error.status
            raise
        finally:
            caller = current_caller()
            finished = FinishedCall(
                method=call.method_name.removeprefix("/"),
                status=status,
                duration=trio.current_time() - began,
                peer=address_of(call),
                caller=None if caller is None else caller.name,
            )
            for observer in observers:
                observer(finished)

    return observe


def _status_of_cancelled(call: ServerStream[Any, Any]) -> Status:
    deadline = call.deadline
    if deadline is not None and deadline.time_remaining() <= 0:
        return Status.DEADLINE_EXCEEDED
    return Status.CANCELLED


_WRITING: Final = (
    "/CreateMicrogridDispatch",
    "/UpdateMicrogridDispatch",
    "/DeleteMicrogridDispatch",
)
_FAULTS_OF_THE_SERVICE: Final = {
    Status.UNKNOWN,
    Status.INTERNAL,
    Status.DATA_LOSS,
    Status.UNAVAILABLE,
}


def log_call(call: FinishedCall) -> None:
    """Log a finished call.

    Faults of the service are warnings.  Refused calls, and calls that changed a dispatch, are
    information.  Everything else is for debugging.  The record has the fields `method`, `status`,
    `duration`, `peer` and `caller`; it contains neither keys nor the content of requests.
    """
    if call.status in _FAULTS_OF_THE_SERVICE:
        level = logging.WARNING
    elif call.status is not Status.OK and call.status is not Status.CANCELLED:
        level = logging.INFO
    else:
        level = logging.INFO if call.method.endswith(_WRITING) else logging.DEBUG
    if not log.isEnabledFor(level):
        return
    log.log(
        level,
        "%s %s",
        call.method.rpartition("/")[2],
        call.status.name,
        extra={
            "method": call.method,
            "status": call.status.name,
            "duration": round(call.duration, 6),
            "peer": call.peer,
            "caller": call.caller,
        },
    )
