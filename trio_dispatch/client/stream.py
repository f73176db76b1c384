"""The stream of a microgrid's changes, and the errors of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

from ..api.wire import Event
from ..grpc import GRPCError
from ..model.dispatch import Dispatch
from ..model.undecodable import Undecodable
from .errors import ServiceError


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """What the service says of one change.

    Attributes:
      event: What happened; a number that the API does not know is kept, without a name.
      dispatch: The new content, for a deletion the last one; or what came and makes no sense.
    """

    event: Event
    dispatch: Dispatch | Undecodable


class DispatchStream:
    """The changes of a microgrid as they come: ``async for event in stream``.

    Iterating raises a `ServiceError` when the stream fails, and stops when the service ends it.

    Attributes:
      started: Set when the service has begun to answer.  From then on no change is missing.
    """

    def __init__(self, call: Any, what: str) -> None:
        self._call = call
        self._what = what
        self.started = trio.Event()

    def __aiter__(self) -> DispatchStream:
        return self

    async def __anext__(self) -> StreamEvent:
        with translated(self._what):
            if not self.started.is_set():
                await self._call.recv_initial_metadata()
                self.started.set()
            response = await self._call.recv_message()
            if response is None:
                await self._call.recv_trailing_metadata()
                raise StopAsyncIteration
        dispatch = response.dispatch or Undecodable(None, "a stream message has no dispatch")
        return StreamEvent(response.event, dispatch)


class translated:  # noqa: N801
    """Turns the `GRPCError` of a call into a `ServiceError` that says what the call was about."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> None:
        if isinstance(exc, GRPCError):
            raise ServiceError(self._what, exc) from exc
