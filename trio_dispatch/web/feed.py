"""The messages of a live view: each is encoded once, and every page reads them at its own pace."""

from __future__ import annotations

import json
import secrets
from collections import deque
from itertools import islice
from typing import Any

import trio

__all__ = ["Feed", "encode_event"]

_MESSAGES = 500
_BYTES = 2**20


def encode_event(event: str, data: dict[str, Any], id: str | None = None) -> bytes:
    """Return a server-sent event."""
    # Without characters beyond ASCII no text in the data can end a line.
    text = json.dumps(data, separators=(",", ":"))
    head = "" if id is None else f"id: {id}\n"
    return f"{head}event: {event}\ndata: {text}\n\n".encode()


class Feed:
    """The latest messages, numbered from 1.

    A page keeps the number of the last message that it has sent.  It costs nothing else, so that a
    page that reads slowly takes no memory: what it missed for too long is gone, see `after`.

    Attributes:
      last: The number of the last message.
    """

    def __init__(self, *, max_messages: int = _MESSAGES, max_bytes: int = _BYTES) -> None:
        self.last = 0
        # Numbers of another feed, for example before a restart, mean nothing to this one.
        self._name = secrets.token_hex(8)
        self._messages: deque[bytes] = deque()
        self._size = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._more = trio.Event()

    def put(self, event: str, data: dict[str, Any]) -> None:
        """Append a message; the oldest are dropped if there are too many."""
        self.last += 1
        message = encode_event(event, data, self.id_of(self.last))
        self._messages.append(message)
        self._size += len(message)
        while len(self._messages) > self._max_messages or self._size > self._max_bytes:
            self._size -= len(self._messages.popleft())
        self._more.set()
        self._more = trio.Event()

    def id_of(self, number: int) -> str:
        """Return the id of a message as pages see it."""
        return f"{self._name}-{number}"

    def number_of(self, id: str) -> int | None:
        """Return the number of the message with an id; None if it is not of this feed."""
        name, _, number = id.rpartition("-")
        if name != self._name or not (number.isascii() and number.isdigit() and len(number) < 20):
            return None
        return int(number) if int(number) <= self.last else None

    def after(self, number: int) -> list[bytes] | None:
        """Return the messages after one; None if some of them have been dropped."""
        missing = self.last - number
        if missing > len(self._messages):
            return None
        return [*islice(self._messages, len(self._messages) - missing, None)]

    async def wait(self, number: int) -> None:
        """Wait for a message after one.  A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.last <= number:
            await self._more.wait()
