"""A broadcast: every receiver gets every message, and none waits for another.

Theory of operation.  A receiver is a Trio memory channel beside a dictionary, by number, of the
messages that are queued.  While any message is queued there is one token in the channel, or in the
hands of a task that was just woken by it; one for all messages.  A task that receives takes the
token, then the oldest message, and puts the token back if more messages are queued: waiting,
cancellation and the end of the channel are Trio's own.  Since a queued message is in the
dictionary, a newer one about the same subject can still replace it, and two that cancel each other
out vanish; a token without a message means nothing.  When the broadcast ends no token can be put
back: each queued message gets one of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

__all__ = [
    "Broadcast",
    "BroadcastStatistics",
    "LimitedBroadcast",
    "Receiver",
    "ReceiverStatistics",
    "Rules",
]

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """Counters of a receiver.

    Attributes:
      waiting: The number of messages in the queue.
      received: The number of messages that were received.
      merged: The number of messages that were merged into a queued one.
      tasks_waiting: The number of tasks that wait for a message.
    """

    waiting: int
    received: int
    merged: int
    tasks_waiting: int


@dataclass(frozen=True, slots=True)
class BroadcastStatistics:
    """Counters of a broadcast.

    Attributes:
      published: The number of messages that were published.
      receivers: The number of open receivers.
    """

    published: int
    receivers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules(Generic[M]):
    """How a broadcast treats its messages.

    Attributes:
      key: The subject of a message.
      type: The type of the subject.
      final: Whether a message is the last one about its subject.
      begins: Whether a message is the first one about its subject.
      merge: Merges two messages about one subject, the older first; None if they cancel out.
      merges: Whether a message is to be merged with the queued one about its subject; the third
        argument is whether the receiver's limit is reached.
      snapshot: The messages that a new receiver starts with, of a type, or with None of every type.
      received: Called with each message that a receiver has handed out.
    """

    key: Callable[[M], Hashable]
    type: Callable[[M], str]
    final: Callable[[M], bool]
    merge: Callable[[M, M], M | None]
    merges: Callable[[M, M, bool], bool]
    snapshot: Callable[[str | None], Iterable[M]]
    begins: Callable[[M], bool] = lambda _: False
    received: Callable[[M], None] | None = None


class Broadcast(Generic[M]):
    """Sends every message to every receiver.

    Trio's memory channels share their messages among clones; here each receiver gets all messages,
    and none ever waits for another.
    """

    def __init__(self, rules: Rules[M]) -> None:
        self._rules = rules
        # A dict for its order: receivers are served in the order in which they were opened.
        self._receivers: dict[Receiver[M], None] = {}
        self._published = 0
        self._closed = False

    def new_receiver(self, *, type: str | None = None) -> Receiver[M]:
        """Open a receiver: first it gets the present state, then every message, without a gap.

        Opening a receiver changes nothing for the others.

        Args:
          type: Receive only messages about this type, and one when a subject gets another type.

        Raises:
          trio.ClosedResourceError: the broadcast has been closed.
        """
        return self._open(type, 1)

    def _open(self, type: str | None, limit: int) -> Receiver[M]:
        receiver = self._follow(type, limit)
        for message in self._rules.snapshot(type):
            receiver._put((self._rules.key(message), message))
        return receiver

    def _follow(self, type: str | None = None, limit: int = 1) -> Receiver[M]:
        """Open a receiver that starts without the present state."""
        if self._closed:
            raise trio.ClosedResourceError("this broadcast has been closed")
        return Receiver(self, self._rules, type, limit)

    def publish(self, message: M) -> None:
        """Send a message to every receiver.  Never waits; not a checkpoint."""
        self._published += 1
        # One pair for all receivers.
        item = (self._rules.key(message), message)
        for receiver in self._receivers:
            receiver._put(item)

    def replace_queued(self, message: M) -> None:
        """Merge a message into the queued one about its subject, in each receiver that has one.

        For a change that matters only to receivers that have not read the older message.
        """
        for receiver in self._receivers:
            receiver._replace_queued(message)

    def close(self) -> None:
        """End every receiver: `trio.EndOfChannel` after the queued messages.  Idempotent."""
        self._closed = True
        for receiver in list(self._receivers):
            receiver._end()
        self._receivers.clear()

    def statistics(self) -> BroadcastStatistics:
        """Return the counters of this broadcast."""
        return BroadcastStatistics(self._published, len(self._receivers))


class LimitedBroadcast(Broadcast[M]):
    """A broadcast that keeps every message for a receiver up to a limit, and then merges them."""

    def new_receiver(self, *, type: str | None = None, limit: int = 50) -> Receiver[M]:
        """Open a receiver: first it gets the present state, then every message, without a gap.

        Opening a receiver changes nothing for the others.

        Args:
          type: Receive only messages about this type, and one when a subject gets another type.
          limit: While fewer messages are queued, every message is kept; from then on a message is
            merged into the queued one about its subject, if there is one.

        Raises:
          trio.ClosedResourceError: the broadcast has been closed.
          ValueError: the limit is less than 1.
        """
        if limit < 1:
            raise ValueError(f"limit {limit!r} is less than 1")
        return self._open(type, limit)


class Receiver(trio.abc.ReceiveChannel[M]):
    """Receives every message of a `Broadcast`, at its own pace.

    Several tasks may receive from one receiver, and then share its messages; a task that needs all
    of them needs its own receiver, see `clone`.  Use a receiver as a context manager, sync or
    async, or close it: an open receiver collects messages.
    """

    def __init__(
        self, broadcast: Broadcast[M], rules: Rules[M], type: str | None, limit: int
    ) -> None:
        self._broadcast = broadcast
        self._rules = rules
        self._type = type
        self._limit = limit
        self._tokens_in, self._tokens = trio.open_memory_channel[None](math.inf)
        self._signalled = False  # the token is in the channel
        # The queue: messages with their subjects, by number, in order.  Not an OrderedDict, which
        # takes twice as long to put something in.
        self._waiting: dict[int, tuple[Hashable, M]] = {}
        self._came = 0  # the number of the last message that came
        self._taken = 0  # no message up to this number is in the queue
        self._latest: dict[Hashable, int] = {}  # the last queued message about each subject
        self._of_type: set[Hashable] = set()  # the subjects that were last of the type
        self._received = 0
        self._merged = 0
        self._ended = False
        self._closed = False
        broadcast._receivers[self] = None

    async def receive(self) -> M:
        """Wait for a message and return it.

        A checkpoint.  If it is cancelled, no message is lost.

        Raises:
          trio.EndOfChannel: the dispatcher was closed, and the queue is empty.
          trio.ClosedResourceError: this receiver has been closed.
        """
        if len(self._waiting) > 1:
            await trio.lowlevel.checkpoint()
            # The last message belongs to the task that has the token.
            if len(self._waiting) > 1:
                return self._take()
        while True:
            await self._tokens.receive()
            self._signalled = False
            if self._waiting:
                message = self._take()
                if self._waiting and not self._ended:
                    self._signal()
                return message

    def receive_nowait(self) -> M:
        """Return the next message, or raise `trio.WouldBlock` if none is queued."""
        while not self._waiting:
            self._tokens.receive_nowait()  # raises if the queue stays empty
            self._signalled = False
        return self._take()

    async def receive_batch(self) -> list[M]:
        """Wait until a message is queued and return all, in order.  Otherwise like `receive`."""
        while True:
            await self._tokens.receive()
            self._signalled = False
            if self._waiting:
                break
        batch = [message for _, message in self._waiting.values()]
        self._waiting.clear()
        self._latest.clear()
        self._taken = self._came
        self._received += len(batch)
        if self._rules.received is not None:
            for message in batch:
                self._rules.received(message)
        return batch

    def clone(self) -> Receiver[M]:
        """Open another receiver with exactly the messages that this one has yet to receive.

        From then on the two are independent, unlike the clones of Trio's memory channels, which
        share the messages.

        Raises:
          trio.ClosedResourceError: this receiver has been closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("this receiver has been closed")
        twin = Receiver(self._broadcast, self._rules, self._type, self._limit)
        twin._waiting = self._waiting.copy()
        twin._came, twin._taken = self._came, self._taken
        twin._latest = self._latest.copy()
        twin._of_type = self._of_type.copy()
        if twin._waiting:
            twin._signal()
        if self not in self._broadcast._receivers:
            twin._end()
            del self._broadcast._receivers[twin]
        return twin

    def close(self) -> None:
        """Stop receiving, and drop what is queued.

        Tasks that wait for a message get `trio.ClosedResourceError`.
        """
        self._closed = True
        self._broadcast._receivers.pop(self, None)
        self._tokens.close()
        self._tokens_in.close()
        self._waiting.clear()
        self._latest.clear()

    async def aclose(self) -> None:
        """`close`, and a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def __enter__(self) -> Receiver[M]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def statistics(self) -> ReceiverStatistics:
        """Return the counters of this receiver."""
        return ReceiverStatistics(
            waiting=len(self._waiting),
            received=self._received,
            merged=self._merged,
            tasks_waiting=self._tokens.statistics().tasks_waiting_receive,
        )

    def _signal(self) -> None:
        self._signalled = True
        self._tokens_in.send_nowait(None)

    def _put(self, item: tuple[Hashable, M]) -> None:
        key, message = item
        if self._type is not None and not self._concerns(key, message):
            return
        number = self._latest.get(key)
        if number is not None:
            crowded = len(self._waiting) >= self._limit
            if self._rules.merges(self._waiting[number][1], message, crowded):
                self._merge(key, number, message)
                return
        self._came = number = self._came + 1
        self._waiting[number] = item
        self._latest[key] = number
        if not self._signalled:
            self._signal()

    def _replace_queued(self, message: M) -> None:
        key = self._rules.key(message)
        if self._rules.final(message) or self._rules.type(message) != self._type:
            self._of_type.discard(key)
        elif key in self._latest:
            # The queued message may have said that the subject left the type; now it does not.
            self._of_type.add(key)
        number = self._latest.get(key)
        if number is not None:
            self._merge(key, number, message)

    def _merge(self, key: Hashable, number: int, message: M) -> None:
        self._merged += 1
        merged = self._rules.merge(self._waiting[number][1], message)
        if merged is None or self._is_foreign(merged):
            del self._waiting[number]
            del self._latest[key]
        else:
            self._waiting[number] = key, merged

    def _is_foreign(self, message: M) -> bool:
        """Whether a message is about a subject that left the type before it was received."""
        return (
            self._type is not None
            and self._rules.begins(message)
            and self._rules.type(message) != self._type
        )

    def _take(self) -> M:
        number = self._taken + 1
        while number not in self._waiting:  # it was merged
            number += 1
        self._taken = number
        key, message = self._waiting.pop(number)
        if self._latest.get(key) == number:
            del self._latest[key]
        self._received += 1
        if self._rules.received is not None:
            self._rules.received(message)
        return message

    def _concerns(self, key: Hashable, message: M) -> bool:
        """Whether a message is about the receiver's type, or its subject leaves the type."""
        if self._rules.type(message) == self._type and not self._rules.final(message):
            self._of_type.add(key)
            return True
        if key in self._of_type:
            self._of_type.discard(key)
            return True
        return self._rules.type(message) == self._type

    def _end(self) -> None:
        for _ in self._waiting:
            self._tokens_in.send_nowait(None)
        self._tokens_in.close()
        self._ended = True
