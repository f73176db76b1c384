"""Finished calls, for logs and metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import trio

from ..grpc import Interceptor, Proceed, ServerStream, Status, grpc_error_in
from .auth import address_of, current_caller
from .store.rows import Row

__all__ = ["FinishedCall", "Observer", "log_call", "note_written", "observing"]

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
      microgrid_id, dispatch_id, type: The dispatch that it created, updated or deleted; None if it
        did neither.
    """

    method: str
    status: Status
    duration: float
    peer: str
    caller: str | None
    microgrid_id: int | None = None
    dispatch_id: int | None = None
    type: str | None = None


_written: ContextVar[Row | None] = ContextVar("trio_dispatch written", default=None)


def note_written(row: Row) -> None:
    """Tell observers, in the handler of a call, which dispatch it has written."""
    _written.set(row)


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
            caller, row = current_caller(), _written.get()
            finished = FinishedCall(
                method=call.method_name.removeprefix("/"),
                status=status,
                duration=trio.current_time() - began,
                peer=address_of(call),
                caller=None if caller is None else caller.name,
                microgrid_id=None if row is None else row.microgrid_id,
                dispatch_id=None if row is None else row.id,
                type=None if row is None else row.type,
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
    information.  Everything else is for debugging; so are unauthenticated calls, which `auth_log`
    logs at a limited rate.  The record has the fields of the call; it
    contains neither keys nor, apart from the type of a dispatch that was changed, the content of
    requests.
    """
    if call.status in _FAULTS_OF_THE_SERVICE:
        level = logging.WARNING
    elif call.status not in {Status.OK, Status.CANCELLED, Status.UNAUTHENTICATED}:
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
            "microgrid_id": call.microgrid_id,
            "dispatch_id": call.dispatch_id,
            "type": call.type,
        },
    )
