"""Memory that a server spends on data which its clients have half sent or not read."""

from __future__ import annotations

from collections.abc import Callable


class Budget:
    """A number of bytes that may be kept at a time.

    Args:
      size: That number.
      parent: A greater budget that pays for the same bytes.
      soft: Whether more may be kept while a quarter of the parent's is left for others.
    """

    def __init__(self, size: int, parent: Budget | None = None, *, soft: bool = False) -> None:
        self.size = size
        self._soft = soft
        self.reserved = 0
        self._parent = parent
        # Shared with the parent, in the order of requests: what one part releases, another gets.
        self._waiting: dict[Callable[[], object], None] = {} if parent is None else parent._waiting

    def part(self, share: int, *, soft: bool = False) -> Budget:
        """A budget of this fraction of the size, which this one pays for."""
        return Budget(self.size // share, self, soft=soft)

    def take(self, size: int) -> bool:
        """Reserve so many bytes; whether there were enough.

        A message that is longer than the whole budget is granted when nothing else is reserved.
        """
        if self.reserved and self.reserved + size > self.size and not self._may_exceed(size):
            return False
        if self._parent is not None and not self._parent.take(size):
            return False
        self.reserved += size
        return True

    def _may_exceed(self, size: int) -> bool:
        parent = self._parent
        return self._soft and parent is not None and parent.reserved + size <= parent.size * 3 // 4

    def give(self, size: int) -> None:
        """Release so many bytes."""
        self.reserved -= size
        if self._parent is not None:
            self._parent.give(size)

    def reserve(self, size: int, retry: Callable[[], object]) -> bool:
        """Reserve so many bytes; if there are not enough, `retry` is called when some are released.

        It is called until `reserve` succeeds or `release` is called, each with the same function.
        """
        if self.take(size):
            self._waiting.pop(retry, None)
            return True
        self._waiting[retry] = None
        return False

    def release(self, size: int, retry: Callable[[], object]) -> None:
        """Release what was reserved with this function, which waits no more."""
        self._waiting.pop(retry, None)
        if size:
            self.give(size)
            for waiting in tuple(self._waiting):
                waiting()
