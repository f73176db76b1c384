"""The stream of a microgrid's changes."""

from __future__ import annotations

import trio

from ..api.replies import StreamEvent, decode_event
from ..api.wire import StreamMicrogridDispatchesRequest
from ..grpc import ClientStream
from .errors import service_errors

__all__ = ["DispatchStream"]


class DispatchStream:
    """The changes of a microgrid as they come: ``async for event in stream``.

    Iterating raises a `ServiceError` when the stream fails, and stops when the service ends it.

    Attributes:
      started: Set when the service has begun to answer.  From then on no change is missing.
    """

    def __init__(
        self, call: ClientStream[StreamMicrogridDispatchesRequest, bytes], what: str
    ) -> None:
        self._call = call
        self._what = what
        self.started = trio.Event()

    def __aiter__(self) -> DispatchStream:
        return self

    async def __anext__(self) -> StreamEvent:
        with service_errors(self._what):
            if not self.started.is_set():
                await self._call.recv_initial_metadata()
                self.started.set()
            message = await self._call.recv_message()
            if message is None:
                await self._call.recv_trailing_metadata()
                raise StopAsyncIteration
            return decode_event(message)
