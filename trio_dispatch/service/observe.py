"""What calls have come to: for logs and for metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import trio

from ..grpc import Interceptor, Proceed, ServerStream, Status, grpc_error_in
from .auth import current_caller

__all__ = ["FinishedCall", "Observer", "log_call", "observing"]

log = logging.getLogger("trio_dispatch.service.calls")


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A call that is over.

    Attributes:
      method: Its full name without the slash in front, ``package.Service/Method``.
      status: How it ended.  A call that the client did not wait for is CANCELLED.
      duration: How many seconds it took, from the end of its headers; for a stream, how long it
        was open.
      peer: The address of the client, as a text; empty if the transport has none.
      caller: The name of the key that it came with; None if it came with none that is good.
    """

    method: str
    status: Status
    duration: float
    peer: str
    caller: str | None


Observer: TypeAlias = Callable[[FinishedCall], None]


def observing(*observers: Observer) -> Interceptor:
    """An interceptor that tells functions of every call when it is over.

    It is to be the first of the interceptors, so that it sees the calls that others refuse.
    """

    async def observe(call: ServerStream[Any, Any], proceed: Proceed) -> None:
        began = trio.current_time()
        status = Status.UNKNOWN
        try:
            await proceed()
            status = Status.OK
        except trio.Cancelled:
            status = _why_cancelled(call)
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
                peer=_text(call.peer.addr()),
                caller=None if caller is None else caller.name,
            )
            for observer in observers:
                observer(finished)

    return observe


def _why_cancelled(call: ServerStream[Any, Any]) -> Status:
    deadline = call.deadline
    if deadline is not None and deadline.time_remaining() <= 0:
        return Status.DEADLINE_EXCEEDED
    return Status.CANCELLED


def _text(address: Any) -> str:
    """How an address of a socket is written."""
    if isinstance(address, tuple):
        host, port, *_ = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return address if isinstance(address, str) else ""


_WRITING = ("/CreateMicrogridDispatch", "/UpdateMicrogridDispatch", "/DeleteMicrogridDispatch")
_OUR_FAULT = {Status.UNKNOWN, Status.INTERNAL, Status.DATA_LOSS, Status.UNAVAILABLE}


def log_call(call: FinishedCall) -> None:
    """Log a call: what went wrong here as a warning, what was refused or has changed something as
    information, everything else for debugging.

    The record has the fields `method`, `status`, `duration`, `peer` and `caller` besides its
    message.  Neither keys nor what was sent are in it.
    """
    if call.status in _OUR_FAULT:
        level = logging.WARNING
    elif call.status is not Status.OK and call.status is not Status.CANCELLED:
        level = logging.INFO
    else:
        level = logging.INFO if call.method.endswith(_WRITING) else logging.DEBUG
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
