"""The stream of changes, replaced by another one before it can end."""

from __future__ import annotations

import logging
import math
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio
from trio_util import wait_any

from ..concurrency.backoff import Backoff
from ..errors import DispatchError

if TYPE_CHECKING:
    from ..client.client import DispatchClient, DispatchStream
    from ..model.events import StreamEvent

__all__ = ["Lifetimes", "Streams"]

log = logging.getLogger("trio_dispatch.dispatcher.sync")

HEALTHY = 3.0
"""A stream that lived for this many seconds was healthy."""
MAX_AGE = 3600.0
"""A stream is replaced after about this many seconds."""
START_TIMEOUT = 5.0
"""How many seconds a service has to answer a stream request; some answer with the first event."""


class Lifetimes:
    """How long streams live that the other side ends, if there is a pattern.

    A load balancer that ends streams after a fixed time shows by three lifetimes in a row that are
    nearly equal.
    """

    def __init__(self) -> None:
        self._ages: deque[float] = deque(maxlen=3)

    def ended(self, age: float) -> None:
        """The other side has ended a stream of this age, in seconds."""
        expected = self.expected()
        if expected is not None and age < expected:
            self._ages.clear()
        self._ages.append(age)

    def expected(self) -> float | None:
        """Return the age by which a stream should be replaced, None without a pattern."""
        if len(self._ages) < 3:
            return None
        shortest, longest = min(self._ages), max(self._ages)
        if shortest < HEALTHY or longest - shortest > max(2.0, 0.1 * shortest):
            return None
        return 0.9 * shortest


class Streams:
    """Keeps a stream open, and replaces it without a gap: the new one is open before the old ends.

    A stream is replaced when it is old, shortly before the other side is expected to end it, and
    when `replace` is called.

    Args:
      take: Called with each event, in order.
      replaced: Called when a new stream has taken the place of the last.
    """

    def __init__(
        self,
        client: DispatchClient,
        microgrid_id: int,
        lifetimes: Lifetimes,
        *,
        take: Callable[[StreamEvent], None],
        replaced: Callable[[], None],
    ) -> None:
        self._client = client
        self._microgrid_id = microgrid_id
        self._lifetimes = lifetimes
        self._take = take
        self._replaced = replaced
        self._stream = self._new_stream()
        self._replace = trio.Event()
        # While a successor is being opened, what the stream delivers: the successor may repeat it.
        self._is_overlapping = False
        self._delivered: deque[StreamEvent] = deque()

    def replace(self) -> None:
        """Replace the stream as soon as another one is open."""
        self._replace.set()

    @property
    def has_started(self) -> bool:
        """Whether the service has begun to answer."""
        return self._stream.has_started

    @property
    def has_ended(self) -> bool:
        """Whether the stream is over, so that `run` is about to raise."""
        return self._stream.ended.is_set()

    async def wait_started(self) -> None:
        """Wait until the service has begun to answer, or should have."""
        with trio.move_on_after(START_TIMEOUT):
            await self._stream.wait_started()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Follow the stream until it ends; started when the first one was asked for.

        Raises:
          DispatchError: the stream failed, or the service ended it.
        """
        async with trio.open_nursery() as nursery:
            stream = self._stream
            stream.turn.set()
            nursery.start_soon(stream.run)
            await wait_any(stream.opened.wait, stream.ended.wait)
            if stream.opened.is_set():
                task_status.started()
            while not stream.ended.is_set():
                self._stream = stream = await self._follow(stream, nursery)
            nursery.cancel_scope.cancel()
        self._lifetimes.ended(trio.current_time() - stream.began)
        raise stream.error or DispatchError(
            f"microgrid {self._microgrid_id}: the service ended the stream"
        )

    async def _follow(self, stream: _Stream, nursery: trio.Nursery) -> _Stream:
        """Follow a stream until it ends or is replaced; returns the stream to follow next."""
        max_age = MAX_AGE * random.uniform(0.9, 1.1)  # noqa: S311
        expected = self._lifetimes.expected()
        with trio.move_on_at(stream.began + min(max_age, expected or math.inf)):
            await wait_any(stream.ended.wait, self._replace.wait)
        backoff = Backoff()
        while not stream.ended.is_set():
            successor = await self._open_successor(nursery)
            if successor is not None:
                stream.cancel()
                self._replace = trio.Event()
                successor.turn.set()
                self._replaced()
                return successor
            with trio.move_on_after(backoff.delay()):
                await stream.ended.wait()
        return stream

    async def _open_successor(self, nursery: trio.Nursery) -> _Stream | None:
        """Open another stream; returns None if that fails."""
        successor = self._new_stream()
        self._delivered.clear()
        self._is_overlapping = True
        nursery.start_soon(successor.run)
        with trio.move_on_after(START_TIMEOUT):
            await wait_any(successor.wait_started, successor.ended.wait)
        self._is_overlapping = False
        if successor.opened.is_set() and not successor.ended.is_set():
            return successor
        log.debug("%s; the old stream stays", successor.error)
        successor.cancel()
        return None

    def _new_stream(self) -> _Stream:
        return _Stream(self._client, self._microgrid_id, self._deliver)

    def _deliver(self, event: StreamEvent) -> None:
        if self._is_overlapping:
            self._delivered.append(event)
        elif event in self._delivered:
            while self._delivered.popleft() != event:
                pass
            return
        else:
            self._delivered.clear()
        self._take(event)


class _Stream:
    """One stream, read by one task.

    Attributes:
      began: When it was asked for, in Trio's time.
      opened: Set when the request was sent.
      turn: Set when its events are to be delivered.
      ended: Set when it is over, with the `error` if it failed.
    """

    def __init__(
        self, client: DispatchClient, microgrid_id: int, deliver: Callable[[StreamEvent], None]
    ) -> None:
        self._client = client
        self._microgrid_id = microgrid_id
        self._deliver = deliver
        self._scope = trio.CancelScope()
        self._events: DispatchStream | None = None
        self.began = trio.current_time()
        self.opened = trio.Event()
        self.turn = trio.Event()
        self.ended = trio.Event()
        self.error: DispatchError | None = None

    async def run(self) -> None:
        """Read the stream until it ends, fails or is cancelled."""
        try:
            with self._scope:
                async with self._client.stream(self._microgrid_id) as self._events:
                    self.opened.set()
                    async for event in self._events:
                        # Events that came together are delivered without a task switch between.
                        if not self.turn.is_set():
                            await self.turn.wait()
                        # The successor delivers what comes after the cancellation.
                        if self._scope.cancel_called:
                            break
                        self._deliver(event)
        except DispatchError as exc:
            self.error = exc
        finally:
            self.ended.set()

    @property
    def has_started(self) -> bool:
        """Whether the service has begun to answer."""
        return self._events is not None and self._events.started.is_set()

    async def wait_started(self) -> None:
        """Wait until the service has begun to answer; from then on no change is missing."""
        await self.opened.wait()
        assert self._events is not None
        await self._events.started.wait()

    def cancel(self) -> None:
        """End the stream."""
        self._scope.cancel()
