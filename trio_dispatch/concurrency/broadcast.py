"""One message for many: a broadcast whose receivers do not depend on each other.

Theory of operation.  A receiver is a Trio memory channel beside an ordered dictionary of the
messages that wait.  While any wait there is a token in the channel, or in the hands of a task that
was just woken by it; one for all of them.  Whoever receives takes the token, then the oldest
message, and puts the token back if more messages wait: waiting, cancellation and the end of the
channel are Trio's own.  Since a message waits in the dictionary, a newer one about the same thing
can still take its place, and two that cancel each other out vanish; a token without a message
means nothing.  When the broadcast ends no token can be put back: each message gets one of its own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

__all__ = ["Broadcast", "BroadcastStatistics", "Receiver", "ReceiverStatistics"]

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """What a receiver has done.

    Attributes:
      waiting: The messages that wait to be received.
      received: The messages that were received.
      merged: The messages that were merged into one that waited.
      tasks_waiting: The tasks that wait for a message.
    """

    waiting: int
    received: int
    merged: int
    tasks_waiting: int


@dataclass(frozen=True, slots=True)
class BroadcastStatistics:
    """What a broadcast has done.

    Attributes:
      published: The messages that were published.
      receivers: The receivers that are open.
    """

    published: int
    receivers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules(Generic[M]):
    """What a broadcast knows of its messages.

    Attributes:
      key: What a message is about.
      type: The type of that.
      final: Whether no other message about it follows.
      begins: Whether no other message about it came before.
      merge: What is left of two messages about the same thing, the older first; None for nothing.
      merges: Whether a message is to be merged with the older one that waits; asked also whether
        the receiver's limit is met.
      snapshot: The messages that a new receiver of a type starts with; None is every type.
    """

    key: Callable[[M], Hashable]
    type: Callable[[M], str]
    final: Callable[[M], bool]
    merge: Callable[[M, M], M | None]
    merges: Callable[[M, M, bool], bool]
    snapshot: Callable[[str | None], Iterable[M]]
    begins: Callable[[M], bool] = lambda _: False


class Broadcast(Generic[M]):
    """Gives every message to every receiver.

    Unlike Trio's memory channels, whose clones share the messages among them, each receiver here
    gets them all, and none ever waits for another.
    """

    def __init__(self, rules: Rules[M]) -> None:
        self._rules = rules
        # A dict for its order: receivers are served in the order in which they were opened.
        self._receivers: dict[Receiver[M], None] = {}
        self._published = 0
        self._closed = False

    def new_receiver(self, *, type: str | None = None, limit: int = 50) -> Receiver[M]:
        """A receiver that first gets what is, and then every message, without gap or repeat.

        Args:
          type: Receive only messages about this type, and the one that tells that something has
            left it.
          limit: While fewer messages wait, every one is kept; from then on a newcomer is merged
            with the one that waits about the same thing, if there is one.  Where a newer message
            replaces the older one anyway, the limit does not matter.

        Raises:
          trio.ClosedResourceError: the broadcast has been closed.
          ValueError: the limit is less than 1.
        """
        if limit < 1:
            raise ValueError(f"limit {limit!r} is less than 1")
        receiver = self._follow(type, limit)
        for message in self._rules.snapshot(type):
            receiver._put(self._rules.key(message), message)
        return receiver

    def _follow(self, type: str | None = None, limit: int = 50) -> Receiver[M]:
        """A receiver of what follows, without what is."""
        if self._closed:
            raise trio.ClosedResourceError("this broadcast has been closed")
        return Receiver(self, self._rules, type, limit)

    def publish(self, message: M) -> bool:
        """Give a message to every receiver.  Never waits, and is no checkpoint.

        Returns:
          Whether it was of concern to any.
        """
        self._published += 1
        concerned = False
        key = self._rules.key(message)
        for receiver in self._receivers:
            concerned |= receiver._put(key, message)
        return concerned

    def amend(self, message: M) -> None:
        """Merge a message with the one that waits about the same thing, wherever one does.

        For news that matters only to who has not yet read the older one.
        """
        for receiver in self._receivers:
            receiver._amend(message)

    def close(self) -> None:
        """End every receiver: `trio.EndOfChannel` after what waits.  Idempotent."""
        self._closed = True
        for receiver in list(self._receivers):
            receiver._end()
        self._receivers.clear()

    def statistics(self) -> BroadcastStatistics:
        """What this broadcast has done so far."""
        return BroadcastStatistics(self._published, len(self._receivers))


class Receiver(trio.abc.ReceiveChannel[M]):
    """Receives every message of a `Broadcast`, at its own pace.

    Several tasks may receive from one receiver, and then share its messages; to give each task all
    of them, give each a receiver of its own, see `clone`.  Use it as a context manager, sync or
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
        self._signalled = False  # the token is on its way
        # By when they came, each with what it is about.
        self._waiting: OrderedDict[int, tuple[Hashable, M]] = OrderedDict()
        self._came = 0
        self._latest: dict[Hashable, int] = {}  # of what waits about one thing, the last
        self._of_type: set[Hashable] = set()  # what was last said to be of the type
        self._received = 0
        self._merged = 0
        self._ended = False
        self._closed = False
        broadcast._receivers[self] = None

    async def receive(self) -> M:
        """The next message; waits for one.

        A checkpoint; cancelling it loses no message.

        Raises:
          trio.EndOfChannel: the dispatcher was closed, and nothing waits any more.
          trio.ClosedResourceError: this receiver has been closed.
        """
        if len(self._waiting) > 1:
            await trio.lowlevel.checkpoint()
            # The last is for whoever has the token.
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
        """The next message, if one waits; otherwise raises `trio.WouldBlock`."""
        while not self._waiting:
            self._tokens.receive_nowait()  # raises what there is to raise
            self._signalled = False
        return self._take()

    async def receive_batch(self) -> list[M]:
        """All messages that wait, in order; waits until there is one.  Otherwise like `receive`."""
        while True:
            await self._tokens.receive()
            self._signalled = False
            if self._waiting:
                break
        batch = [message for _, message in self._waiting.values()]
        self._waiting.clear()
        self._latest.clear()
        self._received += len(batch)
        return batch

    def clone(self) -> Receiver[M]:
        """Another receiver: what this one has yet to receive, and then everything that follows.

        From then on the two are independent.  (Clones of Trio's own channels share the messages.)

        Raises:
          trio.ClosedResourceError: this receiver has been closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("this receiver has been closed")
        twin = Receiver(self._broadcast, self._rules, self._type, self._limit)
        twin._waiting = self._waiting.copy()
        twin._came = self._came
        twin._latest = self._latest.copy()
        twin._of_type = self._of_type.copy()
        if twin._waiting:
            twin._signal()
        if self not in self._broadcast._receivers:
            twin._end()
            del self._broadcast._receivers[twin]
        return twin

    def close(self) -> None:
        """Stop receiving; what waits is dropped.  Whoever waits gets `trio.ClosedResourceError`."""
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
        """What this receiver has done so far."""
        return ReceiverStatistics(
            waiting=len(self._waiting),
            received=self._received,
            merged=self._merged,
            tasks_waiting=self._tokens.statistics().tasks_waiting_receive,
        )

    def _signal(self) -> None:
        self._signalled = True
        self._tokens_in.send_nowait(None)

    def _put(self, key: Hashable, message: M) -> bool:
        if self._type is not None and not self._concerns(key, message):
            return False
        number = self._latest.get(key)
        if number is not None:
            crowded = len(self._waiting) >= self._limit
            if self._rules.merges(self._waiting[number][1], message, crowded):
                self._merge(key, number, message)
                return True
        self._came = number = self._came + 1
        self._waiting[number] = key, message
        self._latest[key] = number
        if not self._signalled:
            self._signal()
        return True

    def _amend(self, message: M) -> None:
        key = self._rules.key(message)
        if self._rules.final(message) or self._rules.type(message) != self._type:
            self._of_type.discard(key)
        elif key in self._latest:
            # What waits may have said that it left; now it says that it has not.
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
        """Whether a message is about what left the receiver's type before it was told of."""
        return (
            self._type is not None
            and self._rules.begins(message)
            and self._rules.type(message) != self._type
        )

    def _take(self) -> M:
        number, (key, message) = self._waiting.popitem(last=False)
        if self._latest.get(key) == number:
            del self._latest[key]
        self._received += 1
        return message

    def _concerns(self, key: Hashable, message: M) -> bool:
        """Whether a message is about the receiver's type, or about what leaves it."""
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
