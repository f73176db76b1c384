"""Streams of a service: changes of dispatches, and changes of runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Self, TypeAlias, TypeVar

import betterproto2
import trio

from .. import api
from ..api.replies import decode_event
from ..grpc import ClientStream
from ..model.events import StreamEvent
from ._calls import service_errors

if TYPE_CHECKING:
    from ..model.runs import ReportedRun
    from ..model.undecodable import Undecodable

__all__ = ["DispatchStream", "RunStream"]

_Run: TypeAlias = "ReportedRun | Undecodable"
_T = TypeVar("_T")
_Request = TypeVar("_Request", bound=betterproto2.Message)


class _Stream(Generic[_T]):
    def __init__(
        self, call: ClientStream[_Request, bytes], decode: Callable[[bytes], _T], what: str
    ) -> None:
        self._receive_metadata = call.recv_initial_metadata
        self._receive = call.recv_message
        self._receive_status = call.recv_trailing_metadata
        self._decode = decode
        self._what = what
        self.started = trio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        with service_errors(self._what):
            if not self.started.is_set():
                await self._receive_metadata()
                self.started.set()
            message = await self._receive()
            if message is None:
                await self._receive_status()
                raise StopAsyncIteration
            return self._decode(message)


class DispatchStream(_Stream[StreamEvent]):
    """The changes of a microgrid as they come: ``async for event in stream``.

    Iterating raises a `ServiceError` when the stream fails, and stops when the service ends it.

    Attributes:
      started: Set when the service has begun to answer.  From then on no change is missing.
    """

    def __init__(self, call: ClientStream[_Request, bytes], what: str) -> None:
        super().__init__(call, decode_event, what)


class RunStream(_Stream[_Run]):
    """The runs of a microgrid as reports change them: ``async for run in stream``.

    Iterating raises a `ServiceError` when the stream fails, and stops when the service ends it.

    Attributes:
      started: Set when the service has begun to answer.  From then on no change is missing.
    """

    def __init__(self, call: ClientStream[_Request, bytes], what: str) -> None:
        super().__init__(call, api.runs.decode_streamed_run, what)
