"""What a service is made to do wrong: late replies, refusals, streams that end."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from contextlib import ExitStack
from typing import Any, Final, TypeAlias

import trio

from ..grpc import GRPCError, Proceed, ServerStream, Status

__all__ = ["METHODS", "Faults"]

Call: TypeAlias = ServerStream[Any, Any]

_STREAM: Final = "stream"
METHODS: Final = {
    "list": "ListMicrogridDispatches",
    "get": "GetMicrogridDispatch",
    "create": "CreateMicrogridDispatch",
    "update": "UpdateMicrogridDispatch",
    "delete": "DeleteMicrogridDispatch",
    _STREAM: "StreamMicrogridDispatches",
}
"""The API's methods, by the client's names of them."""
_CLIENTS_NAMES: Final = {path: name for name, path in METHODS.items()}


class _Delay:
    """Late replies to some methods; compared by identity, for there may be two of a kind."""

    def __init__(self, methods: frozenset[str], seconds: float) -> None:
        self.methods = methods
        self.seconds = seconds


class Faults:
    """An interceptor that does to calls what a test wants done to them.

    Attributes:
      calls: How many calls of each method have come, by the client's names.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._delays: list[_Delay] = []
        self._refusals: defaultdict[str, deque[GRPCError]] = defaultdict(deque)
        # The streams under way, and with what those of them end that are ended here.
        self._streams: dict[trio.CancelScope, GRPCError | None] = {}

    def delay(self, methods: tuple[str, ...], seconds: float) -> ExitStack:
        """See `LocalService.delay`."""
        if not seconds >= 0:
            raise ValueError(f"seconds {seconds!r} is not a number from 0 on")
        for method in methods:
            _check_method(method)
        delay = _Delay(frozenset(methods or METHODS), seconds)
        self._delays.append(delay)
        stack = ExitStack()
        stack.callback(self._delays.remove, delay)
        return stack

    def fail_next(self, method: str, status: Status, message: str, times: int) -> None:
        """See `LocalService.fail_next`."""
        _check_method(method)
        if not isinstance(times, int) or times < 1:
            raise ValueError(f"times {times!r} is not a number from 1 on")
        if status is Status.OK:
            raise ValueError("Status.OK is no failure: give another status")
        self._refusals[method].extend([_error(status, message)] * times)

    def end_streams(self, status: Status, message: str) -> None:
        """See `LocalService.end_streams`."""
        error = _error(status, message)
        for scope in self._streams:
            self._streams[scope] = None if status is Status.OK else error
            scope.cancel()

    async def __call__(self, call: Call, proceed: Proceed) -> None:
        method = _CLIENTS_NAMES.get(call.method_name.rpartition("/")[2])
        if method is None:
            await proceed()
            return
        self.calls[method] += 1
        refusals = self._refusals[method]
        refusal = refusals.popleft() if refusals else None
        seconds = sum(delay.seconds for delay in self._delays if method in delay.methods)
        if method == _STREAM:
            await trio.sleep(seconds)
        try:
            if refusal is not None:
                raise GRPCError(refusal.status, refusal.message)
            await (self._stream(proceed) if method == _STREAM else proceed())
        finally:
            if method != _STREAM:
                await trio.sleep(seconds)

    async def _stream(self, proceed: Proceed) -> None:
        with trio.CancelScope() as scope:
            self._streams[scope] = None
            try:
                await proceed()
            finally:
                error = self._streams.pop(scope)
        if scope.cancelled_caught and error is not None:
            raise error


def _error(status: Status, message: str) -> GRPCError:
    if not isinstance(status, Status):
        raise ValueError(f"status {status!r} is not a trio_dispatch.grpc.Status")
    return GRPCError(status, message)


def _check_method(method: str) -> None:
    if method in METHODS:
        return
    known = ", ".join(map(repr, METHODS))
    meant = _CLIENTS_NAMES.get(method)
    hint = "" if meant is None else f": the client's name of it is {meant!r}"
    raise ValueError(f"{method!r} is none of the methods {known}{hint}")
