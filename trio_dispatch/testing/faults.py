"""Faults of the test service: late replies, failures, streams that end or fall silent."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from contextlib import ExitStack
from typing import Any, Final, TypeAlias

import trio

from ..grpc import FramedMessages, GRPCError, Proceed, ServerStream, Status

__all__ = ["METHODS", "Faults"]

Call: TypeAlias = ServerStream[Any, Any]

_STREAM: Final = "stream"
_STREAMS: Final = {_STREAM, "stream_runs"}
METHODS: Final = {
    "list": "ListMicrogridDispatches",
    "get": "GetMicrogridDispatch",
    "create": "CreateMicrogridDispatch",
    "update": "UpdateMicrogridDispatch",
    "delete": "DeleteMicrogridDispatch",
    _STREAM: "StreamMicrogridDispatches",
    "report_runs": "ReportRuns",
    "list_runs": "ListRuns",
    "stream_runs": "StreamRuns",
    "list_changes": "ListChanges",
    "list_dispatchers": "ListDispatchers",
    "find_microgrid": "FindDispatch",
}
"""The methods of the APIs, by their names in the client."""
_CLIENT_NAMES: Final = {path: name for name, path in METHODS.items()}


class _Delay:
    """Late replies of some methods.  Compared by identity: two delays may have equal content."""

    def __init__(self, methods: frozenset[str], seconds: float) -> None:
        self.methods = methods
        self.seconds = seconds


class _Stream:
    """A stream under way: the error with which it ends, and the share of messages that is lost."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.error: GRPCError | None = None
        self.loss = 0.0

    def lose(self, messages: FramedMessages) -> FramedMessages:
        """Return the messages that are not lost."""
        kept, position = [], 0
        while position < len(messages.data):
            # Each begins with a flag and its length.
            end = position + 5 + int.from_bytes(messages.data[position + 1 : position + 5])
            if random.random() >= self.loss:  # noqa: S311
                kept.append(messages.data[position:end])
            position = end
        return FramedMessages(b"".join(kept), len(kept))


class Faults:
    """An interceptor that applies the faults that a test asks for.

    Attributes:
      calls: How many calls of each method were received, by the client's names.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._delays: list[_Delay] = []
        self._failures: defaultdict[str, deque[GRPCError]] = defaultdict(deque)
        self._streams: dict[_Stream, None] = {}

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
            raise ValueError(f"times {times!r} is not an integer from 1 on")
        if status is Status.OK:
            raise ValueError("Status.OK is not a failure: give another status")
        self._failures[method].extend([_error(status, message)] * times)

    def end_streams(self, status: Status, message: str) -> None:
        """See `LocalService.end_streams`."""
        error = _error(status, message)
        for stream in self._streams:
            stream.error = None if status is Status.OK else error
            stream.scope.cancel()

    def mute_streams(self, loss: float) -> None:
        """See `LocalService.mute_streams`."""
        if not 0 <= loss <= 1:
            raise ValueError(f"loss {loss!r} is not a number from 0 to 1")
        for stream in self._streams:
            stream.loss = loss

    async def __call__(self, call: Call, proceed: Proceed) -> None:
        method = _CLIENT_NAMES.get(call.method_name.rpartition("/")[2])
        if method is None:
            await proceed()
            return
        self.calls[method] += 1
        failures = self._failures[method]
        failure = failures.popleft() if failures else None
        seconds = sum(delay.seconds for delay in self._delays if method in delay.methods)
        if method in _STREAMS:
            await trio.sleep(seconds)
        try:
            if failure is not None:
                raise GRPCError(failure.status, failure.message)
            await (self._stream(call, proceed) if method in _STREAMS else proceed())
        finally:
            if method not in _STREAMS:
                await trio.sleep(seconds)

    async def _stream(self, call: Call, proceed: Proceed) -> None:
        stream = _Stream()
        send, send_nowait = call.send_framed, call.send_framed_nowait

        async def send_or_lose(messages: FramedMessages) -> None:
            kept = stream.lose(messages) if stream.loss else messages
            if kept.count:
                await send(kept)
            else:
                await trio.lowlevel.checkpoint()

        call.send_framed = send_or_lose  # type: ignore[method-assign]
        call.send_framed_nowait = (  # type: ignore[method-assign]
            lambda messages: not stream.loss and send_nowait(messages)
        )
        self._streams[stream] = None
        try:
            with stream.scope:
                await proceed()
        finally:
            del self._streams[stream]
        if stream.scope.cancelled_caught and stream.error is not None:
            raise stream.error


def _error(status: Status, message: str) -> GRPCError:
    if not isinstance(status, Status):
        raise ValueError(f"status {status!r} is not a trio_dispatch.grpc.Status")
    return GRPCError(status, message)


def _check_method(method: str) -> None:
    if method in METHODS:
        return
    known = ", ".join(map(repr, METHODS))
    meant = _CLIENT_NAMES.get(method)
    hint = "" if meant is None else f": the client's name of it is {meant!r}"
    raise ValueError(f"method {method!r} is not one of {known}{hint}")
