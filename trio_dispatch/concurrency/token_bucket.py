"""A token bucket."""

from __future__ import annotations

import trio

__all__ = ["TokenBucket"]

# A bucket holds the tokens of this many seconds.
_BURST = 5.0


class TokenBucket:
    """Limits how often something may happen, by Trio's clock.

    Args:
      rate: How often per second; bursts of five seconds' worth are allowed.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate * _BURST)
        self._tokens = self._capacity
        self._since = trio.current_time()

    def spend(self, count: float = 1) -> bool:
        """Take tokens; whether there were enough.  What is missing is owed."""
        self._tokens -= count
        if self._tokens >= 0:
            return True
        now = trio.current_time()
        self._tokens = min(self._capacity, self._tokens + (now - self._since) * self._rate)
        self._since = now
        return self._tokens >= 0
